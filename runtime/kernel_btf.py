"""The BTF that the kernel, or a file, gives, with an index that is made once for each build."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from .cache import Cache, identity, kernel_identity

if TYPE_CHECKING:
    from bpfscript.btf import Btf
    from bpfscript.btf_index import Index

BTF = "/sys/kernel/btf/vmlinux"


def kernel_btf(path: str = BTF, cache: Cache | None = None) -> Btf | None:
    """Types of a BTF file; None if it cannot be read. Raises BtfError if it is no BTF."""
    from bpfscript.btf import Btf

    try:
        return Btf(_content(path), lambda words: _index(words, path, cache or Cache(None)))
    except OSError:
        return None


def _content(path: str) -> bytes:
    """The file's content; what the kernel gives is mapped where it can be, since 6.16."""
    with open(path, "rb", buffering=0) as file:
        if path.startswith("/sys/"):  # other files may shrink, and mappings of them fault
            from mmap import MAP_PRIVATE, PROT_READ, mmap

            try:
                return cast(bytes, mmap(file.fileno(), 0, flags=MAP_PRIVATE, prot=PROT_READ))
            except (OSError, ValueError):
                pass
        return file.readall()


def _index(words: memoryview, path: str, cache: Cache) -> Index:
    """The index of a file's type section: the one that was kept for it, or a new one."""
    from bpfscript.btf_index import BtfError, Index

    key = f"{len(words)} {_build(path)}".encode("utf-8", "surrogateescape")
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
