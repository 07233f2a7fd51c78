"""Functions of a Go program from the table that its own runtime reads, and so `strip` must leave.

The layout is that of Go 1.18 and later: `pcHeader`, `functab` and `_func` of src/runtime/symtab.go
and runtime2.go; bytes of code are counted from the symbol runtime.text.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import pairwise

from .elf_image import ElfImage, Names, Symbol

_SECTIONS = (b".gopclntab", b".data.rel.ro.gopclntab")  # the second in PIE that gcc has linked
_MAGIC = (0xFFFFFFF0, 0xFFFFFFF1)  # Go 1.18, Go 1.20
_GLOBAL = 1  # STB_GLOBAL


def go_names(image: ElfImage) -> Names | None:
    """The functions, their names unread, if this is a program of Go."""
    for section in _SECTIONS:
        table = image.section(section)
        if table and (found := _names(image, table)):
            return found
    return None


def go_functions(image: ElfImage) -> list[Symbol]:
    """The same with their names; [] where there are none."""
    found = go_names(image)
    if not found:
        return []
    return [Symbol(at, size, binding, found.name(key)) for at, size, binding, key in found.rows]


def _names(image: ElfImage, table: bytes) -> Names | None:
    try:
        magic, _, _, word = image.unpack("IHBB", table)
        form = "I" if word == 4 else "Q"
        count, _, text, names, _, _, _, start = image.unpack(f"8{form}", table, 8)
        if magic not in _MAGIC or count > len(table) // 8:
            return None
        entries = image.unpack(f"{2 * count + 1}I", table[start:])
    except struct.error:
        return None
    text = text or _text(image, form, entries[-1])
    rows = [
        (text + entry, following - entry, _GLOBAL, start + function)
        for entry, function, following in zip(
            entries[::2], entries[1::2], entries[2::2], strict=False
        )
        if following > entry
    ]

    def name(function: int) -> bytes:
        try:
            (offset,) = image.unpack("I", table[function + 4 : function + 8])
        except struct.error:
            return b""
        end = table.find(b"\0", names + offset)
        return table[names + offset : end] if end >= 0 else b""

    return Names(rows, name)


def _text(image: ElfImage, form: str, size: int) -> int:
    """Address of runtime.text, which the table tells until Go 1.25: the moduledata of later ones
    has it beside the end of the code; else all code is Go's."""
    module = image.section(b".go.module") or b""
    for text, end in pairwise(_words(image, form, module)):
        if text and end - text == size:
            return text
    return next((s.address for s in image.sections if s.name == b".text"), 0)


def _words(image: ElfImage, form: str, raw: bytes) -> Iterator[int]:
    step = struct.calcsize(f"={form}")
    for at in range(0, len(raw) - step + 1, step):
        yield from image.unpack(form, raw, at)
