"""ELF64 little-endian relocatable files for BPF: sections, symbols, REL relocations; nothing about
what is in them.

Layouts: elf(5). Reading believes nothing: a file that is not whole raises ObjectError.
"""

from __future__ import annotations

import struct

from bpfscript.codec import ObjectError
from bpfscript.plain import dataclass, field

NULL, PROGBITS, SYMTAB, STRTAB, NOBITS, REL = 0, 1, 2, 3, 8, 9  # sh_type
WRITE, ALLOC, EXECUTABLE = 1, 2, 4  # sh_flags
LOCAL, GLOBAL = 0, 1  # symbol binding
OBJECT, FUNC = 1, 2  # symbol type
R_BPF_64_64, R_BPF_64_32 = 1, 10  # ld_imm64 of an address; call

_EM_BPF, _ET_REL = 247, 1
_IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_REL = struct.Struct("<QQ")
_LONGEST_NAME = 4096  # bytes; for reading


@dataclass(slots=True)
class Symbol:
    """`section` is the name of the one it lies in; "" if it is defined elsewhere."""

    name: str
    section: str
    value: int = 0
    size: int = 0
    type: int = 0
    binding: int = GLOBAL


@dataclass(slots=True)
class Section:
    """`relocations`: offset in the section, type, symbol. `size` counts for NOBITS only."""

    name: str
    data: bytes
    type: int = PROGBITS
    flags: int = 0
    align: int = 1
    size: int = 0
    relocations: list[tuple[int, int, Symbol]] = field(default_factory=list)


@dataclass(slots=True)
class ObjectFile:
    """Names of sections are unique. Local symbols come before global ones."""

    sections: dict[str, Section]
    symbols: list[Symbol]


class _Strings:
    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self.known = {"": 0}

    def add(self, text: str) -> int:
        if text not in self.known:
            self.known[text] = len(self.data)
            self.data += text.encode() + b"\0"
        return self.known[text]


def write(file: ObjectFile) -> bytes:
    """The bytes of a file: header, sections, relocations, symbols, strings, section table."""
    strings = _Strings()
    index = {name: n for n, name in enumerate(file.sections, 1)}
    number = {id(s): n for n, s in enumerate(file.symbols, 1)}
    symbols = bytes(_SYMBOL.size) + b"".join(
        _SYMBOL.pack(
            strings.add(s.name),
            s.binding << 4 | s.type,
            0,
            index.get(s.section, 0),
            s.value,
            s.size,
        )
        for s in file.symbols
    )
    first_global = 1 + sum(s.binding == LOCAL for s in file.symbols)
    relocated = [s for s in file.sections.values() if s.relocations]
    symtab = len(index) + len(relocated) + 1

    out = bytearray(_HEADER.size)
    table = [bytes(_SECTION.size)]

    def place(s: Section, link: int = 0, info: int = 0, entry: int = 0) -> None:
        out.extend(bytes(-len(out) % max(s.align, 1)))
        name = strings.add(s.name)
        size = s.size if s.type == NOBITS else len(s.data)
        table.append(
            _SECTION.pack(name, s.type, s.flags, 0, len(out), size, link, info, s.align, entry)
        )
        out.extend(s.data)

    for section in file.sections.values():
        place(section)
    for section in relocated:
        data = b"".join(
            _REL.pack(offset, number[id(symbol)] << 32 | kind)
            for offset, kind, symbol in section.relocations
        )
        place(Section(f".rel{section.name}", data, REL, align=8), symtab, index[section.name], 16)
    place(Section(".symtab", symbols, SYMTAB, align=8), symtab + 1, first_global, _SYMBOL.size)
    strings.add(".strtab")
    place(Section(".strtab", bytes(strings.data), STRTAB))
    out.extend(bytes(-len(out) % 8))
    out[: _HEADER.size] = _HEADER.pack(
        _IDENT, _ET_REL, _EM_BPF, 1, 0, 0, len(out), 0,
        _HEADER.size, 0, 0, _SECTION.size, len(table), len(table) - 1,
    )  # fmt: skip
    return bytes(out) + b"".join(table)


def read(data: bytes) -> ObjectFile:
    """Sections and symbols of a file. Raises ObjectError for anything that is not whole."""
    try:
        return _read(data)
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError):
        raise ObjectError("damaged object file") from None


def _read(data: bytes) -> ObjectFile:
    header = _HEADER.unpack_from(data)
    ident, kind, machine, start, count, names = *header[:3], header[6], header[12], header[13]
    if ident[:6] != _IDENT[:6] or (kind, machine) != (_ET_REL, _EM_BPF):
        raise ObjectError("not a BPF object file")
    rows = [_SECTION.unpack_from(data, start + n * _SECTION.size) for n in range(count)]
    if sum(row[5] for row in rows if row[1] not in (NULL, NOBITS)) > len(data):
        raise ObjectError("damaged object file: sections overlap")
    bodies = [_part(data, row[4], row[5]) if row[1] not in (NULL, NOBITS) else b"" for row in rows]
    sections = [
        Section(_string(bodies[names], row[0]), body, row[1], row[2], row[8], row[5])
        for row, body in zip(rows, bodies, strict=True)
    ]
    symbols: list[Symbol] = []
    for row, body in zip(rows, bodies, strict=True):
        if row[1] == SYMTAB:
            symbols = [
                _symbol(sections, bodies[row[6]], entry) for entry in _SYMBOL.iter_unpack(body)
            ]
    for row, body in zip(rows, bodies, strict=True):
        if row[1] == REL:
            sections[row[7]].relocations = [
                (offset, info & 0xFFFFFFFF, symbols[info >> 32])
                for offset, info in _REL.iter_unpack(body)
            ]
    kept = [s for s in sections if s.type not in (NULL, SYMTAB, STRTAB, REL)]
    return ObjectFile({s.name: s for s in kept}, symbols[1:])


def _symbol(sections: list[Section], names: bytes, entry: tuple[int, ...]) -> Symbol:
    name, info, _, where, value, size = entry
    section = sections[where].name if 0 < where < 0xFF00 else ""
    return Symbol(_string(names, name), section, value, size, info & 15, info >> 4)


def _part(data: bytes, offset: int, size: int) -> bytes:
    if offset + size > len(data):
        raise ObjectError("damaged object file: a section ends after the file")
    return data[offset : offset + size]


def _string(table: bytes, offset: int) -> str:
    end = table.find(b"\0", offset, offset + _LONGEST_NAME)
    if end < 0:
        raise ObjectError("damaged object file: a name has no end")
    return table[offset:end].decode()
