"""`--info`: what this system, this build and this kernel offer (LANGUAGE §8.1)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from .errors import BpfError
from .features import Features

_BTF = "/sys/kernel/btf"
_WIDTH = 34  # of the first column
_LIBRARIES = {"LLVM (llvmlite)": "llvmlite", "C headers (libclang)": "libclang"}
_HELPERS = {
    "for_each_map_elem": "for_each_map_elem",
    "get_attach_cookie": "attach_cookie",
    "get_current_task_btf": "get_current_task_btf",
    "get_func_ip": "get_func_ip",
    "get_tai_ns": "get_tai_ns",
    "lookup_percpu_elem": "lookup_percpu_elem",
    "loop": "loop",
}
_PROBES = {
    "kprobe": "kprobe",
    "kprobe_multi": "kprobe_multi",
    "kprobe_session": "kprobe_session",
    "uprobe_multi": "uprobe_multi",
    "fentry": "fentry",
    "iter": "iter",
}


def report(version: str, features: Features | None = None) -> str:
    """The report as text. `version` is ours; what the kernel does not tell us is `unknown`."""
    features = features or Features()
    system = os.uname()

    def has(names: dict[str, str]) -> list[tuple[str, str]]:
        return [(shown, _answer(partial(features.has, name))) for shown, name in names.items()]

    kernel = [
        ("Instruction limit", _limit(features)),
        ("btf", _answer(lambda: os.path.exists(f"{_BTF}/vmlinux"))),
        ("module btf", _answer(lambda: len(os.listdir(_BTF)) > 1)),
        *has({"ringbuf": "ringbuf", "may_goto": "may_goto"}),
    ]
    return "\n".join([
        _section("System", [
            ("OS", f"{system.sysname} {system.release} {system.version}"),
            ("Arch", system.machine),
        ]),
        _section("Build", [
            ("version", version),
            ("Python", ".".join(map(str, sys.version_info[:3]))),
            *((shown, _installed(name)) for shown, name in _LIBRARIES.items()),
        ]),
        _columns("Kernel helpers", has(_HELPERS)),
        _columns("Kernel features", kernel),
        _columns("Probe types", has(_PROBES)),
    ])  # fmt: skip


def _answer(ask: Callable[[], bool]) -> str:
    try:
        return "yes" if ask() else "no"
    except FileNotFoundError:
        return "no"
    except (BpfError, OSError) as error:
        return f"unknown ({error})"


def _limit(features: Features) -> str:
    return {"yes": "1000000", "no": "4096"}.get(
        answer := _answer(lambda: features.has("large_programs")), answer
    )


def _installed(name: str) -> str:
    try:
        return version_of(name)
    except PackageNotFoundError:
        return "no"


def _section(title: str, rows: Iterable[tuple[str, str]]) -> str:
    return "".join([f"{title}\n", *(f"  {name}: {value}\n" for name, value in rows)])


def _columns(title: str, rows: list[tuple[str, str]]) -> str:
    """Two rows a line, the second column aligned."""
    cells = [f"  {name}: {value}" for name, value in rows]
    pairs = [cells[at : at + 2] for at in range(0, len(cells), 2)]
    lines = ["".join(cell.ljust(_WIDTH) for cell in pair).rstrip() for pair in pairs]
    return "\n".join([title, *lines]) + "\n"
