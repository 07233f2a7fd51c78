"""Stacks and symbols as text (LANGUAGE §7.4)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfscript.types import UNWIND_FAILED, Stack

from .symbols import Symbols

if TYPE_CHECKING:
    from .user_symbols import Source

_REMEMBERED = 4096  # stacks whose text is kept
_INDENT = " " * 8
_BROKEN = f"{_INDENT}<unwind failure>"  # in every mode, as bpftrace has it


class Stacks:
    """Shows stacks. A stack seen before costs one look-up."""

    def __init__(self, symbols: Symbols) -> None:
        self._symbols = symbols

    def kernel_name(self, address: int) -> str:
        found = self._symbols.kernel(address)
        return found[0] if found else _number(address)

    def user_name(self, raw: bytes) -> str:
        """uint64 address, uint64 pid."""
        address, pid = struct.unpack("<QQ", raw)
        frame = self._symbols.user(pid, address)
        return frame.name if frame and frame.name else _number(address)

    def shower(self, t: Stack) -> Callable[[bytes], str]:
        """Shows a stack of type `t`: a newline, then a line for each frame."""
        frame = _FRAMES[t.mode](self._symbols)
        unpack = struct.Struct(f"<{1 + t.limit}Q").unpack
        seen: dict[bytes, str] = {}
        known: dict[tuple[int, int, bool], str] = {}

        def named(user: int, address: int, caller: bool) -> str:
            text = known.get((user, address, caller))
            if text is None:
                line = frame(user, address, caller) if address != UNWIND_FAILED else _BROKEN
                text = known[user, address, caller] = f"{line}\n"
            return text

        def show(raw: bytes) -> str:
            text = seen.get(raw)
            if text is None:
                pid, *addresses = unpack(raw)
                user = pid if t.kind == "user" else -1
                lines = [named(user, a, i > 0) for i, a in enumerate(addresses) if a]
                text = "\n" + "".join(lines)
                if len(seen) >= _REMEMBERED:
                    seen.clear()
                    known.clear()
                seen[raw] = text
            return text

        return show


def _number(address: int) -> str:
    return hex(address) if address else "0"


def _named(symbols: Symbols, pid: int, address: int) -> tuple[str, str]:
    """The function with the offset, or the address, and the module. pid -1: the kernel."""
    if pid < 0:
        found = symbols.kernel(address)
        return f"{found[0]}+{found[1]}" if found else hex(address), ""
    frame = symbols.user(pid, address)
    if frame and frame.name:
        return f"{frame.name}+{frame.offset}", frame.module
    return hex(address), "[unknown]"


Line = Callable[[int, int, bool], str]
"""Shows (pid, address, whether a call returns there) as a line or, with inlined calls, several."""


def _source(symbols: Symbols, pid: int, address: int, returns: bool) -> Source | None:
    """Of the call itself, which lies before where it returns."""
    return symbols.source(pid, address - returns) if pid >= 0 else None


def _bpftrace(symbols: Symbols) -> Line:
    def line(pid: int, address: int, returns: bool) -> str:
        text = _INDENT + _named(symbols, pid, address)[0]
        source = _source(symbols, pid, address, returns)
        if source is None:
            return text
        calls = (f"{_INDENT}[inlined] {name}{_at(place)}\n" for name, place in source.inlined)
        return f"{''.join(calls)}{text}{_at(source.place)}"

    return line


def _at(place: str) -> str:
    return f"@{place}" if place else ""


def _perf(symbols: Symbols) -> Line:
    def line(pid: int, address: int, returns: bool) -> str:
        name, module = _named(symbols, pid, address)
        source = _source(symbols, pid, address, returns)
        calls = (
            (f"\t{address:x} {call} (inlined)\n" for call, _ in source.inlined) if source else ()
        )
        return f"{''.join(calls)}\t{address:x} {name}{f' ({module})' if module else ''}"

    return line


def _raw(_: Symbols) -> Line:
    return lambda pid, address, returns: f"{address:x}"


def _build_id(symbols: Symbols) -> Line:
    def line(pid: int, address: int, returns: bool) -> str:
        found = symbols.build_id(pid, address)
        return f"{found[0]} {found[1]:#x}" if found else f"{address:x}"

    return line


_FRAMES: dict[str, Callable[[Symbols], Line]] = {
    "bpftrace": _bpftrace,
    "perf": _perf,
    "raw": _raw,
    "build_id": _build_id,
}
