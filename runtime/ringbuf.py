"""The ring buffer, consumer's side. Layout and protocol: kernel/bpf/ringbuf.c.

    page 0      consumer position, uint64, ours to write
    page 1      producer position, uint64
    page 2 …    data, mapped twice in a row so that no record is ever cut

A record is a uint32 of length and flags, a uint32 for the kernel, the data, and padding to 8 bytes.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator

from bpfscript.plain import dataclass

from .fd import Fd

_BUSY, _DISCARD = 1 << 31, 1 << 30
HEADER = 8
_BATCH = 1 << 16  # bytes handed on before the space is given back
_FEW, _MANY = 16, 4096  # records looked at together
_length = struct.Struct("=I").unpack_from


@dataclass(slots=True)
class Run:
    """Records of one event, one after the other, headers included. stride: bytes of each."""

    block: memoryview
    number: int
    stride: int

    @property
    def event(self) -> int:
        """What the records begin with: the number of their event."""
        return int.from_bytes(self.block[HEADER : HEADER + 8], "little")

    def records(self) -> Iterator[memoryview]:
        size = _length(self.block)[0] & ~_DISCARD
        for start in range(HEADER, len(self.block), self.stride):
            yield self.block[start : start + size]


class RingBuffer:
    """Reads records. consumer: the writable page; producer: its page, then the data twice."""

    def __init__(
        self, consumer: bytearray | mmap.mmap, producer: bytearray | mmap.mmap, size: int,
        page: int = mmap.PAGESIZE,
    ) -> None:  # fmt: skip
        self._maps = (consumer, producer)
        self.size = size
        self._consumer = memoryview(consumer)[:8].cast("Q")
        self._producer = memoryview(producer)[:8].cast("Q")
        self.data = memoryview(producer)[page:].toreadonly()
        self._lengths, self._words = self.data.cast("I"), self.data.cast("Q")
        self._few = _FEW

    @classmethod
    def open(cls, fd: Fd, size: int) -> RingBuffer:
        """Map the ring `fd` of `size` bytes."""
        page = mmap.PAGESIZE
        consumer = mmap.mmap(fd.fileno(), page, mmap.MAP_SHARED)
        try:
            producer = mmap.mmap(
                fd.fileno(), page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page
            )
        except OSError:
            consumer.close()
            raise
        return cls(consumer, producer, size)

    @property
    def produced(self) -> int:
        """Bytes that programs have filled since the start; what they are still writing, too."""
        position: int = self._producer[0]
        return position

    @property
    def consumed(self) -> int:
        """Bytes that are done with; to set it gives the space back."""
        position: int = self._consumer[0]
        return position

    @consumed.setter
    def consumed(self, position: int) -> None:
        self._consumer[0] = position

    def records(self) -> Iterator[memoryview]:
        """Every record complete by now; each is valid until the next one is asked for."""
        for run in self.runs(self.produced, 1):
            yield from run.records()

    def runs(self, stop: int, most: int = _MANY) -> Iterator[Run]:
        """The records complete by now that begin before the position `stop`, equal ones together;
        each run is valid until the next one is asked for."""
        given_back = position = self.consumed
        try:
            while position < stop:
                start = position & (self.size - 1)
                (length,) = _length(self.data, start)
                if length & _BUSY:
                    return
                stride = ((length & ~_DISCARD) + HEADER + 7) & ~7
                number = 1
                if not length & _DISCARD:
                    number = self._equal(start, stride, min((stop - position) // stride, most))
                position += number * stride
                if not length & _DISCARD:
                    yield Run(self.data[start : start + number * stride], number, stride)
                if position - given_back >= _BATCH:
                    self.consumed = given_back = position
        finally:
            self.consumed = position

    def _equal(self, start: int, stride: int, most: int) -> int:
        """How many records from `start` on have the same length and event as the first.

        A record whose predecessor has this stride lies where we look; the first that differs ends
        the run, so nothing but headers is believed.
        """
        number = min(self._few, most)
        if number < 2:
            return 1
        end = start + number * stride
        lengths = self._lengths[start >> 2 : end >> 2 : stride >> 2].tobytes()
        events = self._words[start + HEADER >> 3 : end >> 3 : stride >> 3].tobytes()
        same = min(_prefix(lengths, 4, number), _prefix(events, 8, number))
        self._few = min(4 * number, _MANY) if same == number else max(2 * same, _FEW)
        return same

    def close(self) -> None:
        """Unmap it. A record that someone still holds keeps the memory until it is dropped."""
        for view in (self._consumer, self._producer, self._lengths, self._words, self.data):
            view.release()
        for mapping in self._maps:
            if isinstance(mapping, mmap.mmap):
                try:
                    mapping.close()
                except BufferError:
                    pass


def _prefix(items: bytes, size: int, number: int) -> int:
    """How many items at the start equal the first."""
    first = items[:size]
    if items == first * number:
        return number
    low, high = 1, number  # of `low` it is known, of `high` the contrary
    while high - low > 1:
        middle = (low + high) // 2
        if items.startswith(first * middle):
            low = middle
        else:
            high = middle
    return low
