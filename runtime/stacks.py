"""Stacks and symbols as text (LANGUAGE §7.4)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from bpfscript.types import Stack

from .symbols import Symbols

_REMEMBERED = 4096  # stacks whose text is kept
_INDENT = " " * 8


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

        def show(raw: bytes) -> str:
            text = seen.get(raw)
            if text is None:
                pid, *addresses = unpack(raw)
                user = pid if t.kind == "user" else -1
                lines = [frame(user, address) for address in addresses if address]
                text = "".join(f"{line}\n" for line in ["", *lines])
                if len(seen) >= _REMEMBERED:
                    seen.clear()
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


Line = Callable[[int, int], str]


def _bpftrace(symbols: Symbols) -> Line:
    def line(pid: int, address: int) -> str:
        return _INDENT + _named(symbols, pid, address)[0]

    return line


def _perf(symbols: Symbols) -> Line:
    def line(pid: int, address: int) -> str:
        name, module = _named(symbols, pid, address)
        return f"\t{address:x} {name}{f' ({module})' if module else ''}"

    return line


def _raw(_: Symbols) -> Line:
    return lambda pid, address: f"{address:x}"


def _build_id(symbols: Symbols) -> Line:
    def line(pid: int, address: int) -> str:
        found = symbols.build_id(pid, address)
        return f"{found[0]} {found[1]:#x}" if found else f"{address:x}"

    return line


_FRAMES: dict[str, Callable[[Symbols], Line]] = {
    "bpftrace": _bpftrace,
    "perf": _perf,
    "raw": _raw,
    "build_id": _build_id,
}
