"""Probes on functions of files that lie in ZIP archives."""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest
from script_support import target

from bpfscript import driver
from bpfscript.diagnostics import ScriptError, Source
from bpfscript.runtime.archives import Place, place
from bpfscript.runtime.elf_functions import function_symbols
from bpfscript.runtime.session import Session
from bpfscript.runtime.symbols import Symbols
from bpfscript.runtime.text import TextPrinter

pytestmark = pytest.mark.requires("cc")

LIBRARY = """
#include <sys/sdt.h>
long twice(long n) { DTRACE_PROBE1(zip, mark, n); return 2 * n; }
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    library, path = tmp_path / "libx.so", tmp_path / "app.zip"
    command = ["cc", "-O1", "-g", "-shared", "-fPIC", "-o", str(library), "-xc", "-"]
    subprocess.run(command, input=LIBRARY.encode(), check=True)
    with ZipFile(path, "w", ZIP_STORED) as file:
        file.writestr("text", "no program")
        file.write(library, "lib/libx.so")
        file.write(library, "packed.so", compress_type=ZIP_DEFLATED)
    return path


def call(archive: Path) -> int:
    """Call `twice` where a runtime that loads from archives would have it."""
    at = place(f"{archive}!/lib/libx.so")
    symbol = next(s for s in function_symbols(f"{archive}!/lib/libx.so") if s.name == "twice")
    assert at
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    with open(archive, "rb") as file:  # not writable: no breakpoint would be put there
        code = mmap.PROT_READ | mmap.PROT_EXEC
        size = ctypes.c_size_t(os.fstat(file.fileno()).st_size)
        area = libc.mmap(None, size, code, mmap.MAP_PRIVATE, file.fileno(), ctypes.c_long(0))
    start = area + at.offset + symbol.offset
    result: int = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)(start)(21)
    return result


@pytest.mark.kernel
@pytest.mark.parametrize("without", [(), ("uprobe_multi",)], ids=["multi", "single"])
def test_functions_and_static_probes(archive: Path, without: tuple[str, ...]) -> None:
    name = f"{archive}!/lib/libx.so"
    script = f"""
        u:{name}:twi* /pid == {os.getpid()}/ {{ printf("%s %d\\n", probe, args.n); }}
        usdt:{name}:zip:mark /pid == {os.getpid()}/ {{ printf("%s %d\\n", probe, arg0); }}
    """
    artifact = driver.compile(Source("zip.bt", script), target()).artifact
    out, features = io.BytesIO(), target().features.without(frozenset(without))
    with closing(Symbols()) as symbols:
        printer = TextPrinter(artifact.manifest, out, sys.stderr, symbols, quiet=True)
        with Session(artifact, printer, signals=False, features=features) as session:
            session.load()
            session.attach()
            assert call(archive) == 42
            session.stop()
            session.run()
    assert out.getvalue().decode().split("\n")[:2] == [
        f"uprobe:{name}:twice 21", f"usdt:{name}:zip:mark 21",
    ]  # fmt: skip


@pytest.mark.parametrize("member", ["text", "packed.so", "none"])
def test_what_cannot_be_probed(archive: Path, member: str) -> None:
    source = Source("zip.bt", f"u:{archive}!/{member}:twice {{ }}")
    with pytest.raises(ScriptError, match="does not exist or is not executable"):
        driver.compile(source, target())


def test_places(archive: Path, tmp_path: Path) -> None:
    found = place(f"{archive}!/text")
    assert found and archive.read_bytes()[found.offset :][: found.size] == b"no program"
    assert place(f"{archive}!/packed.so") is None
    assert place(f"{tmp_path}/none.zip!/text") is None
    assert place(str(archive)) == Place(str(archive), 0, -1)
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(archive.read_bytes()[:-30])
    assert place(f"{damaged}!/text") is None
