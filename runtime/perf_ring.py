"""Rings of perf events: the kernel fills them, we drain them (struct perf_event_mmap_page)."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Iterator

from .errors import BpfError
from .sys import Kernel, PerfEventAttr, cpus

HEADER = struct.Struct("<IHH")  # type, misc, size of a record: struct perf_event_header
_HEAD, _TAIL = 1024, 1032  # in struct perf_event_mmap_page; data_offset and data_size follow


class RingAttr(PerfEventAttr):
    """The first 112 bytes, PERF_ATTR_SIZE_VER5."""

    _fields_ = (
        ("branch_sample_type", ctypes.c_uint64),
        ("sample_regs_user", ctypes.c_uint64),
        ("sample_stack_user", ctypes.c_uint32),
        ("clockid", ctypes.c_int32),
        ("sample_regs_intr", ctypes.c_uint64),
        ("aux_watermark", ctypes.c_uint32),
        ("sample_max_stack", ctypes.c_uint16),
        ("reserved", ctypes.c_uint16),
    )


class PerfRing:
    """An event on one CPU, all its processes, and its ring; owns both.

    pages: a power of two. Raises BpfError where the kernel does not let us have it.
    """

    def __init__(self, attr: RingAttr, cpu: int, pages: int, kernel: Kernel) -> None:
        self._fd = kernel.perf_event_open(attr, -1, cpu)
        try:
            self._ring = mmap.mmap(self._fd, (1 + pages) * mmap.PAGESIZE)
        except OSError as error:
            os.close(self._fd)
            raise BpfError("mmap of a perf event", error.errno or 0) from None

    def close(self) -> None:
        self._ring.close()
        os.close(self._fd)

    def records(self) -> list[bytes]:
        """The complete records, headers included; their place is free for new ones after that."""
        ring = self._ring
        head, tail, start, size = struct.unpack_from("<QQQQ", ring, _HEAD)
        found = []
        while tail < head:
            at = tail % size
            _, _, length = HEADER.unpack_from(ring, start + at)
            if not length:
                break
            first = ring[start + at : start + min(at + length, size)]
            found.append(first + ring[start : start + length - len(first)])
            tail += length
        struct.pack_into("<Q", ring, _TAIL, head)
        return found


class PerfRings:
    """The same event on each CPU. Raises BpfError as `PerfRing` does, and then none is left."""

    def __init__(self, attr: RingAttr, pages: int, kernel: Kernel) -> None:
        self._rings: list[PerfRing] = []
        try:
            for cpu in cpus("online"):
                self._rings.append(PerfRing(attr, cpu, pages, kernel))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        for ring in self._rings:
            ring.close()
        self._rings.clear()

    def records(self) -> Iterator[bytes]:
        """Those of one CPU after those of another."""
        for ring in self._rings:
            yield from ring.records()
