"""Backends and output formats that other packages register."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpfscript.backends import backend
from bpfscript.target import MachineError

MODULE = """
import csv
from bpfscript.backends.native import NativeBackend
from bpfscript.runtime.text import TextPrinter

class CsvPrinter(TextPrinter):
    def record(self, kind, text):
        self.row(kind, "", text.rstrip())

    def table(self, name, table, entries, top, divisor):
        show = table.shower(divisor)
        for row in table.rows(entries, top):
            self.row("map", f"{name}[{row.label}]", show(row.value))

    def row(self, *cells):
        csv.writer(self).writerow(cells)

    def write(self, text):
        self.sink.write(text)

class Loud(NativeBackend):
    name = "loud"
    def emit(self, module, target, source):
        print("loud")
        return super().emit(module, target, source)
"""
ENTRIES = """
[bpfscript.outputs]
csv = others:CsvPrinter
broken = others:NoSuch
[bpfscript.backends]
loud = others:Loud
"""
SCRIPT = 'begin { for ($i : 0..20) { printf("%d, x\\n", $i); } @["a,b"] = count(); exit(); }'


@pytest.fixture
def others(tmp_path: Path) -> Path:
    (tmp_path / "others.py").write_text(MODULE)
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRIES)
    return tmp_path


def tool(others: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bpfscript.cli", "--no-cache", *words]
    root = Path(__file__).parent.parent
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60,
        env=os.environ | {"PYTHONPATH": f"{root}:{others}"},
    )  # fmt: skip


@pytest.mark.kernel
def test_an_output_format_sees_every_record(others: Path) -> None:
    done = tool(others, "-q", "-f", "csv", "-e", SCRIPT)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.split()
    assert lines[:4] == ['printf,,"0,', 'x"', 'printf,,"1,', 'x"']
    assert done.stdout.count("printf") == 20 and 'map,"@[a,b]",1' in done.stdout


@pytest.mark.kernel
def test_a_backend(others: Path) -> None:
    done = tool(others, "-q", "--backend", "loud", "-e", 'begin { printf("ran\\n"); exit(); }')
    assert (done.returncode, done.stdout.split()) == (0, ["loud", "ran"])


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-f", "xml"), "Valid formats: 'text', 'json', 'broken', 'csv'"),
        (("-f", "broken"), "ERROR: output broken of others does not load: "),
        (("--backend", "nosuch"), "there are: native, llvm, loud"),
    ],
)
def test_what_is_not_there_is_told(others: Path, words: tuple[str, ...], said: str) -> None:
    done = tool(others, *words, "-e", "begin { exit(); }")
    assert done.returncode == 1 and said in done.stderr


def test_no_backend() -> None:
    with pytest.raises(MachineError, match="there is no backend nosuch"):
        backend("nosuch")
