"""`--info`: what this system, this build and this kernel offer (LANGUAGE §8.1)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as version_of

from bpfscript.identity import STANDS_FOR
from bpfscript.target import FEATURES

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

_USES = {
    "ringbuf": ("events", "nothing: it is needed"),
    "may_goto": ("ends of short loops", "iter_num"),
    "iter_num": ("ends of long loops", "may_goto, for a quarter of a second; or counters"),
    "loop": ("nothing: loops stay loops", "no need"),
    "for_each_map_elem": ("for loops over maps", "nothing: they are refused"),
    "attach_cookie": ("probe in one program for many matches", "a program for each match"),
    "raw_cookie": ("many tracepoints at once", "perf events, let go in the background"),
    "uprobe_multi": ("many user functions at once", "perf events, one a place"),
    "kprobe_multi": ("many kernel functions at once", "perf events, one a place"),
    "kprobe_session": ("a kprobe and a kretprobe on the same functions", "two programs"),
    "kprobe": ("kprobe, kretprobe", "nothing: they are refused"),
    "fentry": ("fentry, fexit", "kprobe, kretprobe"),
    "return_stack": (
        "the order of kretprobes on one function",
        "the order that older kernels have",
    ),
    "iter": ("iter", "nothing: it is refused"),
    "get_func_ip": ("func at the return of a function", "nothing: the program is refused"),
    "get_current_task_btf": ("kernel structs, comm and curtask, loaded", "probe reads of them"),
    "task_pt_regs": ("dw_ustack; arguments of system calls, loaded", "no dw_ustack; probe reads"),
    "override_return": ("override()", "nothing: it is refused"),
    "probe_write_user": ("write_user()", "nothing: it is refused"),
    "get_tai_ns": ("nsecs(tai), tseries", "nothing: use nsecs(sw_tai)"),
    "lookup_percpu_elem": ("per-CPU maps in programs", "nothing: reading them is refused"),
    "large_programs": ("programs of more than 4096 instructions", "nothing: they are refused"),
}
"""feature → (what it serves, what serves where it is missing)"""


def report(version: str, features: Features | None = None, *, stands_in: bool = False) -> str:
    """The report as text. `version` is ours; what the kernel does not tell us is `unknown`.

    stands_in: with bpftrace's rows and blanks, for programs that read them.
    """
    features = features or Features()
    if stands_in:
        return _as_bpftrace(features)
    system = os.uname()

    def has(names: dict[str, str]) -> list[tuple[str, str]]:
        return [(shown, _answer(partial(features.has, name))) for shown, name in names.items()]

    kernel = [
        ("Instruction limit", _limit(features)),
        ("btf", _answer(lambda: os.path.exists(f"{_BTF}/vmlinux"))),
        ("module btf", _answer(lambda: len(os.listdir(_BTF)) > 1)),
        *has({name: name for name in ("ringbuf", "may_goto", "iter_num")}),
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
        _section("Uses", [(name, _use(features, name)) for name in FEATURES]),
    ])  # fmt: skip


def _as_bpftrace(features: Features) -> str:
    system = os.uname()

    def has(name: str) -> str:
        return "yes" if _answer(partial(features.has, name)) == "yes" else "no"

    def rows(*cells: str) -> str:
        pairs = [cells[at : at + 2] for at in range(0, len(cells), 2)]
        return "".join(
            f"  {pair[0]:<33}{''.join(f'{cell:<35}' for cell in pair[1:])}\n" for pair in pairs
        )

    helpers = ("get_tai_ns", "get_func_ip", "lookup_percpu_elem", "loop")
    kinds = ("kprobe_multi", "uprobe_multi", "kprobe_session", "iter")
    btf = _answer(lambda: os.path.exists(f"{_BTF}/vmlinux"))
    modules = _answer(lambda: len(os.listdir(_BTF)) > 1)
    return "\n".join([
        f"System\n  OS: {system.sysname} {system.release} {system.version}\n"
        f"  Arch: {system.machine}\n",
        f"Build\n  version: v{STANDS_FOR}\n  LLVM: {_installed('llvmlite')}\n  bfd: no\n"
        "  libdw (DWARF support): yes\n  libsystemd (systemd notify support): no\n"
        "  blazesym (advanced symbolization): no\n  dwunwind (DWARF stack unwinding): no\n",
        "Kernel helpers\n" + rows("dpath: no", *(f"{name}: {has(name)}" for name in helpers)),
        f"{'Kernel features':<35}\n"
        + rows(f"Instruction limit: {_limit(features)}", f"btf: {btf}", f"module btf: {modules}"),
        f"{'Probe types':<35}\n" + rows(*(f"{kind}: {has(kind)}" for kind in kinds)) + "\n",
    ])  # fmt: skip


def _answer(ask: Callable[[], bool]) -> str:
    try:
        return "yes" if ask() else "no"
    except FileNotFoundError:
        return "no"
    except (BpfError, OSError) as error:
        return f"unknown ({error})"


def _use(features: Features, name: str) -> str:
    serves, instead = _USES[name]
    answer = _answer(partial(features.has, name))
    return f"{serves}" if answer == "yes" else f"{serves}; {answer}, so {instead}"


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
