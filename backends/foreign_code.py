"""Code of objects that others made, by libbpf's conventions: functions whose addresses are open."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bpfscript.backends import isa, object_file
from bpfscript.backends.foreign_maps import Maps
from bpfscript.backends.object_file import EXECUTABLE, FUNC, ObjectFile, Section, Symbol
from bpfscript.backends.section_names import Left
from bpfscript.btf import Btf
from bpfscript.codec import ObjectError
from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import CodeFunction, CoreRelocation, Line, Relocation

TEXT, _SECTION_SYMBOL = ".text", 3
_LINES, _CORE = 16, 24  # where the header of `.BTF.ext` has (offset, length) of a table
_LINE_ROW = struct.Struct("<4I")  # struct bpf_line_info: where, file, text, line << 10 | column
_CORE_ROW = struct.Struct("<4I")  # struct bpf_core_relo: where, type, access, kind
_Row = tuple[int, ...]  # the first is an offset in the section


class Code:
    """The functions of an object. names: one of its own for each, by section and offset.

    prefix: of the names of its maps and functions, if they are to stand beside those of others.
    """

    def __init__(self, file: ObjectFile, prefix: str = "") -> None:
        """Raises ObjectError for what is damaged, or no object that can be understood."""
        if ".BTF" not in file.sections:
            raise ObjectError("the object has no BTF: compile it with -g")
        self.file = file
        self.btf = Btf(file.sections[".BTF"].data)
        self.maps = Maps(file, self.btf, prefix)
        self.names = {place: f"{prefix}{name}" for place, name in _names(file).items()}
        self._core = _rows(file, self.btf, _CORE, _CORE_ROW)
        self._lines = _rows(file, self.btf, _LINES, _LINE_ROW)

    def symbols(self) -> Iterator[Symbol]:
        return _code(self.file)

    def name(self, symbol: Symbol) -> str:
        return self.names[symbol.section, symbol.value]

    def reached(self, symbol: Symbol) -> dict[str, CodeFunction]:
        """A function, first, and all that it calls or hands out. Raises Left, ObjectError."""
        functions: dict[str, CodeFunction] = {}
        waiting = [symbol]
        while waiting:
            one = waiting.pop()
            if self.name(one) not in functions:
                made, called = self.function(one)
                functions[made.name] = made
                waiting += called
        return functions

    def function(self, symbol: Symbol) -> tuple[CodeFunction, list[Symbol]]:
        """A function whose addresses are open, and those that it calls. Raises Left."""
        section = self.file.sections[symbol.section]
        code = section.data[symbol.value : symbol.value + symbol.size]
        if len(code) != symbol.size or not code or len(code) % isa.SLOT:
            raise ObjectError(f"damaged object file: no code at {symbol.name}")
        marks = {offset: (kind, found) for offset, kind, found in section.relocations}
        out, called, slot = list[Relocation](), list[Symbol](), 0
        for insn in _decoded(code):
            at = symbol.value + slot * isa.SLOT
            kind, mark = marks.get(at, (0, None))
            relocation: Relocation | None = None
            if mark is not None:
                relocation = self._relocation(slot, kind, mark, insn)
            elif insn.code == isa.CALL and insn.src == isa.PSEUDO_CALL:
                there = at + (insn.imm + 1) * isa.SLOT
                relocation = Relocation(slot, "call", self._named(symbol.section, there))
            if relocation:
                out.append(relocation)
                if relocation.kind in ("call", "callback"):
                    called.append(self._by_name(relocation.name))
            slot += insn.slots
        core = tuple(
            CoreRelocation(slot, kind, type, self.btf.string(access))
            for slot, type, access, kind in _within(symbol, self._core)
        )
        lines = tuple(
            Line(slot, place >> 10, place & 1023, file, text)
            for slot, file, text, place in _within(symbol, self._lines)
        )
        return CodeFunction(self.name(symbol), code, tuple(out), lines, core), called

    def _relocation(self, slot: int, kind: int, mark: Symbol, insn: isa.Insn) -> Relocation:
        inner = insn.imm & 0xFFFFFFFF if mark.type == _SECTION_SYMBOL else 0
        section = self.file.sections.get(mark.section)
        if not section:
            if kind == object_file.R_BPF_64_32:
                return Relocation(slot, "kfunc", mark.name)
            raise Left(f"it needs {mark.name}, which is defined nowhere")
        if kind == object_file.R_BPF_64_32:
            there = mark.value
            if mark.type == _SECTION_SYMBOL:
                there += (insn.imm + 1) * isa.SLOT
            return Relocation(slot, "call", self._named(mark.section, there))
        if kind != object_file.R_BPF_64_64 or insn.code != isa.LD_IMM64:
            raise Left(f"it has a relocation of type {kind}, which is not known here")
        if section.flags & EXECUTABLE:
            return Relocation(slot, "callback", self._named(mark.section, mark.value + inner))
        found = self.maps.relocation(slot, mark.section, mark.value + inner)
        if found is None:
            raise Left(self.maps.reason(mark))
        if found.addend >> 31:  # of what an immediate holds
            raise ObjectError(f"damaged object file: {mark.section} is not so large")
        return found

    def _named(self, section: str, offset: int) -> str:
        try:
            return self.names[section, offset]
        except KeyError:
            raise ObjectError("damaged object file: a call goes to no function") from None

    def _by_name(self, name: str) -> Symbol:
        key = next(key for key, known in self.names.items() if known == name)
        return next(s for s in self.symbols() if (s.section, s.value) == key)


def _code(file: ObjectFile) -> Iterator[Symbol]:
    for symbol in file.symbols:
        section: Section | None = file.sections.get(symbol.section)
        if section and symbol.type == FUNC and section.flags & EXECUTABLE:
            yield symbol


def _names(file: ObjectFile) -> dict[tuple[str, int], str]:
    """A name of its own for each function; static ones may share theirs."""
    names: dict[tuple[str, int], str] = {}
    for symbol in _code(file):
        taken = symbol.name in names.values()
        names[symbol.section, symbol.value] = (
            f"{symbol.name}.{len(names)}" if taken else symbol.name
        )
    return names


def _within(symbol: Symbol, table: dict[str, list[_Row]]) -> Iterator[_Row]:
    """Rows for a function, by slot."""
    for at, *rest in table.get(symbol.section, ()):
        if symbol.value <= at < symbol.value + symbol.size:
            yield (at - symbol.value) // isa.SLOT, *rest


def _rows(file: ObjectFile, btf: Btf, at: int, row: struct.Struct) -> dict[str, list[_Row]]:
    """By section: what a table of `.BTF.ext` has, whose place is `at` that in its header."""
    data = file.sections[".BTF.ext"].data if ".BTF.ext" in file.sections else b""
    found: dict[str, list[_Row]] = {}
    try:
        header = int.from_bytes(data[4:8], "little")
        if len(data) < at + 8 or header < at + 8:
            return found  # an older one, or an empty one, has no such table
        start, length = struct.unpack_from("<II", data, at)
        if not length:
            return found
        (size,) = struct.unpack_from("<I", data, at := header + start)
        at, end = at + 4, at + length
        while at < end:
            name, count = struct.unpack_from("<II", data, at)
            rows = found.setdefault(btf.string(name), [])
            at += 8
            for _ in range(count):
                rows.append(row.unpack_from(data, at))
                at += max(size, row.size)
    except struct.error:
        raise ObjectError("damaged object file: .BTF.ext is cut off") from None
    return found


def _decoded(code: bytes) -> list[isa.Insn]:
    try:
        return isa.decode(code)
    except CompilerBug as error:  # here it is not ours
        raise Left(f"its code is newer than we know: {error}") from None
