"""What an ELF file says of the code in it: where it is loaded, its functions, its build id.

The file belongs to a traced process, so nothing in it is believed: what does not fit is left out.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter
from typing import NamedTuple

Read = Callable[[int, int], bytes]  # (offset, size) → at most so many bytes

MAGIC = b"\x7fELF"
SYMTAB, DYNSYM = 2, 11  # SHT_*
_NOTE, _LOAD, _EXECUTABLE, _RUNS = 7, 1, 2, 1  # SHT_NOTE, PT_LOAD, ET_EXEC, PF_X
FUNCTIONS, OBJECTS = (2, 10), (1,)  # STT_FUNC, STT_GNU_IFUNC; STT_OBJECT


class Section(NamedTuple):
    name: bytes
    type: int
    address: int
    offset: int
    size: int
    link: int


class Segment(NamedTuple):
    offset: int
    address: int
    size: int  # in the file
    runs: bool  # it is code


class Symbol(NamedTuple):
    address: int
    size: int
    binding: int  # STB_LOCAL 0, STB_GLOBAL 1, STB_WEAK 2
    name: bytes


class Names(NamedTuple):
    """Functions, their names unread. rows: address, size, binding, and what `name` takes."""

    rows: list[tuple[int, int, int, int]]
    name: Callable[[int], bytes]


class NotElf(Exception):
    """A file is not one of ELF that a machine could run."""


class ElfImage:
    """Headers of an ELF file; `read` gets parts of it. Raises NotElf.

    wide: it is a 64-bit file. whole: it has all the headers that it says it has. fixed: it is an
    executable that can lie at its own addresses only (ET_EXEC).
    """

    def __init__(self, read: Read) -> None:
        self.read = read
        header = read(0, 64)
        if len(header) < 52 or header[:4] != MAGIC or header[4] not in (1, 2):
            raise NotElf
        self.wide = header[4] == 2
        kind, self.machine = struct.unpack_from("<HH" if header[5] == 1 else ">HH", header, 16)
        self.fixed = kind == _EXECUTABLE
        self._order = "<" if header[5] == 1 else ">"
        try:
            self.segments, self.sections = self._headers(header)
        except struct.error:
            raise NotElf from None

    def _headers(self, header: bytes) -> tuple[list[Segment], list[Section]]:
        form = "QQQIHHHHHH" if self.wide else "IIIIHHHHHH"
        _, program, table, _, _, step, count, section_step, section_count, names = self.unpack(
            form, header, 24
        )
        segments = []
        programs = self.read(program, step * count)
        tables = self.read(table, section_step * section_count)
        self.whole = len(programs) == step * count and len(tables) == section_step * section_count
        for raw in _rows(programs, step):
            if self.wide:
                kind, flags, offset, address, _, size = self.unpack("IIQQQQ", raw)
            else:
                kind, offset, address, _, size, _, flags = self.unpack("IIIIIII", raw)
            if kind == _LOAD:
                segments.append(Segment(offset, address, size, bool(flags & _RUNS)))
        form = "IIQQQQI" if self.wide else "IIIIIII"
        rows = [self.unpack(form, raw) for raw in _rows(tables, section_step)]
        strings = self.read(*rows[names][4:6]) if names < len(rows) else b""
        return segments, [
            Section(_string(strings, name), kind, address, offset, size, link)
            for name, kind, _, address, offset, size, link in rows
        ]

    def unpack(self, form: str, raw: bytes, at: int = 0) -> tuple[int, ...]:
        """Numbers in the file's byte order. Raises struct.error where there is less."""
        return struct.unpack_from(self._order + form, raw, at)

    def address(self, offset: int) -> int | None:
        """Virtual address of what lies at an offset of the file."""
        for segment in self.segments:
            if segment.offset <= offset < segment.offset + segment.size:
                return offset - segment.offset + segment.address
        return None

    def offset(self, address: int) -> int | None:
        """Where in the file a virtual address lies."""
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.offset
        return None

    def section(self, name: bytes) -> bytes | None:
        """Content of the section with this name."""
        return next((self.read(s.offset, s.size) for s in self.sections if s.name == name), None)

    def build_id(self) -> str | None:
        """Hex digits of the NT_GNU_BUILD_ID note."""
        for section in self.sections:
            if section.type != _NOTE:
                continue
            raw = self.read(section.offset, section.size)
            if len(raw) >= 16 and raw[12:16] == b"GNU\0":
                size, kind = self.unpack("II", raw, 4)
                if kind == 3:
                    return raw[16 : 16 + size].hex()
        return None

    def functions(self, table: int) -> list[Symbol]:
        """Functions defined here, of the tables of type `table`, unordered."""
        return self.symbols(table, FUNCTIONS)

    def count(self, table: int) -> int:
        """How many symbols the tables of type `table` have."""
        size = 24 if self.wide else 16  # bytes of one
        return sum(section.size // size for section in self.sections if section.type == table)

    def names(self, table: int) -> list[Names]:
        """The same, their names unread, for each such table."""
        found = []
        for symbols, strings in self._symbol_tables(table):
            rows = [
                (address, size, info >> 4, name)
                for name, info, defined, address, size in symbols
                if name and defined and info & 15 in FUNCTIONS
            ]
            found.append(Names(rows, partial(_string, strings)))
        return found

    def symbols(self, table: int, kinds: tuple[int, ...]) -> list[Symbol]:
        """Symbols of some kinds (STT_*) defined here, of the tables of type `table`, unordered."""
        return [
            Symbol(address, size, info >> 4, _string(strings, name))
            for symbols, strings in self._symbol_tables(table)
            for name, info, defined, address, size in symbols
            if defined and info & 15 in kinds
        ]

    def _symbol_tables(self, table: int) -> Iterator[tuple[Iterator[tuple[int, ...]], bytes]]:
        """For each table: (name, info, section, address, size) of its symbols; their strings."""
        record = struct.Struct(self._order + ("IBxHQQ" if self.wide else "IIIBxH"))
        for section in self.sections:
            if section.type == table and section.link < len(self.sections):
                strings = self.sections[section.link]
                raw = self.read(section.offset, section.size)
                rows = record.iter_unpack(raw[: len(raw) // record.size * record.size])
                if not self.wide:
                    rows = map(itemgetter(0, 3, 4, 1, 2), rows)
                yield rows, self.read(strings.offset, strings.size)


def _rows(raw: bytes, step: int) -> list[bytes]:
    return [raw[at : at + step] for at in range(0, len(raw), step)] if step else []


def _string(strings: bytes, at: int) -> bytes:
    end = strings.find(b"\0", at)
    return strings[at:end] if end >= 0 else b""


def open_regular(path: str) -> int | None:
    """A descriptor of a regular file, or None: a traced process may have put anything there."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except (OSError, ValueError):
        return None
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    return None


def image_of(fd: int, start: int = 0, length: int = -1) -> ElfImage | None:
    """The ELF file behind a descriptor, which must outlive what is returned.

    start, length: where in it the file lies; -1: all that follows.
    """
    end = os.fstat(fd).st_size - start
    end = end if length < 0 else min(end, length)

    def read(offset: int, size: int) -> bytes:
        return os.pread(fd, min(size, end - offset), start + offset) if offset < end else b""

    try:
        return ElfImage(read)
    except (NotElf, OSError):
        return None


def image_in(content: bytes) -> ElfImage | None:
    """The ELF file that is in memory."""
    try:
        return ElfImage(lambda offset, size: content[offset : offset + size])
    except NotElf:
        return None
