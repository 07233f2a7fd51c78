"""Function symbols of ELF files (System V ABI, chapter 4), read without any library.

A file is hostile input: whatever does not fit raises MachineError.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from bpfscript.target import MachineError, UserSymbol

MAGIC = b"\x7fELF"
_SYMBOL_TABLES = (2, 11)  # SHT_SYMTAB, SHT_DYNSYM
_FUNCTIONS = (2, 10)  # STT_FUNC, STT_GNU_IFUNC
_LOAD = 1  # PT_LOAD

Data = bytes | mmap.mmap


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the fields are that differ between 32 and 64 bit; struct formats without byte order."""

    header: str  # phoff, shoff, flags, ehsize, phentsize, phnum, shentsize, shnum
    segment: str
    section: str
    symbol: str


_LAYOUTS = {
    1: Layout("IIIHHHHH", "IIIIIIII", "IIIIIIIIII", "IIIBBH"),
    2: Layout("QQIHHHHH", "IIQQQQQQ", "IIQQQQIIQQ", "IBBHQQ"),
}


def function_symbols(path: str) -> list[UserSymbol]:
    """Functions that the file defines: those of .symtab, then those that only .dynsym has."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return Elf(path, data).functions()
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        reason = error.strerror if isinstance(error, OSError) else "it is empty"
        raise MachineError(f"{path}: {reason}") from error


class Elf:
    """The headers of an ELF file."""

    def __init__(self, path: str, data: Data) -> None:
        self.path, self.data = path, data
        if data[:4] != MAGIC or len(data) < 20:
            raise MachineError(f"{path} is no ELF file")
        self.layout = _LAYOUTS.get(data[4], _LAYOUTS[2])
        self.wide = self.layout is _LAYOUTS[2]
        self.order = ">" if data[5] == 2 else "<"
        at = 32 if self.wide else 28
        header = self._unpack(self.layout.header, at)
        self._segments_at, self._sections_at, _, _, *counts = header
        self._segment_size, self._segment_count, self._section_size, self._section_count = counts

    def functions(self) -> list[UserSymbol]:
        segments = list(self._segments())
        sections = list(self._sections())
        found: dict[tuple[str, int], UserSymbol] = {}
        for kind in _SYMBOL_TABLES:
            for section in sections:
                if section[1] == kind and section[6] < len(sections):
                    strings = sections[section[6]]
                    for name, address, size in self._symbols(section, strings):
                        offset = _offset(segments, address)
                        if offset is not None:
                            symbol = UserSymbol(name, address, size, offset)
                            found.setdefault((name, address), symbol)
        return list(found.values())

    def _segments(self) -> Iterator[tuple[int, int, int]]:
        """(address, size in the file, offset) of what is loaded."""
        for i in range(self._segment_count):
            at = self._segments_at + i * self._segment_size
            if self.wide:
                kind, _, offset, address, _, size, _, _ = self._unpack(self.layout.segment, at)
            else:
                kind, offset, address, _, size, _, _, _ = self._unpack(self.layout.segment, at)
            if kind == _LOAD:
                yield address, size, offset

    def _sections(self) -> Iterator[tuple[int, ...]]:
        """name, type, flags, address, offset, size, link, info, alignment, entry size"""
        for i in range(self._section_count):
            yield self._unpack(self.layout.section, self._sections_at + i * self._section_size)

    def _symbols(
        self, table: tuple[int, ...], strings: tuple[int, ...]
    ) -> Iterator[tuple[str, int, int]]:
        """(name, address, size) of the functions that a symbol table defines."""
        record = struct.Struct(self.order + self.layout.symbol)
        data = self._part(table[4], table[5] // record.size * record.size)
        names = self._part(strings[4], strings[5])
        for fields in record.iter_unpack(data):
            if self.wide:
                name, info, _, section, address, size = fields
            else:
                name, address, size, info, _, section = fields
            if info & 15 in _FUNCTIONS and section and address:
                text = names[name : names.find(b"\0", name)].decode("utf-8", "replace")
                yield text.partition("@")[0], address, size  # without the version

    def _part(self, offset: int, size: int) -> bytes:
        if offset + size > len(self.data):
            raise MachineError(f"{self.path} is cut off")
        return self.data[offset : offset + size]

    def _unpack(self, format: str, offset: int) -> tuple[int, ...]:
        record = struct.Struct(self.order + format)
        return record.unpack(self._part(offset, record.size))


def _offset(segments: list[tuple[int, int, int]], address: int) -> int | None:
    """Where in the file an address lies."""
    for start, size, offset in segments:
        if start <= address < start + size:
            return address - start + offset
    return None
