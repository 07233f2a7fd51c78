"""The machine a script is compiled for, as data.

The compiler asks a `Target` and nothing else about a machine: `runtime.live_target` answers from
this kernel, lazily; `RecordedTarget` from memory, for tests and for machines that are not this one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bpfscript.btf import Btf


@dataclass(frozen=True, slots=True)
class UserSymbol:
    """A function symbol of an ELF file. `offset` is where its code lies in the file."""

    name: str
    address: int
    size: int
    offset: int


class Target(Protocol):
    """Facts about one machine. Every member may be slow the first time and is kept after that."""

    @property
    def release(self) -> tuple[int, int, int]:
        """Kernel version."""

    @property
    def arch(self) -> str:
        """Machine as uname -m says it: the row of `arch.ARCHES`."""

    @property
    def cpus(self) -> int:
        """Number of possible CPUs."""

    @property
    def pid_namespace(self) -> tuple[int, int] | None:
        """Device and inode of the tool's PID namespace, or None in the initial one."""

    @property
    def btf(self) -> Btf | None:
        """Types of the kernel, or None where it has none."""

    def has(self, feature: str) -> bool:
        """Whether the kernel has `feature`, one of `FEATURES`."""

    def tracepoints(self, category: str, event: str) -> list[tuple[str, str]]:
        """(category, event) of the tracepoints whose parts match the patterns (`*`), sorted."""

    def tracepoint_format(self, category: str, event: str) -> str | None:
        """Text of the event's `format` file, or None if there is no such tracepoint."""

    def raw_tracepoints(self, event: str) -> list[str]:
        """Raw tracepoints whose name matches the pattern, sorted."""

    def kernel_functions(self, pattern: str) -> list[tuple[str, str]]:
        """(module, name) of matching traceable kernel functions, sorted; module "" is vmlinux."""

    def kernel_symbol(self, name: str) -> int | None:
        """Address of a kernel symbol, or None."""

    def user_file(self, name: str) -> list[str]:
        """Paths that a uprobe's target names: a path, a glob, a program in $PATH or a library."""

    def user_symbols(self, path: str) -> list[UserSymbol]:
        """Function symbols of an ELF file. Raises MachineError for what is not ELF."""

    def demangle(self, name: str) -> str:
        """A C++ symbol as its source has it; the name itself if it is not mangled."""


FEATURES = {
    "ringbuf": "BPF_MAP_TYPE_RINGBUF, 5.8",
    "may_goto": "the may_goto instruction, 6.9",
    "uprobe_multi": "BPF_TRACE_UPROBE_MULTI links, 6.6",
    "kprobe_multi": "BPF_TRACE_KPROBE_MULTI links, 5.18",
    "kprobe": "perf event kprobes",
    "fentry": "BPF trampolines",
    "for_each_map_elem": "bpf_for_each_map_elem, 5.13",
    "loop": "bpf_loop, 5.17",
    "attach_cookie": "bpf_get_attach_cookie, 5.15",
    "lookup_percpu_elem": "bpf_map_lookup_percpu_elem, 5.19",
    "get_current_task_btf": "bpf_get_current_task_btf, 5.11",
}


class MachineError(Exception):
    """This machine cannot do it. `str()` says what is missing, `hint` what to do."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message, self.hint = message, hint
        super().__init__(message)


def matches(pattern: str, name: str) -> bool:
    """Whether a name matches a probe pattern. Only `*` is special (LANGUAGE §3.2)."""
    if "*" not in pattern:
        return pattern == name
    return fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


@dataclass
class RecordedTarget:
    """A `Target` from memory."""

    release: tuple[int, int, int] = (6, 12, 0)
    arch: str = "x86_64"
    cpus: int = 2
    pid_namespace: tuple[int, int] | None = None
    btf: Btf | None = None
    features: frozenset[str] = frozenset(FEATURES)
    formats: dict[tuple[str, str], str] = field(default_factory=dict)  # (category, event) -> format
    raw_events: tuple[str, ...] = ("sched_switch", "sys_enter", "sys_exit")
    functions: tuple[tuple[str, str], ...] = ()
    symbols: dict[str, int] = field(default_factory=dict)
    files: dict[str, list[UserSymbol]] = field(default_factory=dict)
    demangled: dict[str, str] = field(default_factory=dict)

    def has(self, feature: str) -> bool:
        return feature in self.features

    def tracepoints(self, category: str, event: str) -> list[tuple[str, str]]:
        return sorted(k for k in self.formats if matches(category, k[0]) and matches(event, k[1]))

    def tracepoint_format(self, category: str, event: str) -> str | None:
        return self.formats.get((category, event))

    def raw_tracepoints(self, event: str) -> list[str]:
        return sorted(n for n in self.raw_events if matches(event, n))

    def kernel_functions(self, pattern: str) -> list[tuple[str, str]]:
        return sorted(f for f in self.functions if matches(pattern, f[1]))

    def kernel_symbol(self, name: str) -> int | None:
        return self.symbols.get(name)

    def user_file(self, name: str) -> list[str]:
        return sorted(path for path in self.files if matches(name, path))

    def user_symbols(self, path: str) -> list[UserSymbol]:
        return self.files[path]

    def demangle(self, name: str) -> str:
        return self.demangled.get(name, name)
