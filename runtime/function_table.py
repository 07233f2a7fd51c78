"""Functions of an ELF file by address, from wherever its symbols are."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable

from .elf_image import DYNSYM, SYMTAB, ElfImage, Function, image_in, image_of, open_regular

_UNPACKED = 1 << 28  # bytes at most of a compressed table
_BACK = 16  # functions looked at before the nearest one: they may overlap
_DEBUG = "/usr/lib/debug"
_PREFERENCE = {1: 2, 2: 1}  # of names for one address: global, weak, local


class FunctionTable:
    """Looks functions up."""

    def __init__(self, functions: Iterable[Function]) -> None:
        best: dict[int, Function] = {}
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
                return name.decode("utf-8", "surrogateescape"), address - start
        return None


def _rank(function: Function) -> tuple[bool, int]:
    return function.size > 0, _PREFERENCE.get(function.binding, 0)


def function_table(image: ElfImage, path: str) -> FunctionTable:
    """All that is known of a file's functions: its own tables, the separate debug file of
    distributions and the compressed table of Fedora. path: where the file lies."""
    found = image.functions(SYMTAB) or _debug_functions(image, path)
    if not found and (packed := image.section(b".gnu_debugdata")):
        found = _unpacked(packed)
    return FunctionTable([*found, *image.functions(DYNSYM)])


def _unpacked(packed: bytes) -> list[Function]:
    import lzma

    try:
        image = image_in(lzma.LZMADecompressor().decompress(packed, _UNPACKED))
    except lzma.LZMAError:
        return []
    return image.functions(SYMTAB) if image else []


def _debug_functions(image: ElfImage, path: str) -> list[Function]:
    """From the separate file of debug information, which has the same build id."""
    build_id, places = image.build_id(), []
    if build_id and len(build_id) > 2:
        places.append(f"{_DEBUG}/.build-id/{build_id[:2]}/{build_id[2:]}.debug")
    if link := image.section(b".gnu_debuglink"):
        name, folder = os.fsdecode(link.split(b"\0", 1)[0]), os.path.dirname(path)
        if name and "/" not in name:
            places += [f"{folder}/{name}", f"{folder}/.debug/{name}", f"{_DEBUG}{folder}/{name}"]
    for place in places:
        if (fd := open_regular(place)) is None:
            continue
        try:
            debug = image_of(fd)
            if debug and debug.build_id() == build_id:
                return debug.functions(SYMTAB)
        finally:
            os.close(fd)
    return []
