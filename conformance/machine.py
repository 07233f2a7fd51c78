"""What this machine has, by the names that cases use in NEEDS, and the C programs that they run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
DEVICES = Path("/sys/bus/event_source/devices")
FEATURES: dict[str, Path] = {
    "tracepoint": Path("/sys/kernel/tracing/events/syscalls"),
    "btf": Path("/sys/kernel/btf/vmlinux"),
    "uprobe": DEVICES / "uprobe",
    "kprobe": DEVICES / "kprobe",
    "hardware": DEVICES / "cpu",
}


def missing(needs: tuple[str, ...]) -> str | None:
    """The first of these features that is not there, or None. An unknown name is a KeyError."""
    if os.geteuid() != 0:
        return "root"
    return next((name for name in needs if not FEATURES[name].exists()), None)


def build(folder: Path) -> list[Path]:
    """Compile every program into `folder`. Raises CalledProcessError, gcc's words on stderr."""
    return [_compile(source, folder) for source in sorted(PROGRAMS.glob("*.c*"))]


def _compile(source: Path, folder: Path) -> Path:
    """Frame pointers and no optimisation, so that stacks and arguments are the source's."""
    compiler = shutil.which("g++" if source.suffix == ".cpp" else "gcc")
    if compiler is None:
        raise FileNotFoundError(f"no compiler for {source.name}: install gcc and g++")
    program = folder / source.stem
    flags = ["-O0", "-g", "-fno-omit-frame-pointer", "-fcf-protection=none", "-pthread"]
    subprocess.run([compiler, *flags, "-o", str(program), str(source)], check=True)
    return program
