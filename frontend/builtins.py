"""Every builtin variable: one row each (LANGUAGE §4)."""

from __future__ import annotations

from bpfscript.plain import dataclass
from bpfscript.types import (
    BOOL,
    INT8,
    INT32,
    UINT32,
    UINT64,
    String,
    Type,
    Username,
)


@dataclass(frozen=True, slots=True)
class Builtin:
    """`type` None: a rule in check_builtins, which also knows where it is not available."""

    name: str
    type: Type | None
    doc: str


ROWS = (
    Builtin("args", None, "All arguments of the probe, by name."),
    Builtin("cgroup", UINT64, "Id of the current cgroup."),
    Builtin("comm", String(16), "Name of the current thread."),
    Builtin("config", None, "The configuration."),
    Builtin("cpid", UINT64, "Process id of the -c child."),
    Builtin("has_cpid", BOOL, "Whether there is a -c child."),
    Builtin("cpu", UINT64, "Processor."),
    Builtin("ctx", None, "The probe's context."),
    Builtin("curtask", None, "The current task_struct."),
    Builtin("elapsed", UINT64, "Nanoseconds since the start."),
    Builtin("func", None, "The traced function."),
    Builtin("gid", UINT64, "Group id."),
    Builtin("uid", UINT64, "User id."),
    Builtin("jiffies", UINT64, "Ticks of the kernel."),
    Builtin("kstack", None, "Kernel stack."),
    Builtin("ustack", None, "User stack."),
    Builtin("dw_ustack", None, "User stack, unwound by DWARF."),
    Builtin("leader_comm", String(16), "Name of the thread group's leader."),
    Builtin("leader_tid", INT32, "Thread id of the thread group's leader."),
    Builtin("ncpus", UINT64, "Number of processors."),
    Builtin("nsecs", UINT64, "Nanoseconds since boot."),
    Builtin("numaid", UINT64, "NUMA node."),
    Builtin("pcomm", String(17), "Name of the parent."),
    Builtin("ppid", INT32, "Process id of the parent."),
    Builtin("pid", UINT32, "Process id."),
    Builtin("tid", UINT32, "Thread id."),
    Builtin("probe", None, "Name of the probe."),
    Builtin("probetype", None, "Type of the probe."),
    Builtin("rand", UINT64, "A random number."),
    Builtin("retval", None, "What the function returns."),
    Builtin("usermode", INT8, "Whether the processor was in user mode."),
    Builtin("username", Username(), "Name of the user."),
)

BUILTINS = {row.name: row for row in ROWS}


def builtin(name: str) -> Builtin | None:
    """The row of a name, also of its spelling `__builtin_NAME`."""
    return BUILTINS.get(name.removeprefix("__builtin_"))


def argument_number(name: str) -> int | None:
    """N of `argN`."""
    number = name[3:]
    return int(number) if name.startswith("arg") and number.isdecimal() else None
