"""Functions of an ELF file by address, from wherever its symbols are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from .debug_files import debug_functions
from .elf_image import DYNSYM, SYMTAB, ElfImage, Names, Symbol, image_in

_UNPACKED = 1 << 28  # bytes at most of a compressed table
_BACK = 16  # functions looked at before the nearest one: they may overlap
_Row = tuple[int, int, int, int, int]  # address, size, binding, name, number of the table
_PREFERENCE = {1: 2, 2: 1}  # of names for one address: global, weak, local


class FunctionTable:
    """Looks functions up. Names are read when they are asked for: files have millions.

    tables: of those with the same address and rank, the first counts.
    """

    def __init__(self, tables: Sequence[Names]) -> None:
        self._names = [table.name for table in tables]
        rows = [
            (address, size, binding, name, number)
            for number, table in enumerate(tables)
            for address, size, binding, name in table.rows
        ]
        rows.sort(key=itemgetter(0))
        addresses = [row[0] for row in rows]
        if len(set(addresses)) < len(rows):
            rows = list(self._best(rows))
            addresses = [row[0] for row in rows]
        self._functions, self._addresses = rows, addresses

    def _best(self, rows: list[_Row]) -> Iterator[_Row]:
        """One function of each address."""
        for _, same in groupby(rows, itemgetter(0)):
            several = list(same)
            if len(several) > 1:
                several = [row for row in several if self._name(row)] or several
            yield max(several, key=_rank)

    def _name(self, row: _Row) -> bytes:
        return self._names[row[4]](row[3])

    def find(self, address: int) -> tuple[str, int] | None:
        """(name, offset) of the function that an address is in. A function without a size reaches
        up to the next one."""
        nearest = bisect_right(self._addresses, address) - 1
        for index in range(nearest, max(nearest - _BACK, -1), -1):
            start, size, *_ = row = self._functions[index]
            if address < start + size or (not size and index == nearest):
                plain = self._name(row).partition(b"@")[0]  # the rest is the symbol's version
                if plain:
                    return plain.decode("utf-8", "surrogateescape"), address - start
        return None


def _rank(function: _Row) -> tuple[bool, int]:
    return function[1] > 0, _PREFERENCE.get(function[2], 0)


def function_table(image: ElfImage, path: str) -> FunctionTable:
    """All that is known of a file's functions: its own tables, the separate debug file of
    distributions and the compressed table of Fedora. path: where the file lies."""
    found = image.names(SYMTAB)
    if not any(table.rows for table in found):
        symbols = debug_functions(image, path)
        if not symbols and (packed := image.section(b".gnu_debugdata")):
            symbols = _unpacked(packed)
        found = [_named(symbols)]
    return FunctionTable([*found, *image.names(DYNSYM)])


def _named(symbols: list[Symbol]) -> Names:
    rows = [(s.address, s.size, s.binding, number) for number, s in enumerate(symbols)]
    return Names(rows, lambda number: symbols[number].name)


def _unpacked(packed: bytes) -> list[Symbol]:
    import lzma

    try:
        image = image_in(lzma.LZMADecompressor().decompress(packed, _UNPACKED))
    except lzma.LZMAError:
        return []
    return image.functions(SYMTAB) if image else []
