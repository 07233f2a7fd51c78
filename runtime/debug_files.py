"""Separate files of debug information, as distributions ship them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from .elf_image import SYMTAB, ElfImage, Symbol, image_of, open_regular

DEBUG_DIRECTORIES = ("/usr/lib/debug",)


def debug_files(
    image: ElfImage, path: str, directories: Sequence[str] = DEBUG_DIRECTORIES
) -> Iterator[str]:
    """Files that have the build id of the file at `path`, the likeliest first.

    Found by that build id, or by the name in .gnu_debuglink: beside the file, in its .debug folder,
    or under one of the directories.
    """
    build_id = image.build_id()
    for place in dict.fromkeys(_places(image, build_id, path, directories)):
        if (fd := open_regular(place)) is None:
            continue
        try:
            debug = image_of(fd)
            if debug and debug.build_id() == build_id:
                yield place
        finally:
            os.close(fd)


def _places(
    image: ElfImage, build_id: str | None, path: str, directories: Sequence[str]
) -> Iterator[str]:
    if build_id and len(build_id) > 2:
        for directory in directories:
            yield f"{directory}/.build-id/{build_id[:2]}/{build_id[2:]}.debug"
    if link := image.section(b".gnu_debuglink"):
        name, folder = os.fsdecode(link.split(b"\0", 1)[0]), os.path.dirname(path)
        if name and "/" not in name:
            yield from (f"{folder or '.'}/{name}", f"{folder or '.'}/.debug/{name}")
            for directory in directories:
                yield from (f"{directory}{os.path.abspath(folder)}/{name}", f"{directory}/{name}")


def debug_functions(image: ElfImage, path: str) -> list[Symbol]:
    """Functions that the separate file of debug information names."""
    for place in debug_files(image, path):
        fd = open_regular(place)
        debug = image_of(fd) if fd is not None else None
        found = debug.functions(SYMTAB) if debug else []
        if fd is not None:
            os.close(fd)
        if found:
            return found
    return []
