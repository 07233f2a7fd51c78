"""USDT probes of an ELF file: the notes of section `.note.stapsdt` (systemtap, sys/sdt.h)."""

from __future__ import annotations

import os
import struct

from .elf_image import image_of, open_regular

_HEADER = struct.Struct("<III")  # size of the owner's name, size of the rest, type
_OWNER, _TYPE = b"stapsdt\0", 3
_PLACES = 3 * 8  # addresses: the probe, the link base, the semaphore


def markers(path: str) -> list[tuple[str, str]]:
    """(provider, name) of each, once and sorted; none for what is no 64-bit ELF file."""
    if (fd := open_regular(path)) is None:
        return []
    try:
        image = image_of(fd)
        notes = (image.section(b".note.stapsdt") if image else None) or b""
    finally:
        os.close(fd)
    return sorted(_markers(notes))


def _markers(notes: bytes) -> set[tuple[str, str]]:
    found, at = set(), 0
    while at + _HEADER.size <= len(notes):
        owner, size, kind = _HEADER.unpack_from(notes, at)
        start = at + _HEADER.size + _padded(owner)
        if kind == _TYPE and notes[at + _HEADER.size :].startswith(_OWNER):
            provider, name, *_ = [*notes[start + _PLACES : start + size].split(b"\0"), b"", b""]
            if name:
                found.add((_text(provider), _text(name)))
        at = start + _padded(size)
    return found


def _padded(size: int) -> int:
    return (size + 3) & ~3


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
