"""Functions of a file that a probe can be put on, with the place of their code in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from bpfscript.target import MachineError, UserImage, UserSymbol

from .archives import SIGN, place
from .elf_image import DYNSYM, OBJECTS, SYMTAB, ElfImage, image_of, open_regular


@contextmanager
def elf_file(path: str) -> Iterator[ElfImage]:
    """The headers of a file, or of a member of an archive. Raises MachineError for what is not ELF,
    or not whole."""
    at = place(path)
    fd = open_regular(at.path) if at else None
    if at is None or fd is None:
        raise MachineError(f"{path} cannot be read")
    try:
        image = image_of(fd, at.offset, at.size)
        if image is None:
            raise MachineError(f"{path} is no ELF file")
        if not image.whole:
            raise MachineError(f"{path} is cut off")
        yield image
    finally:
        os.close(fd)


def user_image(path: str) -> UserImage:
    with elf_file(path) as image:
        return UserImage(os.stat(path.partition(SIGN)[0]).st_ino, image.fixed)


def function_symbols(path: str) -> list[UserSymbol]:
    """Functions that the file defines: those of .symtab, then those that only .dynsym has.

    A file without a .symtab may have one in its separate debug file, a program of Go its own table.
    """
    from .debug_files import debug_functions
    from .go_functions import go_functions

    with elf_file(path) as image:
        own = image.functions(SYMTAB) or debug_functions(image, path) or go_functions(image)
        found: dict[tuple[str, int], UserSymbol] = {}
        for address, size, _, raw in own + image.functions(DYNSYM):
            offset = image.offset(address)
            if address and offset is not None:
                name = raw.decode("utf-8", "replace").partition("@")[0]  # without the version
                found.setdefault((name, address), UserSymbol(name, address, size, offset))
    return list(found.values())


def object_symbol(path: str, name: str) -> UserSymbol | None:
    """A variable that the file defines."""
    with elf_file(path) as image:
        for table in (SYMTAB, DYNSYM):
            for address, size, _, raw in image.symbols(table, OBJECTS):
                if raw.partition(b"@")[0] == name.encode():
                    return UserSymbol(name, address, size, image.offset(address) or 0)
    return None
