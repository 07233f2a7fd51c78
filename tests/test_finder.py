"""Our own modules, found at once: the same modules as Python's search would find."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpfscript.finder import Finder


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of that name, elsewhere, whose modules have bytecode."""
    inner = tmp_path / "bpfscript" / "inner"
    inner.mkdir(parents=True)
    (inner / "__init__.py").write_text("")
    (inner / "leaf.py").write_text("VALUE = 1\n")
    subprocess.run([sys.executable, "-m", "compileall", "-q", tmp_path], check=True)
    return tmp_path / "bpfscript"


def test_a_module_with_bytecode_is_found_by_its_name(package: Path) -> None:
    spec = Finder(f"{package}/").find_spec("bpfscript.inner.leaf")
    assert spec and spec.loader and spec.parent == "bpfscript.inner"
    assert spec.origin == str(package / "inner" / "leaf.py") and spec.cached
    code = spec.loader.get_code(spec.name)  # type: ignore[attr-defined]
    assert code.co_filename == spec.origin and "VALUE" in code.co_names


@pytest.mark.parametrize("name", ["json", "bpfscript.inner", "bpfscript.absent"])
def test_what_is_no_module_of_ours_is_left_to_others(package: Path, name: str) -> None:
    assert Finder(f"{package}/").find_spec(name) is None


def test_bytecode_of_another_source_is_left_to_others(package: Path) -> None:
    leaf = package / "inner" / "leaf.py"
    times = leaf.stat().st_atime_ns, leaf.stat().st_mtime_ns
    leaf.write_text("VALUE = 22\n")
    os.utime(leaf, ns=times)  # another size
    assert Finder(f"{package}/").find_spec("bpfscript.inner.leaf") is None
    leaf.write_text("VALUE = 2\n")
    os.utime(leaf, ns=(0, 10**18))  # another time
    assert Finder(f"{package}/").find_spec("bpfscript.inner.leaf") is None
    (leaf.parent / "__pycache__" / f"leaf.{sys.implementation.cache_tag}.pyc").write_bytes(b"short")
    assert Finder(f"{package}/").find_spec("bpfscript.inner.leaf") is None
