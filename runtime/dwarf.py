"""Debug information of ELF files (DWARF 2 to 5), read with pyelftools and only where it is asked.

A file belongs to somebody else, so nothing in it is believed: what is damaged raises MachineError.
"""

from __future__ import annotations

import struct
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, wraps
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, TypeVar

from elftools.common.exceptions import DWARFError, ELFError
from elftools.construct import ConstructError
from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.elf.elffile import ELFFile

from bpfscript.target import FunctionType, MachineError
from bpfscript.types import Field, Struct, Type, align_up

from .archives import place as located
from .debug_files import debug_files
from .dwarf_entries import attribute, end_of, name_of, pieces, subprograms
from .dwarf_lines import line_address
from .dwarf_types import TYPE_TAGS, TypeReader
from .elf_functions import elf_file

if TYPE_CHECKING:
    from .dwarf_frames import SourceFrame, Unit

_DAMAGED = (
    DWARFError, ELFError, ConstructError, struct.error, AssertionError, AttributeError, EOFError,
    IndexError, KeyError, OSError, OverflowError, RecursionError, TypeError, UnicodeError,
    ValueError,
)  # fmt: skip
"""What pyelftools raises for a file that is not as it should be."""

Method = TypeVar("Method", bound=Callable[..., Any])


def _guarded(method: Method) -> Method:
    """Let a damaged file show as MachineError."""

    @wraps(method)
    def call(self: Dwarf, *args: Any) -> Any:
        try:
            return method(self, *args)
        except _DAMAGED as error:
            reason = f"{type(error).__name__}: {error}"
            raise MachineError(f"debug information of {self.path} is damaged ({reason})") from error

    return call  # type: ignore[return-value]


def debug_info(path: str, directories: Sequence[str], opened: str = "") -> Dwarf | None:
    """What a file, or the separate debug file of it, tells; None if neither tells anything.

    opened: where the file itself can be read, if not under its path. Raises MachineError for what
    is not ELF.
    """
    with elf_file(opened or path) as image:
        has = any(s.name in (b".debug_info", b".zdebug_info") for s in image.sections)
        places = [opened or path] if has else list(debug_files(image, path, directories))
    for place in places:
        try:
            with _opened(place) as file:
                elf = ELFFile(file)
                if elf.has_dwarf_info(strict=True):
                    return Dwarf(path, elf.get_dwarf_info(follow_links=False))
        except _DAMAGED as error:
            raise MachineError(f"debug information of {place} is damaged ({error})") from error
    return None


def _opened(path: str) -> IO[bytes]:
    """A file, or the content of a member of an archive."""
    at = located(path)
    if at is None or not at.offset:
        return open(path, "rb")
    with open(at.path, "rb") as archive:
        archive.seek(at.offset)
        return BytesIO(archive.read(at.size))


class Dwarf:
    """A `target.DebugInfo`."""

    def __init__(self, path: str, dwarf: DWARFInfo) -> None:
        self.path, self._dwarf = path, dwarf
        self._types = TypeReader(self._definition)
        self._functions: dict[int, FunctionType | None] = {}
        self._named: dict[tuple[str | None, str], Type | None] = {}
        self._code: dict[int, Unit] = {}  # by offset of the unit
        self._by_name: dict[int, dict[tuple[str, str], DIE]] = {}  # of each unit that was searched

    @_guarded
    def function(self, address: int) -> FunctionType | None:
        if address not in self._functions:
            die = self._function_at(address)
            self._functions[address] = self._types.function(die, address) if die else None
        return self._functions[address]

    @_guarded
    def declarations(self, address: int) -> list[str] | None:
        from .dwarf_text import declarations

        die = self._function_at(address)
        return declarations(die) if die else None

    @_guarded
    def named(self, keyword: str | None, name: str) -> Type | None:
        if (keyword, name) not in self._named:
            tags = TYPE_TAGS[keyword]
            die = self._declared(tags, name)
            self._named[keyword, name] = self._types.type(die) if die else None
        return self._named[keyword, name]

    @_guarded
    def fields(self, struct: Struct) -> tuple[Field, ...]:
        return self._types.fields(struct)

    @_guarded
    def enum(self, name: str) -> dict[int, str] | None:
        if self.named("enum", name) is None:
            return None
        return self._types.enum(name)

    @_guarded
    def line(self, file: str, line: int, column: int = 0) -> int:
        return line_address(self._dwarf, file, line, column)

    @_guarded
    def frames(self, address: int) -> list[SourceFrame]:
        """What is at an address: inlined calls, the innermost first, then the function."""
        from .dwarf_frames import Unit

        for unit in self._units_at(address):
            if (known := self._code.get(unit.cu_offset)) is None:
                known = self._code[unit.cu_offset] = Unit(self._dwarf, unit)
            if found := known.frames(address):
                return found
        return []

    # Search

    @cached_property
    def _units(self) -> list[CompileUnit]:
        return list(self._dwarf.iter_CUs())

    def _function_at(self, address: int) -> DIE | None:
        for unit in self._units_at(address):
            for die in subprograms(unit.get_top_DIE()):
                if self._entry(die) == address:
                    return die
        return None

    def _entry(self, function: DIE) -> int | None:
        """Where a function starts: one that is split has the hot part first."""
        low: int | None = attribute(function, "DW_AT_low_pc")
        if low is not None:
            return low
        assert isinstance(function.cu, CompileUnit)
        return next((start for start, _ in pieces(self._dwarf, function.cu, function)), None)

    def _units_at(self, address: int) -> Iterator[CompileUnit]:
        """The unit whose code an address is in; without an index, all that may be."""
        for start, length, offset in self._ranges:
            if start <= address < start + length:
                yield self._dwarf.get_CU_at(offset)
                return
        for unit in self._units:
            if _covers(unit.get_top_DIE(), address):
                yield unit

    @cached_property
    def _ranges(self) -> list[tuple[int, int, int]]:
        """(address, length, offset of the unit) of all code, if the file has an index of it."""
        section = self._dwarf.debug_aranges_sec
        order = "<" if self._dwarf.config.little_endian else ">"
        return list(_ranges(_content(section.stream), order)) if section else []

    def _definition(self, die: DIE) -> DIE:
        """The full type that a declaration (`struct S;`) stands for, or itself."""
        found = self._declared((str(die.tag),), name_of(die))
        return found or die

    def _declared(self, tags: tuple[str, ...], name: str) -> DIE | None:
        """The definition of a type with this name at file level or in a namespace."""
        for unit in self._mentioning(name.encode()):
            if unit.cu_offset not in self._by_name:
                self._by_name[unit.cu_offset] = dict(_types(unit.get_top_DIE()))
            known = self._by_name[unit.cu_offset]
            for tag in tags:
                if (tag, name) in known:
                    return known[tag, name]
        return None

    def _mentioning(self, name: bytes) -> list[CompileUnit]:
        """The units whose bytes have the name or refer to it: reading all of them takes long."""
        strings, info = (
            _content(section.stream) if section else b""
            for section in (self._dwarf.debug_str_sec, self._dwarf.debug_info_sec)
        )
        if self._dwarf.debug_str_offsets_sec and name in strings:
            return self._units  # they refer by index
        order = "<I" if self._dwarf.config.little_endian else ">I"
        found = set(_places(info, name + b"\0"))
        for at in _places(strings, name + b"\0"):
            found.update(_places(info, struct.pack(order, at)))
        starts = [unit.cu_offset for unit in self._units]
        return [self._units[at] for at in sorted({bisect(starts, place) - 1 for place in found})]


def _places(text: bytes, part: bytes) -> Iterator[int]:
    at = text.find(part)
    while at >= 0:
        yield at
        at = text.find(part, at + 1)


def _content(stream: IO[bytes]) -> bytes:
    return stream.getvalue() if isinstance(stream, BytesIO) else b""


def _ranges(index: bytes, order: str) -> Iterator[tuple[int, int, int]]:
    """Rows of .debug_aranges (DWARF 5, section 6.1.2)."""
    at = 0
    while at + 12 <= len(index):
        length, start, wide = struct.unpack_from(f"{order}I", index, at)[0], at + 4, "I"
        if length == 0xFFFFFFFF:
            length, start, wide = struct.unpack_from(f"{order}Q", index, at + 4)[0], at + 12, "Q"
        _, unit, size, _ = struct.unpack_from(f"{order}H{wide}BB", index, start)
        row = struct.Struct(f"{order}{'QQ' if size == 8 else 'II'}")
        header = start + struct.calcsize(f"={wide}HBB")
        rows = index[at + align_up(header - at, row.size) : start + length]
        for address, count in row.iter_unpack(rows[: len(rows) // row.size * row.size]):
            if count:
                yield address, count, unit
        at = start + length


def _types(parent: DIE) -> Iterator[tuple[tuple[str, str], DIE]]:
    """((tag, name), definition) of the types of a unit; the first of each name comes last."""
    found = []
    for die in parent.iter_children():
        if die.tag == "DW_TAG_namespace":
            found += list(_types(die))
        elif name_of(die) and attribute(die, "DW_AT_declaration") is None:
            found.append(((str(die.tag), name_of(die)), die))
    return reversed(found)


def _covers(unit: DIE, address: int) -> bool:
    """Whether the code of a unit may contain an address."""
    low = attribute(unit, "DW_AT_low_pc")
    if low is None or (end := end_of(unit, low)) is None:
        return True  # it has several ranges
    return bool(low <= address < end)
