"""Names of code made at run time: /tmp/perf-PID.map, as JIT compilers write it for perf."""

from __future__ import annotations

import os
import re
import time
from array import array
from bisect import bisect_right

from .elf_image import open_regular

_LARGEST = 1 << 26  # bytes
_REREAD = 1.0  # seconds
_LINE = re.compile(rb"^(?:0x)?([0-9a-fA-F]{1,16}) (?:0x)?([0-9a-fA-F]{1,16}) (.+)$", re.MULTILINE)


class _Map:
    """The content of a file. What a line says is read when its address is asked for: there may be
    a million of them."""

    def __init__(self, text: bytes, version: tuple[int, ...]) -> None:
        self.text, self.version = text, version
        # one number each: a third of the memory of pairs; of two at an address the later one counts
        lines = sorted(int(m[1], 16) * _LARGEST + m.start() for m in _LINE.finditer(text))
        self._starts = array("Q", (line // _LARGEST for line in lines))
        self._places = array("I", (line % _LARGEST for line in lines))

    def find(self, address: int) -> tuple[str, int] | None:
        index = bisect_right(self._starts, address) - 1
        line = _LINE.match(self.text, self._places[index]) if index >= 0 else None
        if line is None or address - self._starts[index] >= int(line[2], 16):
            return None
        return line[3].decode("utf-8", "surrogateescape"), address - self._starts[index]


_NONE = _Map(b"", ())


class PerfMaps:
    """The map files of processes, read again when they have changed."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._maps: dict[int, tuple[float, _Map]] = {}

    def find(self, pid: int, address: int) -> tuple[str, int] | None:
        """(name, offset) of the function that an address is in."""
        read_at, known = self._maps.get(pid, (-_REREAD, _NONE))
        found = known.find(address)
        if found is None and time.monotonic() - read_at >= _REREAD:
            known = self._read(pid, known)
            self._maps[pid] = time.monotonic(), known
            found = known.find(address)
        return found

    def _read(self, pid: int, known: _Map) -> _Map:
        for root in (f"{self._proc}/{pid}/root", ""):
            fd = open_regular(f"{root}/tmp/perf-{self._inner(pid)}.map")
            if fd is None:
                continue
            with open(fd, "rb") as file:
                found = os.fstat(fd)
                if not self._trusted(pid, found.st_uid):
                    continue
                version = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
                return known if version == known.version else _Map(file.read(_LARGEST), version)
        return known

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
