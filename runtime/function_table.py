"""Functions of an ELF file by address, from wherever its symbols are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from .debug_files import debug_functions
from .elf_image import DYNSYM, SYMTAB, ElfImage, Symbol, image_in

_UNPACKED = 1 << 28  # bytes at most of a compressed table
_BACK = 16  # functions looked at before the nearest one: they may overlap
_PREFERENCE = {1: 2, 2: 1}  # of names for one address: global, weak, local


class FunctionTable:
    """Looks functions up."""

    def __init__(self, functions: Iterable[Symbol]) -> None:
        best: dict[int, Symbol] = {}
        for function in functions:
            other = best.get(function.address)
            if function.name and (other is None or _rank(function) > _rank(other)):
                best[function.address] = function
        self._functions = sorted(best.values())
        self._addresses = [f.address for f in self._functions]

    def find(self, address: int) -> tuple[str, int] | None:
        """(name, offset) of the function that an address is in. A function without a size reaches
        up to the next one."""
        nearest = bisect_right(self._addresses, address) - 1
        for index in range(nearest, max(nearest - _BACK, -1), -1):
            start, size, _, name = self._functions[index]
            if address < start + size or (not size and index == nearest):
                plain = name.partition(b"@")[0]  # the rest is the symbol's version
                return plain.decode("utf-8", "surrogateescape"), address - start
        return None


def _rank(function: Symbol) -> tuple[bool, int]:
    return function.size > 0, _PREFERENCE.get(function.binding, 0)


def function_table(image: ElfImage, path: str) -> FunctionTable:
    """All that is known of a file's functions: its own tables, the separate debug file of
    distributions and the compressed table of Fedora. path: where the file lies."""
    found = image.functions(SYMTAB) or debug_functions(image, path)
    if not found and (packed := image.section(b".gnu_debugdata")):
        found = _unpacked(packed)
    return FunctionTable([*found, *image.functions(DYNSYM)])


def _unpacked(packed: bytes) -> list[Symbol]:
    import lzma

    try:
        image = image_in(lzma.LZMADecompressor().decompress(packed, _UNPACKED))
    except lzma.LZMAError:
        return []
    return image.functions(SYMTAB) if image else []
