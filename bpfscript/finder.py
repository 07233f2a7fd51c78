"""Finds this package's modules at once: a module's name tells where its file is.

Python's own search lists directories and tries suffixes; for two hundred modules that is a sixth of
what a start costs. What is not as expected (no bytecode, an older one) is left to that search.
"""

from __future__ import annotations

import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, SourceFileLoader
from _imp import _fix_co_filename  # type: ignore[attr-defined]  # not in the stubs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

_PACKAGE = "bpfscript."
_HEADER = 16  # magic, flags, time and size of the source: PEP 552


class _Loader(SourceFileLoader):
    """A loader that has the code already."""

    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self.code = code

    def get_code(self, fullname: str) -> CodeType:
        return self.code


class Finder:
    """On `sys.meta_path`, before the others. root: the directory of the package, with its `/`."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.suffix = f".{sys.implementation.cache_tag}.pyc"

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if not name.startswith(_PACKAGE):
            return None
        directory, _, stem = name.removeprefix(_PACKAGE).rpartition(".")
        directory = f"{self.root}{directory.replace('.', '/')}/" if directory else self.root
        source, kept = f"{directory}{stem}.py", f"{directory}__pycache__/{stem}{self.suffix}"
        try:
            of = os.stat(source)
            file = os.open(kept, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            data = os.read(file, 1 << 20)
        finally:
            os.close(file)
        written, size = int(of.st_mtime) & 0xFFFFFFFF, of.st_size & 0xFFFFFFFF
        expected = b"%b\0\0\0\0%b%b" % (
            MAGIC_NUMBER, written.to_bytes(4, "little"), size.to_bytes(4, "little")
        )  # fmt: skip
        if data[:_HEADER] != expected:
            return None
        code = marshal.loads(data[_HEADER:])
        _fix_co_filename(code, source)
        spec = ModuleSpec(name, _Loader(name, source, code), origin=source)
        spec.has_location, spec.cached = True, kept
        return spec


def install() -> None:
    """For the process of the command: it imports little else."""
    if not sys.pycache_prefix and not sys.flags.optimize:
        sys.meta_path.insert(0, Finder(f"{os.path.dirname(__file__)}/"))
