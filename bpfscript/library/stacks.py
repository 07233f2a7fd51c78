"""Stacks and symbols as Python values."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bpfscript.runtime.symbols import Symbols
from bpfscript.unwind_tables import FAILED


class Frame(NamedTuple):
    """One place in code.

    address: where. name: of the function, "" if it is not known. offset: bytes from its start.
    module: path of the file it is in; "" for the kernel and for what is in no file.
    """

    address: int
    name: str
    offset: int
    module: str

    def __str__(self) -> str:
        if self.address == FAILED:
            return self.name
        return f"{self.name}+{self.offset}" if self.name else hex(self.address)


class Stack(tuple[Frame, ...]):
    """The frames of a stack, the innermost first; two stacks are equal if their frames are.

    kind: "kernel" or "user". pid: of the process, 0 for kernel stacks.
    """

    kind: str
    pid: int

    @classmethod
    def of(cls, frames: Iterable[Frame], kind: str, pid: int) -> Stack:
        made = cls(frames)
        made.kind, made.pid = kind, pid
        return made

    def __str__(self) -> str:
        return "\n".join(map(str, self))

    @property
    def names(self) -> tuple[str, ...]:
        """Function names, the outermost first, as flame graphs are drawn."""
        return tuple(frame.name or hex(frame.address) for frame in reversed(self))

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


class Frames:
    """Looks frames up, each address once."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols
        self._known: dict[tuple[int, int], Frame] = {}

    def kernel(self, address: int) -> Frame:
        key = -1, address
        if key not in self._known:
            name, offset = self._symbols.kernel(address) or ("", 0)
            self._known[key] = Frame(address, name, offset, "")
        return self._known[key]

    def user(self, pid: int, address: int) -> Frame:
        """Not kept: what lies at an address of a process changes."""
        if address == FAILED:
            return Frame(address, "<unwind failure>", 0, "")
        found = self._symbols.user(pid, address)
        if found is None:
            return Frame(address, "", 0, "")
        return Frame(address, found.name, found.offset, found.module)
