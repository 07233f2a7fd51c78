"""Probes on programs and libraries: uprobe, uretprobe."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TypeVar

from bpfscript.target import MachineError, UserSymbol, matches

from .attach_points import MalformedError, integer, is_number
from .resolve_base import Match, Point, Search, near

Found = TypeVar("Found")
FORCE = (
    "Use --unsafe to force attachment. WARNING: This option could lead to data corruption in the "
    "target process."
)

GO = (
    "Go moves stacks and checks return addresses, which uretprobes replace. Use uprobes at the "
    "offsets of its ret instructions, or --unsafe."
)


def uprobe(point: Point, search: Search) -> list[Match]:
    """`path:function[+offset]`, `path:address`, `path:cpp:name`; with -p also `function`."""
    if "@" in point.parts:
        return _source_line(point, search)
    path, *language, function = _with_path(point, search)
    if not path:
        return search.error(point, f"{point.kind.name} should have a target")
    if language and language != ["cpp"]:
        return search.error(point, f"unsupported language type: {language[0]}")
    if not function:
        message = f"{point.kind.name} should be attached to a function and/or address"
        return search.error(point, message)
    errors = len(search.report.errors)
    split = _split_offset(point, search, function)
    if split is None:
        return []
    function, offset = split
    find = _cpp if language else _named
    found: list[Match] = []
    files = read_files(point, search, path, search.target.user_symbols)
    for file, symbols in files:
        if point.kind.name == "uretprobe" and _moves_stacks(symbols) and not search.options.unsafe:
            message = f"{file} is a Go program, which a uretprobe can kill"
            return search.error(point, message, GO)
        if is_number(function):
            found += _at_address(point, search, file, symbols, integer(function))
        else:
            for symbol in find(search, symbols, function):
                found += _at_symbol(point, search, file, [*language, symbol.name], symbol, offset)
    if found or not files or len(search.report.errors) > errors:
        return found
    names = (symbol.name for symbol in files[0][1])
    hint = None if "*" in function else near(function, names)
    return search.none(point, f"{path}:{function}", hint)


def _moves_stacks(symbols: Iterable[UserSymbol]) -> bool:
    return any(symbol.name == "runtime.copystack" for symbol in symbols)


def _with_path(point: Point, search: Search) -> list[str]:
    if len(point.parts) == 1:
        return [f"/proc/{search.options.pid}/exe", *point.parts]
    if point.parts[0] == "*" and search.options.pid:
        return [f"/proc/{search.options.pid}/maps", *point.parts[1:]]
    return list(point.parts)


def _split_offset(point: Point, search: Search, function: str) -> tuple[str, int] | None:
    function, plus, distance = (
        function.rpartition("+") if "(" not in function else (function, "", "")
    )
    if not plus:
        return function or distance, 0
    if point.kind.name == "uretprobe":
        search.error(point, "Offset not allowed")
    elif not function or not distance:
        search.error(point, "Invalid offset")
    else:
        try:
            return function, integer(distance)
        except MalformedError as error:
            search.error(point, f"Invalid offset: {error}")
    return None


def read_files(
    point: Point, search: Search, path: str, read: Callable[[str], list[Found]]
) -> list[tuple[str, list[Found]]]:
    """Files that the path names, with what is in them; of several programs in $PATH the first."""
    files = search.target.user_file(path)
    if len(files) > 1 and not re.search(r"[*?\[]", path) and not path.endswith("/maps"):
        message = (
            f"attaching to {point.kind.name} target file '{files[0]}' but matched {len(files)} "
            "binaries"
        )
        search.report.warning(point.span, message)
        files = files[:1]
    found, reason = [], None
    for file in files:
        try:
            found.append((file, read(file)))
        except MachineError as error:
            reason = error.message
    if not found:
        message = f"{point.kind.name} target file '{path}' does not exist or is not executable"
        search.error(point, message, reason)
    return found


def _named(search: Search, symbols: Iterable[UserSymbol], pattern: str) -> list[UserSymbol]:
    return _once(s for s in symbols if matches(pattern, s.name) and ".part." not in s.name)


def _cpp(search: Search, symbols: Iterable[UserSymbol], pattern: str) -> list[UserSymbol]:
    """Functions whose name, or demangled name, matches; with parameters if the pattern has some."""
    pieces = [piece for piece in re.split(r"\W+", pattern.partition("(")[0]) if piece]

    def wanted(symbol: UserSymbol) -> bool:
        if matches(pattern, symbol.name):
            return True
        if not symbol.name.startswith("_Z") or any(piece not in symbol.name for piece in pieces):
            return False  # a mangled name contains the words of the name
        demangled = search.target.demangle(symbol.name)
        return matches(pattern, demangled if "(" in pattern else _without_parameters(demangled))

    return _once(s for s in symbols if wanted(s) and ".part." not in s.name)


def _without_parameters(demangled: str) -> str:
    """`ns::f(int)::g(long) const` → `ns::f(int)::g`"""
    end = demangled.rfind(")")
    depth = 0
    for at in range(end, -1, -1):
        depth += {")": 1, "(": -1}.get(demangled[at], 0)
        if depth == 0:
            return demangled[:at] if end >= 0 else demangled
    return demangled


def _once(symbols: Iterable[UserSymbol]) -> list[UserSymbol]:
    """The first symbol of each name."""
    found: dict[str, UserSymbol] = {}
    for symbol in symbols:
        found.setdefault(symbol.name, symbol)
    return list(found.values())


def _at_symbol(
    point: Point, search: Search, file: str, names: list[str], symbol: UserSymbol, offset: int
) -> list[Match]:
    name = point.name(file, *names) + (f"+{offset}" if offset else "")
    if offset and not search.options.unsafe:
        if not symbol.size:
            message = f"Could not determine boundary for {symbol.name} (symbol has size 0)."
            return search.error(point, message, FORCE)
        if not 0 <= offset < symbol.size:
            message = f"Offset outside the function bounds ('{symbol.name}' size is {symbol.size})"
            return search.error(point, message)
        if not _starts(search, file, symbol, offset):
            return _inside(point, search, file, symbol, offset)
    place = symbol.offset + offset
    attach = point.attach(name, target=file, symbol=symbol.name, offset=place)
    return [Match(point, attach, symbol=symbol)]


def _at_address(
    point: Point, search: Search, file: str, symbols: Iterable[UserSymbol], address: int
) -> list[Match]:
    """An address as the file's symbols have it, not an offset in the file."""
    name = point.name(file, address)
    around = [s for s in symbols if s.address <= address < s.address + max(s.size, 1)]
    if not around:
        return search.error(point, f"Could not resolve address: {file}:{address:#x}")
    symbol = min(around, key=lambda s: address - s.address)
    distance = address - symbol.address
    if distance and point.kind.name == "uretprobe":
        message = (
            "uretprobes cannot be attached at function offset. "
            f"(address resolved to: {symbol.name}+{distance})"
        )
        return search.error(point, message)
    if distance and not search.options.unsafe and not _starts(search, file, symbol, distance):
        return _inside(point, search, file, symbol, distance)
    place = symbol.offset + distance
    attach = point.attach(name, target=file, symbol=symbol.name, offset=place)
    return [Match(point, attach, symbol=symbol)]


def _starts(search: Search, file: str, symbol: UserSymbol, distance: int) -> bool:
    """Whether an instruction starts there."""
    return distance in search.target.instruction_starts(file, symbol)


def _inside(
    point: Point, search: Search, file: str, symbol: UserSymbol, distance: int
) -> list[Match]:
    place = f"{file}:{symbol.name}+{distance}"
    message = f"Could not add {point.kind.name} into middle of instruction: {place}"
    return search.error(point, message, FORCE)


def _source_line(point: Point, search: Search) -> list[Match]:
    """`path@file:line[:column]`, by the line tables of the debug information."""
    if point.kind.name == "uretprobe":
        return search.error(point, "Source code location not allowed")
    path, _, *place = point.parts
    if point.parts[1:2] != ("@",) or len(place) not in (2, 3):
        message = "Invalid uprobe arguments, expected format: uprobe:TARGET@FILE:LINE[:COL]"
        return search.error(point, message)
    source, *numbers = place
    at = [0, 0]  # line, column
    for i, (what, number) in enumerate(zip(("line", "column"), numbers, strict=False)):
        try:
            at[i] = integer(number)
        except MalformedError as error:
            return search.error(point, f"Invalid {what} number: {error}")
    found: list[Match] = []
    for file, symbols in read_files(point, search, path, search.target.user_symbols):
        debug = search.target.debug_info(file)
        if debug is None:
            message = (
                f"No DWARF debug info found for '{file}', cannot attach by source code location."
            )
            search.error(point, message)
            continue
        try:
            address = debug.line(source, *at)
        except MachineError as error:
            search.error(point, f"DWARF error: {error.message}")
            continue
        found += _in_symbol(point, file, symbols, address)
    return found


def _in_symbol(point: Point, file: str, symbols: Iterable[UserSymbol], address: int) -> list[Match]:
    """An address that is known to be the start of an instruction."""
    for symbol in symbols:
        if symbol.address <= address < symbol.address + max(symbol.size, 1):
            place = symbol.offset + address - symbol.address
            name = point.name(file, address)
            attach = point.attach(name, target=file, symbol=symbol.name, offset=place)
            at_start = symbol if address == symbol.address else None  # it has `args` there
            return [Match(point, attach, symbol=at_start)]
    return []
