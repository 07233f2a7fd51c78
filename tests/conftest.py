"""Filetests (filetests/<stage>/*.ft), `--bless`, and what tests of the kernel need.

A filetest is the input, a line `----`, and what its stage prints. A wrong program has no second
part; `# error: part of the message` ends each line that a diagnostic must point at, and is cut off
before the stage sees it.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for filetests_stages, ir_strategies
sys.path.insert(1, str(Path(__file__).parent.parent))  # for conformance, whose scripts are broken

# Shells start what runs in the background with interrupts ignored; children would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

SEPARATOR = "----\n"
_ERROR = re.compile(r"[ \t]*# error: (.*)$", re.MULTILINE)


def _has(feature: str) -> bool:
    from bpfscript.runtime.features import Features

    return Features().has(feature)


REQUIREMENTS = {
    "root": lambda: os.geteuid() == 0,
    "btf": lambda: os.access("/sys/kernel/btf/vmlinux", os.R_OK),
    "tracefs": lambda: os.access("/sys/kernel/tracing/events", os.R_OK),
    "kprobe": lambda: os.access("/sys/bus/event_source/devices/kprobe", os.R_OK),
    "fentry": lambda: _has("fentry"),
    "kprobe_multi": lambda: _has("kprobe_multi"),
    "iter": lambda: _has("iter"),
    "bpftrace": lambda: shutil.which("bpftrace") is not None,
    "pmu": lambda: os.path.exists("/sys/bus/event_source/devices/cpu/type"),
    "upstream": lambda: (Path(__file__).parent.parent / "conformance/.upstream/bpftrace").exists(),
    "bpftool": lambda: shutil.which("bpftool") is not None,
    "namespaces": lambda: shutil.which("unshare") is not None,
    "rustc": lambda: shutil.which("rustc") is not None,
    "cc": lambda: shutil.which("cc") is not None,
    "clang": lambda: shutil.which("clang") is not None,
    "guest": lambda: "LAB_KERNEL" in os.environ,
    "libbpf": lambda: os.path.exists("/usr/include/bpf/libbpf.h"),
}
"""What `@pytest.mark.requires(...)` may name."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--bless", action="store_true", help="rewrite what filetests expect")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "kernel: enters the kernel; must not leak descriptors")
    config.addinivalue_line("markers", "short: of those in a guest, what every run has time for")
    config.addinivalue_line("markers", "requires(*names): skip where one of them is missing")


def pytest_runtest_setup(item: pytest.Item) -> None:
    names = [name for mark in item.iter_markers("requires") for name in mark.args]
    if item.get_closest_marker("kernel"):
        names.append("root")
    for name in names:
        if not REQUIREMENTS[name]():
            pytest.skip(f"missing: {name}")


@pytest.fixture(autouse=True)
def no_leaked_descriptors(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test marked `kernel` that leaves a descriptor open."""
    if not request.node.get_closest_marker("kernel"):
        yield
        return
    before = _descriptors()
    yield
    leaked = _descriptors() - before
    assert not leaked, f"left open: {sorted(leaked)}"


def _descriptors() -> set[tuple[int, str]]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add((int(name), os.readlink(f"/proc/self/fd/{name}")))
        except FileNotFoundError:  # the one that lists the directory
            continue
    return found


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    if file_path.suffix != ".ft":
        return None
    collector: pytest.Collector = FiletestFile.from_parent(parent, path=file_path)
    return collector


class FiletestFile(pytest.File):
    def collect(self) -> Iterable[pytest.Item]:
        yield Filetest.from_parent(self, name=self.path.parent.name)


class Filetest(pytest.Item):
    def runtest(self) -> None:
        from filetests_stages import STAGES

        stage = STAGES[self.path.parent.name]
        text = self.path.read_text()
        given, separator, expected = text.partition("\n" + SEPARATOR)
        wanted = _errors(given)
        if wanted:
            assert not separator, "a wrong program prints nothing"
            assert _diagnosed(stage, _ERROR.sub("", given), wanted) == wanted
            return
        printed = stage(given + "\n" if separator else given)
        if self.config.getoption("--bless"):
            if not separator:
                given = given.rstrip("\n")
            if printed != expected or not separator:
                self.path.write_text(f"{given}\n{SEPARATOR}{printed}")
        else:
            assert separator, "nothing is expected yet: run with --bless"
            assert printed.splitlines() == expected.splitlines()

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, f"{self.name}/{self.path.name}"


def _errors(text: str) -> list[tuple[int, str]]:
    """(line, part of the message) of each expected error."""
    lines = enumerate(text.split("\n"), 1)
    return [(n, match[1].strip()) for n, line in lines if (match := _ERROR.search(line))]


def _diagnosed(
    stage: Callable[[str], str], text: str, wanted: list[tuple[int, str]]
) -> list[tuple[int, str]]:
    """The stage's errors as (line, message), cut to the expected part where that occurs in it."""
    from bpfscript.diagnostics import ScriptError

    with pytest.raises(ScriptError) as raised:
        stage(text)
    found = []
    for d in raised.value.diagnostics:
        if d.severity != "ERROR":
            continue
        line = d.span.source.position(d.span.start)[0]
        parts = [part for n, part in wanted if n == line and part in d.message]
        found.append((line, parts[0] if parts else d.message))
    return sorted(found)
