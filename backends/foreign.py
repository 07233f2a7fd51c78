"""Objects that others made, by libbpf's conventions: what can be run of them, as an artifact.

Their maps go by `@name`, so that a session shows them in the end like those of a script; variables
of `.data` and `.bss` are fields of one map each, constants of all sections lie in `.rodata`.
The kernel gets no BTF of theirs where it does not take clang's as it is.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bpfscript.backends import isa, object_file
from bpfscript.backends.foreign_maps import Maps
from bpfscript.backends.object_file import EXECUTABLE, FUNC, ObjectFile, Section, Symbol
from bpfscript.backends.section_names import Left, place
from bpfscript.btf import Btf
from bpfscript.codec import ObjectError
from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import (
    Artifact,
    CodeFunction,
    CoreRelocation,
    Manifest,
    ProbeInfo,
    Program,
    Relocation,
    Settings,
)
from bpfscript.target import Target

_TEXT, _SECTION_SYMBOL = ".text", 3
_EXT = struct.Struct("<HBBI6I")  # magic, version, flags, its length; (offset, length) of 3 tables
_Question = tuple[int, int, str]  # kind, type, access of a CoreRelocation
_CORE = struct.Struct("<4I")  # struct bpf_core_relo: where, type, access, kind


class Foreign:
    """What an object has. left: (program, its section, why it cannot be run here)."""

    def __init__(self, file: ObjectFile, target: Target) -> None:
        """Raises ObjectError for what is damaged, or no object that can be understood."""
        if ".BTF" not in file.sections:
            raise ObjectError("the object has no BTF: compile it with -g")
        self._file = file
        self._btf = file.sections[".BTF"].data
        self._maps = Maps(file, Btf(self._btf))
        self._core = _core_relocations(file, self._maps.types.btf)
        self._names = _names(file)
        self.left: list[tuple[str, str, str]] = []
        self.probes: list[ProbeInfo] = []
        self._programs: list[Program] = []
        self._functions: dict[str, CodeFunction] = {}
        for symbol in _code(file):
            if symbol.section != _TEXT:
                self._add(symbol, target)

    @property
    def maps(self) -> Maps:
        return self._maps

    @property
    def license(self) -> str:
        section = self._file.sections.get("license")
        text = section.data.split(b"\0")[0] if section else b""
        return text.decode("ascii", "replace")

    def artifact(self, name: str) -> Artifact:
        """What can be run. Raises ObjectError if nothing can."""
        if not self._programs:
            reasons = "; ".join(f"{program}: {why}" for program, _, why in self.left)
            raise ObjectError(f"nothing of {name} can be run: {reasons or 'it has no programs'}")
        maps = self._maps
        manifest = Manifest(
            probes=self.probes, maps=[*maps.defined.values(), *maps.data.values()],
            structs=maps.types.structs, enums=maps.types.enums,
            settings=Settings(license=self.license),
        )  # fmt: skip
        return Artifact(
            self._programs, self._functions, manifest, rodata=maps.constants, btf=self._btf,
            source_name=name,
        )  # fmt: skip

    def _add(self, symbol: Symbol, target: Target) -> None:
        """A program with the functions that it calls, or why it is left out."""
        name = self._names[symbol.section, symbol.value]
        try:
            kind, attach = place(symbol.section, target)
            functions: dict[str, CodeFunction] = {}
            waiting = [symbol]
            while waiting:
                one = waiting.pop()
                key = one.section, one.value
                if self._names[key] not in functions:
                    made, called = self._function(one)
                    functions[made.name] = made
                    waiting += called
        except Left as why:
            self.left.append((name, symbol.section, str(why)))
            return
        self._functions |= functions
        self._programs.append(Program(name, kind, symbol.section, tuple(functions)))
        self.probes.append(ProbeInfo(name, (attach,), (attach.name,)))

    def _function(self, symbol: Symbol) -> tuple[CodeFunction, list[Symbol]]:
        """A function whose addresses are open, and those that it calls. Raises Left."""
        section = self._file.sections[symbol.section]
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
        name = self._names[symbol.section, symbol.value]
        span = range(symbol.value, symbol.value + symbol.size)
        core = tuple(
            CoreRelocation((at - symbol.value) // isa.SLOT, *question)
            for at, question in self._core.get(symbol.section, ())
            if at in span
        )
        return CodeFunction(name, code, tuple(out), core=core), called

    def _relocation(self, slot: int, kind: int, mark: Symbol, insn: isa.Insn) -> Relocation:
        inner = insn.imm & 0xFFFFFFFF if mark.type == _SECTION_SYMBOL else 0
        section = self._file.sections.get(mark.section)
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
        found = self._maps.relocation(slot, mark.section, mark.value + inner)
        if found is None:
            raise Left(self._maps.reason(mark))
        return found

    def _named(self, section: str, offset: int) -> str:
        try:
            return self._names[section, offset]
        except KeyError:
            raise ObjectError("damaged object file: a call goes to no function") from None

    def _by_name(self, name: str) -> Symbol:
        key = next(key for key, known in self._names.items() if known == name)
        return next(s for s in _code(self._file) if (s.section, s.value) == key)


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


def _core_relocations(file: ObjectFile, btf: Btf) -> dict[str, list[tuple[int, _Question]]]:
    """By section: where an instruction takes something from the kernel's BTF, and what."""
    data = file.sections[".BTF.ext"].data if ".BTF.ext" in file.sections else b""
    found: dict[str, list[tuple[int, _Question]]] = {}
    if len(data) < _EXT.size or int.from_bytes(data[4:8], "little") < _EXT.size:
        return found  # an older one, or an empty one, has no such table
    try:
        _, _, _, header, *_, start, length = _EXT.unpack_from(data)
        if not length:
            return found
        (size,) = struct.unpack_from("<I", data, at := header + start)
        at, end = at + 4, at + length
        while at < end:
            name, count = struct.unpack_from("<II", data, at)
            rows = found.setdefault(btf.string(name), [])
            at += 8
            for _ in range(count):
                where, type, access, kind = _CORE.unpack_from(data, at)
                rows.append((where, (kind, type, btf.string(access))))
                at += max(size, _CORE.size)
    except struct.error:
        raise ObjectError("damaged object file: .BTF.ext is cut off") from None
    return found


def _decoded(code: bytes) -> list[isa.Insn]:
    try:
        return isa.decode(code)
    except CompilerBug as error:  # here it is not ours
        raise Left(f"its code is newer than we know: {error}") from None
