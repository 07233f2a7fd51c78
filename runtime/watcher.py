"""Watches what all processes map, fork and execute, through perf's side-band records.

Without it the stack of a process that has ended could not be shown with names. As `perf record`
does it: a dummy software event on each CPU, whose ring is drained into `Processes`.
"""

from __future__ import annotations

import os
import struct
import time
from bisect import bisect_right

from .mappings import Mapping, Processes
from .perf_ring import HEADER, PerfRings, RingAttr
from .sys import Kernel, PerfType

_PAGES = 32  # of each ring, a power of two
_DUMMY = 9  # PERF_COUNT_SW_DUMMY
# bits of struct perf_event_attr: executable mappings, comm, fork and exit, sample_id_all, mmap2,
# comm_exec, use_clockid
_FLAGS = 1 << 8 | 1 << 9 | 1 << 13 | 1 << 18 | 1 << 23 | 1 << 24 | 1 << 25
_TIME = 1 << 2  # PERF_SAMPLE_TIME: with sample_id_all, the last 8 bytes of each record
_COMM, _FORK, _MMAP2 = 3, 7, 10  # enum perf_event_type
_EXEC = 1 << 13  # PERF_RECORD_MISC_COMM_EXEC
_MAPPED = struct.Struct("<IIQQQIIQ")  # pid tid address length page-offset major minor inode
_NAME = 72 - HEADER.size  # where the path starts, after inode generation, prot and flags


class Watcher:
    """Owns the events and their rings. Raises BpfError where the kernel does not let us watch."""

    def __init__(self, processes: Processes, kernel: Kernel | None = None) -> None:
        self._processes = processes
        self._pending: list[tuple[int, bytes]] = []  # (time, record)
        self._rings = PerfRings(_event(), _PAGES, kernel or Kernel())

    def close(self) -> None:
        self._rings.close()

    def drain(self) -> None:
        """Hand on what has happened so far, in order of time: a process moves between CPUs."""
        now = time.monotonic_ns()  # what is newer may be missing from rings already read
        self._pending += [
            (int.from_bytes(raw[-8:], "little"), raw) for raw in self._rings.records()
        ]
        self._pending.sort(key=lambda record: record[0])
        ready = bisect_right(self._pending, now, key=lambda record: record[0])
        for _, raw in self._pending[:ready]:
            self._handle(raw)
        del self._pending[:ready]

    def _handle(self, raw: bytes) -> None:
        kind, misc, _ = HEADER.unpack_from(raw)
        body = raw[HEADER.size :]
        if kind == _MMAP2:
            pid, _, start, length, offset, major, minor, inode = _MAPPED.unpack_from(body)
            path = os.fsdecode(body[_NAME:].split(b"\0", 1)[0])
            path = "" if path == "//anon" else path
            mapping = Mapping(start, start + length, offset, (major, minor), inode, path)
            self._processes.mapped(pid, mapping)
        elif kind == _FORK:
            pid, parent = struct.unpack_from("<II", body)
            if pid != parent:  # else it is a thread
                self._processes.forked(pid, parent)
        elif kind == _COMM and misc & _EXEC:
            self._processes.executed(struct.unpack_from("<I", body)[0])


def _event() -> RingAttr:
    return RingAttr(
        type=PerfType.SOFTWARE, config=_DUMMY, flags=_FLAGS,
        sample_type=_TIME, clockid=time.CLOCK_MONOTONIC,
    )  # fmt: skip
