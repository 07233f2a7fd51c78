"""The BTF that the kernel, its modules or a file give, each with an index that is made once.

A module's goes on from the kernel's: it has the types that are the module's own.
"""

from __future__ import annotations

import os
from zlib import crc32

from .cache import Cache, identity, kernel_identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfscript.btf import Btf
    from bpfscript.btf_index import Index

DIRECTORY = "/sys/kernel/btf"
BTF = f"{DIRECTORY}/vmlinux"


def kernel_btf(path: str = BTF, cache: Cache | None = None) -> Btf | None:
    """Types of a BTF file; None if it cannot be read. Raises BtfError if it is no BTF."""
    from bpfscript.btf import Btf

    try:
        return Btf(_content(path), lambda words: _index(words, _build(path), cache or Cache(None)))
    except OSError:
        return None


def modules() -> list[str]:
    """Names of the loaded modules that have a BTF, sorted."""
    try:
        return sorted(name for name in os.listdir(DIRECTORY) if name != "vmlinux")
    except OSError:
        return []


def module_btf(name: str, base: Btf, cache: Cache) -> Btf | None:
    """Types of a loaded module; None if it has none. Raises BtfError if it is no BTF."""
    from bpfscript.btf import Btf

    try:
        content = _content(f"{DIRECTORY}/{os.path.basename(name)}")
    except OSError:
        return None
    key = f"{name} {crc32(content):08x}"
    return Btf(content, lambda words: _index(words, key, cache), base, name)


def _content(path: str) -> bytes:
    """The file's content; what the kernel gives is mapped where it can be, since 6.16."""
    with open(path, "rb", buffering=0) as file:
        if path.startswith("/sys/"):  # other files may shrink, and mappings of them fault
            from mmap import MAP_PRIVATE, PROT_READ, mmap

            try:
                mapped: Any = mmap(file.fileno(), 0, flags=MAP_PRIVATE, prot=PROT_READ)
                content: bytes = mapped
                return content
            except (OSError, ValueError):
                pass
        return file.readall()


def _index(words: memoryview, build: str, cache: Cache) -> Index:
    """The index of a type section: the one that was kept for this build of it, or a new one."""
    from bpfscript.btf_index import BtfError, Index

    key = f"{len(words)} {build}".encode("utf-8", "surrogateescape")
    if kept := cache.get("btf", key):
        try:
            return Index(words, kept)
        except BtfError:
            pass
    index = Index.build(words)
    cache.put("btf", key, bytes(index))
    return index


def _build(path: str) -> str:
    """What tells the content of a file from others'. Those of the kernel have no date."""
    return kernel_identity() if path == BTF else identity(path)
