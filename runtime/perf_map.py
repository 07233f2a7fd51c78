"""Names of code made at run time: /tmp/perf-PID.map, as JIT compilers write it for perf."""

from __future__ import annotations

import os
import re
import time
from bisect import bisect_right

from .elf_image import open_regular

_LARGEST = 1 << 26  # bytes
_REREAD = 1.0  # seconds
_LINE = re.compile(rb"^(?:0x)?([0-9a-fA-F]{1,16}) (?:0x)?([0-9a-fA-F]{1,16}) (.+)$", re.MULTILINE)

Functions = list[tuple[int, int, bytes]]  # address, size, name; by address


class PerfMaps:
    """The map files of processes, read again as they grow."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._maps: dict[int, tuple[float, Functions]] = {}

    def find(self, pid: int, address: int) -> tuple[str, int] | None:
        """(name, offset) of the function that an address is in."""
        read_at, functions = self._maps.get(pid, (-_REREAD, []))
        found = _find(functions, address)
        if found is None and time.monotonic() - read_at >= _REREAD:
            functions = self._read(pid) or functions
            self._maps[pid] = time.monotonic(), functions
            found = _find(functions, address)
        return found

    def _read(self, pid: int) -> Functions:
        for root in (f"{self._proc}/{pid}/root", ""):
            fd = open_regular(f"{root}/tmp/perf-{self._inner(pid)}.map")
            if fd is None:
                continue
            with open(fd, "rb") as file:
                if not self._trusted(pid, os.fstat(fd).st_uid):
                    continue
                lines = _LINE.findall(file.read(_LARGEST))
            return sorted((int(start, 16), int(size, 16), name) for start, size, name in lines)
        return []

    def _trusted(self, pid: int, owner: int) -> bool:
        """Whether a file's owner may say what the process runs; of one that is gone, only root."""
        try:
            return owner in (0, os.stat(f"{self._proc}/{pid}").st_uid)
        except OSError:
            return owner == 0

    def _inner(self, pid: int) -> int:
        """The pid by which a process in a container knows itself."""
        try:
            with open(f"{self._proc}/{pid}/status", "rb") as file:
                found = re.search(rb"^NSpid:.*?(\d+)$", file.read(), re.MULTILINE)
        except OSError:
            return pid
        return int(found[1]) if found else pid


def _find(functions: Functions, address: int) -> tuple[str, int] | None:
    index = bisect_right(functions, (address, 1 << 64, b"")) - 1
    if index < 0:
        return None
    start, size, name = functions[index]
    if address >= start + size:
        return None
    return name.decode("utf-8", "surrogateescape"), address - start
