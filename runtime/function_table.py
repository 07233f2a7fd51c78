"""Functions of an ELF file by address, from wherever its symbols are."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from operator import itemgetter

from .debug_files import debug_functions
from .elf_image import DYNSYM, SYMTAB, ElfImage, Names, Symbol, image_in
from .go_functions import go_names

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
        self._functions, self._addresses = rows, [row[0] for row in rows]

    def _best(self, several: list[_Row]) -> _Row:
        """The one of those with one address whose name is shown."""
        if len(several) > 1:
            several = [row for row in several if self._name(row)] or several
        return max(several, key=_rank)

    def _name(self, row: _Row) -> bytes:
        return self._names[row[4]](row[3])

    def find(self, address: int) -> tuple[str, int] | None:
        """(name, offset) of the function that an address is in. A function without a size reaches
        up to the next one."""
        nearest = stop = bisect_right(self._addresses, address)
        for _ in range(_BACK):
            if not stop:
                break
            start = self._addresses[stop - 1]
            first = bisect_left(self._addresses, start, 0, stop)
            row = self._best(self._functions[first:stop])
            size = row[1]
            if address < start + size or (not size and stop == nearest):
                plain = self._name(row).partition(b"@")[0]  # the rest is the symbol's version
                if plain:
                    return plain.decode("utf-8", "surrogateescape"), address - start
            stop = first
        return None


def _rank(function: _Row) -> tuple[bool, int]:
    return function[1] > 0, _PREFERENCE.get(function[2], 0)


def function_table(image: ElfImage, path: str) -> FunctionTable:
    """All that is known of a file's functions: its own tables, the separate debug file of
    distributions, the compressed table of Fedora and that of Go. path: where the file lies."""
    found = image.names(SYMTAB)
    if not any(table.rows for table in found):
        symbols = debug_functions(image, path)
        if not symbols and (packed := image.section(b".gnu_debugdata")):
            symbols = _unpacked(packed)
        of_go = None if symbols else go_names(image)
        found = [of_go or _named(symbols)]
    known = sum(len(table.rows) for table in found)
    if known < image.count(DYNSYM):  # else what is dynamic is among them
        found = [*found, *image.names(DYNSYM)]
    return FunctionTable(found)


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
