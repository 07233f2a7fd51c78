"""Names of kernel addresses, from /proc/kallsyms."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection

_PREFIX = 16  # hex digits of the address that each line starts with
_CODES = (b"t", b"T", b"w", b"W")  # types of symbols that are code


def addresses(functions: Collection[str], path: str = "/proc/kallsyms") -> dict[str, list[int]]:
    """All addresses of functions, each `name` or `module:name`, that are there.

    path: this one, or ftrace's available_filter_functions_addrs. Raises OSError.
    """
    found: dict[str, list[int]] = {}
    with open(path) as file:
        for line in file:
            words = line.split()
            name = words[-1]
            if name[0] == "[":
                name = f"{name[1:-1]}:{words[-2]}"
            if name in functions:
                found.setdefault(name, []).append(int(words[0], 16))
    return found


class Kallsyms:
    """The kernel's functions, its modules' and the loaded BPF programs'; read when first asked.

    Lines stay text: all start with an address of one width, so sorting and searching need no
    numbers. Of several names for an address the last one counts.
    """

    def __init__(self, path: str = "/proc/kallsyms") -> None:
        self._path = path
        self._lines: list[bytes] | None = None

    def find(self, address: int) -> tuple[str, int] | None:
        """(name, offset from its start), or None below the first function."""
        lines = self._lines = self._read() if self._lines is None else self._lines
        index = bisect_left(lines, b"%016x!" % address) - 1  # "!" sorts just after a blank
        if index < 0:
            return None
        name = lines[index][_PREFIX + 3 :].split(b"\t", 1)[0]  # a tab and [module] may follow
        return name.decode("ascii", "replace"), address - int(lines[index][:_PREFIX], 16)

    def _read(self) -> list[bytes]:
        try:
            with open(self._path, "rb") as file:
                lines = file.read().split(b"\n")
        except OSError:
            return []
        hidden = b"0" * _PREFIX  # what everyone sees whom kernel.kptr_restrict keeps out
        found = [x for x in lines if x[_PREFIX + 1 : _PREFIX + 2] in _CODES and x[:16] != hidden]
        found.sort(key=lambda line: line[:_PREFIX])
        return found
