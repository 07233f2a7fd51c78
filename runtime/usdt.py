"""Static probes that an ELF file lists in its .note.stapsdt (systemtap, sys/sdt.h).

    namesz  descsz  type = 3  "stapsdt\0"  address  base  semaphore  provider\0  name\0  arguments\0

`base` is where the section .stapsdt.base was when the note was written: prelinking may have moved
all addresses since.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bpfscript.target import UsdtProbe
from bpfscript.types import align_up

from .elf_functions import elf_file
from .elf_image import ElfImage

_SECTION, _BASE_SECTION = b".note.stapsdt", b".stapsdt.base"
_NAME, _TYPE = b"stapsdt\0", 3


def usdt_probes(path: str) -> list[UsdtProbe]:
    """The file's probes by address. Raises MachineError for what is not ELF."""
    with elf_file(path) as image:
        found = set(_probes(image))
    return sorted(found, key=lambda probe: (probe.address, probe.provider, probe.name))


def _probes(image: ElfImage) -> Iterator[UsdtProbe]:
    base = next((image.address(s.offset) for s in image.sections if s.name == _BASE_SECTION), None)
    addresses = "QQQ" if image.wide else "III"
    start = struct.calcsize(f"={addresses}")
    for section in image.sections:
        if section.name != _SECTION:
            continue
        for text in _notes(image, image.read(section.offset, section.size)):
            if len(text) < start:
                continue
            address, written_base, semaphore = image.unpack(addresses, text)
            moved = base - written_base if base is not None and written_base else 0
            provider, name, arguments = (
                word.decode("utf-8", "replace")
                for word in (text[start:].split(b"\0") + 3 * [b""])[:3]
            )
            offset = image.offset(address + moved)
            if offset is not None:
                counter = image.offset(semaphore + moved) if semaphore else 0
                yield UsdtProbe(provider, name, address + moved, offset, counter or 0, arguments)


def _notes(image: ElfImage, data: bytes) -> Iterator[bytes]:
    """What the notes of probes hold. A damaged note ends the list."""
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = image.unpack("III", data, at)
        name, at = data[at + 12 : at + 12 + name_size], at + 12 + align_up(name_size, 4)
        if name == _NAME and kind == _TYPE:
            yield data[at : at + size]
        at += align_up(size, 4)
