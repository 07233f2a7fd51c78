"""What the target of a uprobe names: a file, a glob, a program, a library, files of processes."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator, Mapping
from glob import glob

from .archives import SIGN, place
from .elf_image import MAGIC

LIBRARY_DIRECTORIES = ("/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib")
_CACHE = "/etc/ld.so.cache"
_CACHE_MAGIC = b"glibc-ld.so.cache1.1"
_CLASS_64 = 2


def user_files(name: str, environment: Mapping[str, str]) -> list[str]:
    """Paths of the files that `name` stands for, the best first.

    `*` is every file that is mapped to be run; `/proc/PID/maps` are those of one process,
    `/proc/PID/exe` is its program as seen from here, whatever its root directory is;
    `archive!/member` is in a ZIP file.
    """
    if name == "*":
        maps = (f"/proc/{entry}/maps" for entry in os.listdir("/proc") if entry.isdigit())
        return _once(sorted({file for path in maps for file in _mapped(path)}))
    if found := re.fullmatch(r"/proc/(\d+)/(exe|maps)", name):
        return _mapped(name) if found[2] == "maps" else _program(found[1])
    if os.path.isfile(name):
        return [name]
    if re.search(r"[*?\[]", name):
        return [path for path in sorted(glob(name)) if _is_elf(path)]
    if SIGN in name:
        at = place(name)
        return [name] if at and _is_elf(at.path, start=at.offset) else []
    if "/" in name:
        return []
    directories = environment.get("PATH", "").split(os.pathsep)
    paths = [os.path.join(directory, name) for directory in directories if directory]
    programs = [path for path in dict.fromkeys(paths) if os.access(path, os.X_OK)]
    return [path for path in programs if os.path.isfile(path)] or _libraries(name)


def _program(pid: str) -> list[str]:
    try:
        path = f"/proc/{pid}/root{os.readlink(f'/proc/{pid}/exe')}"
    except OSError:
        return []
    return [path] if os.path.isfile(path) else []


def _mapped(maps: str) -> list[str]:
    """Files that a process may run code of, by the text of its `maps`."""
    try:
        with open(maps) as file:
            rows = [line.split(maxsplit=5) for line in file]
    except OSError:
        return []  # the process has ended, or belongs to somebody else
    root = maps.removesuffix("maps") + "root"
    paths = {row[5].rstrip("\n") for row in rows if len(row) == 6 and "x" in row[1]}
    return sorted(root + path for path in paths if path.startswith("/") and _is_elf(root + path))


def _once(paths: list[str]) -> list[str]:
    """One path of each file: many processes map the same."""
    files: dict[tuple[int, int], str] = {}
    for path in paths:
        try:
            at = os.stat(path)
        except OSError:
            continue  # its process has ended meanwhile
        files.setdefault((at.st_dev, at.st_ino), path)
    return list(files.values())


def _libraries(name: str) -> list[str]:
    """`libc`, `libc.so.6`: the file that the dynamic linker would take."""
    if not name.startswith("lib"):
        return []
    known = [*_cached(), *_in_directories(name)]
    for file, path in known:
        if (file == name or file.startswith(f"{name}.so")) and _is_elf(path, _CLASS_64):
            return [path]
    return []


def _cached() -> Iterator[tuple[str, str]]:
    """(name, path) of the libraries in ld.so.cache. Layout: glibc, sysdeps/generic/dl-cache.h."""
    try:
        with open(_CACHE, "rb") as file:
            data = file.read()
    except OSError:
        return
    start = data.find(_CACHE_MAGIC)
    if start < 0:
        return
    data = data[start:]
    count = int.from_bytes(data[20:24], "little")
    entries = data[48 : 48 + 24 * count]
    for _, key, value, _, _ in struct.iter_unpack("<iIIIQ", entries[: len(entries) // 24 * 24]):
        yield _string(data, key), _string(data, value)


def _string(data: bytes, offset: int) -> str:
    return os.fsdecode(data[offset : max(data.find(b"\0", offset), offset)])


def _in_directories(name: str) -> Iterator[tuple[str, str]]:
    for directory in LIBRARY_DIRECTORIES:
        for path in sorted(glob(f"{directory}/{name}*")):
            yield os.path.basename(path), path


def _is_elf(path: str, bits: int | None = None, start: int = 0) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(start)
            found = file.read(5)
    except OSError:
        return False
    return found[:4] == MAGIC and (bits is None or found[4:5] == bytes([bits]))
