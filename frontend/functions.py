"""Every function of the language: one row each (LANGUAGE §5)."""

from __future__ import annotations

from collections.abc import Iterable

from bpfscript.plain import dataclass
from bpfscript.types import (
    BOOL,
    INT32,
    INT64,
    UINT64,
    VOID,
    Inet,
    Mac,
    String,
    Symbol,
    Type,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from bpfscript.words import AggregateName

    Kind = Literal[
        "any", "int", "integer", "address", "string", "text", "number", "map", "keyed", "word",
        "type", "variable", "other",
    ]  # fmt: skip

# any        an expression                       int         an integer or boolean
# integer    the same, told in upstream's longer words   address     an integer or pointer
# string     a string                            text        a string literal
# number     an integer literal                  map         a map by name, without key
# keyed      a map that has keys                 word        a bare word that the rule reads
# type       a type                              variable    a variable to be assigned
# other      the rule looks at it

TRACING = frozenset(("fentry", "fexit", "iter"))
USER_CODE = frozenset(("uprobe", "uretprobe", "usdt"))
KPROBES = frozenset(("kprobe", "kretprobe"))
TIMED = frozenset(("profile", "interval", "software", "hardware", "watchpoint"))
TASKS = KPROBES | TRACING | {"tracepoint", "rawtracepoint"}
SIGNALS = (TASKS | USER_CODE | {"profile"}) - {"iter"}
REGISTERS = KPROBES | USER_CODE | TIMED
NAMES = String(64)
MANY = 128


@dataclass(frozen=True, slots=True)
class Function:
    """`kinds` are of the arguments in order, the last for all that follow.

    `result` None: a rule in check_calls. `probes` None: any.
    """

    name: str
    least: int
    most: int
    kinds: tuple[Kind, ...]
    result: Type | None
    doc: str
    probes: frozenset[str] | None = None
    unsafe: bool = False

    def kind(self, index: int) -> Kind:
        return self.kinds[min(index, len(self.kinds) - 1)] if self.kinds else "any"

    def wrong_count(self, given: int) -> str | None:
        """What is wrong with so many arguments."""
        if self.least <= given <= self.most:
            return None
        if self.least == self.most:
            return f"{self.name}() requires {_arguments(self.least)} ({given} provided)"
        if given < self.least:
            needs = f"at least {_arguments(self.least)}"
            return f"{self.name}() requires {needs} ({given} provided)"
        return f"{self.name}() takes up to {_arguments(self.most)} ({given} provided)"


def _arguments(count: int) -> str:
    return {0: "no arguments", 1: "one argument"}.get(count, f"{count} arguments")


AGGREGATES: tuple[AggregateName, ...] = (
    "count",
    "sum",
    "min",
    "max",
    "avg",
    "stats",
    "hist",
    "lhist",
    "tseries",
)

ROWS = (
    # Output
    Function("printf", 1, MANY, ("text", "any"), None, "Print text with values in it."),
    Function("errorf", 1, MANY, ("text", "any"), None, "printf as an error with its place."),
    Function("warnf", 1, MANY, ("text", "any"), None, "printf as a warning with its place."),
    Function("debugf", 1, MANY, ("text", "any"), None, "Print to the kernel's trace_pipe."),
    Function("cat", 1, MANY, ("text", "any"), None, "Print a file."),
    Function("system", 1, MANY, ("text", "any"), None, "Run a shell command.", unsafe=True),
    Function("fail", 1, MANY, ("text", "any"), None, "Refuse to compile with a message."),
    Function("print", 1, 3, ("other",), None, "Print a value or a map."),
    Function("time", 0, 1, ("text",), VOID, "Print the time of day."),
    Function("strftime", 2, 2, ("text", "int"), None, "A time as text."),
    Function("join", 1, 2, ("address", "text"), VOID, "Print an array of strings."),
    Function("exit", 0, 1, ("int",), VOID, "End the run with an exit code."),
    Function("clear", 1, 1, ("map",), VOID, "Remove all elements of a map."),
    Function("zero", 1, 1, ("map",), VOID, "Set all elements of a map to zero."),
    Function("assert", 2, 2, ("any", "text"), VOID, "End the run if a condition does not hold."),
    Function("static_assert", 2, 2, ("any", "text"), None, "Refuse to compile if it is false."),
    Function("skboutput", 4, 4, ("text", "address", "int", "number"), INT64,
             "Write a packet to a pcap file.", probes=TRACING),
    # Strings, buffers, addresses
    Function("str", 1, 2, ("any", "int"), None, "The string that a pointer leads to."),
    Function("buf", 1, 2, ("any", "int"), None, "Bytes of memory."),
    Function("strlen", 1, 1, ("any",), None, "Length of a string."),
    Function("strcap", 1, 1, ("any",), None, "Capacity of a string."),
    Function("strcontains", 2, 2, ("string",), None, "Whether a string has another one in it."),
    Function("strstr", 2, 2, ("string",), None, "Where a string has another one in it."),
    Function("strncmp", 3, 3, ("any", "any", "any"), None, "Compare the beginnings of strings."),
    Function("str_concat", 2, 2, ("string",), String(1024), "Two strings in a row."),
    Function("memcmp", 3, 3, ("any", "any", "number"), INT32, "Compare the bytes of two values."),
    Function("strerror", 1, 1, ("int",), NAMES, "Text of an errno."),
    Function("signal_name", 1, 1, ("int",), NAMES, "Name of a signal."),
    Function("syscall_name", 1, 1, ("int",), NAMES, "Name of a system call."),
    Function("ksym", 1, 1, ("other",), Symbol("kernel"), "Name of a kernel address."),
    Function("usym", 1, 1, ("other",), Symbol("user"), "Name of a user address."),
    Function("kaddr", 1, 1, ("text",), None, "Address of a kernel symbol."),
    Function("percpu_kaddr", 1, 2, ("text", "int"), None, "Address of a per-CPU variable."),
    Function("uaddr", 1, 1, ("text",), None, "Address of a user symbol.", probes=USER_CODE),
    Function("kptr", 1, 1, ("other",), None, "A pointer into kernel memory."),
    Function("uptr", 1, 1, ("other",), None, "A pointer into user memory."),
    Function("reg", 1, 1, ("text",), None, "Value of a register.", probes=REGISTERS),
    Function("bswap", 1, 1, ("integer",), None, "Bytes in reverse."),
    Function("macaddr", 1, 1, ("other",), Mac(), "A MAC address."),
    Function("ntop", 1, 2, ("other",), Inet(), "An IP address from its bytes."),
    Function("pton", 1, 1, ("text",), None, "Bytes of an IP address."),
    Function("path", 1, 2, ("any", "number"), None, "Path of a struct path.", probes=TRACING),
    Function("container_of", 3, 3, ("address", "type", "word"), None, "What a member is in."),
    Function("is_err", 1, 1, ("any",), BOOL, "Whether a pointer is an error."),
    Function("socket_cookie", 1, 1, ("address",), UINT64, "Cookie of a socket.", probes=TRACING),
    # Process, cgroup, time, control
    Function("cgroupid", 1, 1, ("text",), UINT64, "Id of a cgroup."),
    Function("cgroup_path", 1, 2, ("int", "text"), None, "Paths of a cgroup."),
    Function("nsecs", 0, 1, ("word",), None, "Nanoseconds of a clock."),
    Function("pid", 0, 1, ("word",), None, "Process id."),
    Function("tid", 0, 1, ("word",), None, "Thread id."),
    Function("comm", 0, 1, ("int",), None, "Name of a thread, or of a process by id."),
    Function("signal", 1, 1, ("other",), None, "Send a signal.", probes=SIGNALS, unsafe=True),
    Function("signal_thread", 1, 1, ("other",), None, "Send a signal to this thread.",
             probes=SIGNALS, unsafe=True),
    Function("override", 1, 1, ("int",), VOID, "Return from the function at once.",
             probes=frozenset(("kprobe",)), unsafe=True),
    Function("write_user", 3, 3, ("address", "address", "int"), BOOL, "Write user memory.",
             unsafe=True),
    Function("getopt", 1, 3, ("other",), None, "A named parameter."),
    # Literals
    Function("kfunc_exist", 1, 1, ("text",), None, "Whether the kernel's BTF has a function."),
    Function("kfunc_allowed", 1, 1, ("text",), None, "Whether a probe may call such a function."),
    Function("is_literal", 1, 1, ("any",), None, "Whether it is known while compiling."),
    Function("is_str", 1, 1, ("any",), None, "Whether it is a string."),
    Function("is_ptr", 1, 1, ("any",), None, "Whether it is a pointer."),
    Function("is_array", 1, 1, ("any",), None, "Whether it is an array."),
    Function("is_integer", 1, 1, ("any",), None, "Whether it is an integer."),
    Function("is_unsigned_integer", 1, 1, ("any",), None, "Whether it is an unsigned integer."),
    Function("is_scalar", 1, 1, ("map",), None, "Whether a map has no keys."),
    Function("assert_str", 1, 1, ("any",), None, "Refuse to compile if it is not a string."),
    Function("default_str_length", 0, 0, (), None, "How long strings are."),
    # Stacks
    Function("kstack", 0, 2, ("other",), None, "Kernel stack."),
    Function("ustack", 0, 2, ("other",), None, "User stack."),
    Function("dw_ustack", 0, 2, ("other",), None, "User stack, unwound by DWARF."),
    # Map elements
    Function("len", 1, 1, ("other",), INT64, "Number of elements or frames."),
    Function("delete", 1, 2, ("other",), None, "Remove an element."),
    Function("has_key", 2, 2, ("keyed", "other"), None, "Whether an element exists."),
    Function("find", 3, 3, ("keyed", "other", "variable"), None, "Get an element if it exists."),
    # Aggregations
    Function("count", 0, 0, (), None, "Count calls."),
    Function("sum", 1, 1, ("integer",), None, "Sum of values."),
    Function("min", 1, 1, ("integer",), None, "Least value."),
    Function("max", 1, 1, ("integer",), None, "Greatest value."),
    Function("avg", 1, 1, ("integer",), None, "Average of values."),
    Function("stats", 1, 1, ("integer",), None, "Count, average and total of values."),
    Function("hist", 1, 2, ("integer", "any"), None, "Histogram of powers of two."),
    Function("lhist", 4, 4, ("integer", "any"), None, "Histogram of equal steps."),
    Function("tseries", 3, 4, ("integer", "any"), None, "Values over time."),
)  # fmt: skip

FUNCTIONS = {row.name: row for row in ROWS}

TASK_BY_ID = "bpf_task_from_pid"
PERCPU_OFFSETS = "__per_cpu_offset"  # the kernel's array: what a CPU adds to a variable's address

# Functions and builtin variables that are macros: stdlib.py has their bodies.
MACROS = (
    "assert", "container_of", "has_cpid", "leader_comm", "leader_tid", "pcomm", "ppid",
)  # fmt: skip


MISPLACED_TYPEOF = (
    "When used as a call argument, `typeof` builtin only valid for macro calls that are expecting "
    "a type parameter"
)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Hint for an unknown name: the known one that differs least, if it is near."""
    from difflib import get_close_matches

    found = get_close_matches(name, list(known), 1, 0.7)
    return f"Did you mean '{found[0]}'?" if found else None
