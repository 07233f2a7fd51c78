"""What this machine has, by the names that cases use in NEEDS, and the C programs that they run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

from bpfscript.runtime.features import Features
from conformance.casefile import Case

PROGRAMS = Path(__file__).parent / "programs"
DEVICES = "/sys/bus/event_source/devices"


@cache
def _features() -> Features:
    return Features()


FEATURES: dict[str, Callable[[], bool]] = {
    "tracepoint": partial(os.path.exists, "/sys/kernel/tracing/events/syscalls"),
    "btf": partial(os.path.exists, "/sys/kernel/btf/vmlinux"),
    "uprobe": partial(os.path.exists, f"{DEVICES}/uprobe"),
    "kprobe": partial(os.path.exists, f"{DEVICES}/kprobe"),
    "hardware": partial(os.path.exists, f"{DEVICES}/cpu"),
    "fentry": lambda: _features().has("fentry"),
    "iter": lambda: _features().has("iter"),
    "clang": lambda: shutil.which("clang") is not None,
}


def missing(needs: tuple[str, ...]) -> str | None:
    """The first of these features that is not there, or None. An unknown name is a KeyError."""
    if os.geteuid() != 0:
        return "root"
    return next((name for name in needs if not FEATURES[name]()), None)


def build(folder: Path, cases: Sequence[Case]) -> list[Path]:
    """Compile the programs of these cases into `folder`.

    Raises CalledProcessError, gcc's words on stderr.
    """
    sources = sorted(PROGRAMS.glob("*.c*"))
    return [_compile(s, folder) for s in sources if any(case.mentions(s.stem) for case in cases)]


def _compile(source: Path, folder: Path) -> Path:
    """Frame pointers and no optimisation, so that stacks and arguments are the source's."""
    compiler = shutil.which("g++" if source.suffix == ".cpp" else "gcc")
    if compiler is None:
        raise FileNotFoundError(f"no compiler for {source.name}: install gcc and g++")
    program = folder / source.stem
    flags = ["-O0", "-g", "-fno-omit-frame-pointer", "-fcf-protection=none", "-pthread"]
    subprocess.run([compiler, *flags, "-o", str(program), str(source)], check=True)
    return program
