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

from .fd import Fd

_BUSY, _DISCARD = 1 << 31, 1 << 30
_HEADER = 8
_BATCH = 1 << 16  # bytes handed on before the space is given back
_length = struct.Struct("=I").unpack_from


class RingBuffer:
    """Reads records. consumer: the writable page; producer: its page, then the data twice."""

    def __init__(
        self, consumer: bytearray | mmap.mmap, producer: bytearray | mmap.mmap, size: int,
        page: int = mmap.PAGESIZE,
    ) -> None:  # fmt: skip
        self._maps = (consumer, producer)
        self._size = size
        self._consumer = memoryview(consumer)[:8].cast("Q")
        self._producer = memoryview(producer)[:8].cast("Q")
        self._data = memoryview(producer)[page:].toreadonly()

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

    def records(self) -> Iterator[memoryview]:
        """Every record complete by now; each is valid until the next one is asked for."""
        position: int = self._consumer[0]
        end: int = self._producer[0]
        data, mask = self._data, self._size - 1
        given_back = position
        try:
            while position < end:
                start = position & mask
                (length,) = _length(data, start)
                if length & _BUSY:
                    return
                size = length & ~_DISCARD
                position += (size + _HEADER + 7) & ~7
                if length == size:
                    yield data[start + _HEADER : start + _HEADER + size]
                if position - given_back >= _BATCH:
                    self._consumer[0] = given_back = position
        finally:
            self._consumer[0] = position

    def close(self) -> None:
        """Unmap it. A record that someone still holds keeps the memory until it is dropped."""
        for view in (self._consumer, self._producer, self._data):
            view.release()
        for mapping in self._maps:
            if isinstance(mapping, mmap.mmap):
                try:
                    mapping.close()
                except BufferError:
                    pass
