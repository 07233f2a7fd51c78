"""What programs cost where the kernel does not count it: seen some hundred times a second.

A clock on each CPU samples the kernel's stack. The innermost frame in the code of a program is the
one that it counts for, so that a helper counts for who calls it.
"""

from __future__ import annotations

import ctypes
import struct
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping

from bpfscript.target import MachineError

from .fd import Fd
from .perf_ring import HEADER, PerfRings, RingAttr
from .sys import Kernel, PerfType, ProgInfo

_PERIOD = 2_003_003  # ns, no multiple of a tick
_DEPTH = 24  # frames
_PAGES = 64  # of each ring: three seconds
_CPU_CLOCK, _SAMPLE = 0, 9  # PERF_COUNT_SW_CPU_CLOCK, PERF_RECORD_SAMPLE
_CALLCHAIN = 1 << 5  # PERF_SAMPLE_CALLCHAIN: a count, and so many addresses
_FLAGS = 1 << 4 | 1 << 22  # exclude_user, exclude_callchain_user


class Sampler:
    """Owns the clocks. Raises MachineError, BpfError where the kernel does not let us sample, or
    does not tell where programs are."""

    def __init__(self, programs: Mapping[str, Fd], kernel: Kernel) -> None:
        self._code = sorted(
            (start, start + size, name)
            for name, fd in programs.items()
            for start, size in _code(fd, kernel)
        )
        self._starts = [start for start, *_ in self._code]
        self._seen = Counter[str]()
        attr = RingAttr(
            type=PerfType.SOFTWARE, config=_CPU_CLOCK, sample_period=_PERIOD, flags=_FLAGS,
            sample_type=_CALLCHAIN, sample_max_stack=_DEPTH,
        )  # fmt: skip
        self._rings = PerfRings(attr, _PAGES, kernel)

    def close(self) -> None:
        self._rings.close()

    def times(self) -> dict[str, int]:
        """ns that each program has taken since we look, about."""
        for raw in self._rings.records():
            if HEADER.unpack_from(raw)[0] == _SAMPLE and (name := self._program(raw)):
                self._seen[name] += _PERIOD
        return dict(self._seen)

    def _program(self, raw: bytes) -> str | None:
        (count,) = struct.unpack_from("<Q", raw, HEADER.size)
        for ip in struct.unpack_from(f"<{count}Q", raw, HEADER.size + 8):
            at = bisect_right(self._starts, ip) - 1
            if at >= 0 and ip <= self._code[at][1]:  # a return address may be the end
                return self._code[at][2]
        return None


def _code(program: Fd, kernel: Kernel) -> Iterator[tuple[int, int]]:
    """Address and size of each function. Raises MachineError where that is a secret."""
    info = ProgInfo()
    kernel.describe(program.fileno(), info)
    count = info.nr_jited_ksyms
    starts, sizes = (ctypes.c_uint64 * count)(), (ctypes.c_uint32 * count)()
    info = ProgInfo(
        nr_jited_ksyms=count, jited_ksyms=ctypes.addressof(starts),
        nr_jited_func_lens=count, jited_func_lens=ctypes.addressof(sizes),
    )  # fmt: skip
    kernel.describe(program.fileno(), info)
    if not all(starts) or not count:
        raise MachineError("the kernel does not tell where the code of programs is")
    yield from zip(starts, sizes, strict=True)
