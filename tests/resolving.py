"""Scripts resolved against a recorded machine."""

from __future__ import annotations

from typing import Any

from bpfscript.diagnostics import Reporter, Source
from bpfscript.frontend.ctypes import CTypes
from bpfscript.frontend.parser import parse
from bpfscript.frontend.resolve import resolve
from bpfscript.frontend.typed import Instance, Limits, Options
from bpfscript.target import RecordedTarget, Target, UserSymbol

COMMON = """name: x
ID: 1
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

"""


def record(*fields: tuple[str, int, int, int]) -> str:
    """A `format` file of (declaration, offset, size, signed)."""
    lines = (f"\tfield:{d};\toffset:{o};\tsize:{s};\tsigned:{n};\n" for d, o, s, n in fields)
    return COMMON + "".join(lines) + '\nprint fmt: "", REC->x\n'


def enter(*arguments: str) -> str:
    fields = [(a, 16 + 8 * i, 8, 0) for i, a in enumerate(arguments)]
    return record(("int __syscall_nr", 8, 4, 1), *fields)


EXIT = record(("int __syscall_nr", 8, 4, 1), ("long ret", 16, 8, 1))

FORMATS = {
    ("sched", "sched_switch"): record(("char prev_comm[16]", 8, 16, 0), ("pid_t pid", 24, 4, 1)),
    ("sched", "sched_wakeup"): record(("char comm[16]", 8, 16, 0), ("pid_t pid", 24, 4, 1)),
    ("sched", "sched_exec"): record(("__data_loc char[] file", 8, 4, 0), ("pid_t pid", 12, 4, 1)),
    ("syscalls", "sys_enter_open"): enter("const char * filename", "int flags"),
    ("syscalls", "sys_enter_openat"): enter("int dfd", "const char * filename", "int flags"),
    ("syscalls", "sys_enter_openat2"): enter("int dfd", "const char * filename"),
    ("syscalls", "sys_enter_unheard_of"): enter("int fd"),
    ("syscalls", "sys_exit_open"): EXIT,
    ("syscalls", "sys_exit_openat"): EXIT,
}
FILES = {
    "./prog": [
        UserSymbol("add", 0x1100, 16, 0x100),
        UserSymbol("add_more", 0x1110, 32, 0x110),
        UserSymbol("add.part.0", 0x1140, 8, 0x140),
        UserSymbol("_start", 0x1200, 0, 0x200),
    ],
    "./cxx": [
        UserSymbol("_ZN2ns5twiceEi", 0x1000, 8, 0),
        UserSymbol("_ZN2ns5twiceEl", 0x1010, 8, 16),
        UserSymbol("twice", 0x1020, 8, 32),
    ],
}
DEMANGLED = {"_ZN2ns5twiceEi": "ns::twice(int)", "_ZN2ns5twiceEl": "ns::twice(long)"}
FUNCTIONS = (("", "vfs_read"), ("", "vfs_write"), ("", "vfs_read.part.0"), ("ext4", "ext4_sync"))


def machine(**changes: Any) -> RecordedTarget:
    fields: dict[str, Any] = {
        "formats": FORMATS, "files": FILES, "demangled": DEMANGLED, "functions": FUNCTIONS,
    }  # fmt: skip
    return RecordedTarget(**(fields | changes))


def run(
    script: str,
    target: Target | None = None,
    options: Options | None = None,
    limits: Limits | None = None,
) -> tuple[list[Instance], Reporter]:
    target, report = target or machine(), Reporter()
    program = parse(Source("stdin", script))
    instances = resolve(
        program, target, options or Options(), limits or Limits(), report,
        CTypes(lambda: target.btf),
    )  # fmt: skip
    return instances, report


def resolved(script: str, **more: Any) -> list[Instance]:
    """Programs of a script that has no faults."""
    instances, report = run(script, **more)
    assert not report.errors, report.errors[0].render()
    return instances


def names(script: str, **more: Any) -> list[str]:
    return [name for instance in resolved(script, **more) for name in instance.names]


def faults(script: str, **more: Any) -> list[str]:
    """Messages of the errors of a script."""
    return [error.message for error in run(script, **more)[1].errors]


def warnings(script: str, **more: Any) -> list[str]:
    return [warning.message for warning in run(script, **more)[1].warnings]
