"""The machine a script is compiled for, as data.

The compiler asks a `Target` and nothing else about a machine: `runtime.live_target` answers from
this kernel, lazily; `RecordedTarget` from memory, for tests and for machines that are not this one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from bpfscript.diagnostics import MachineError as MachineError
from bpfscript.plain import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from bpfscript.btf import Btf
    from bpfscript.types import Field, Struct, Type
else:
    Protocol = object


@dataclass(frozen=True, slots=True)
class UserImage:
    """An ELF file. `fixed`: an executable that can lie at its own addresses only (ET_EXEC)."""

    inode: int
    fixed: bool


@dataclass(frozen=True, slots=True)
class UserSymbol:
    """A function symbol of an ELF file. `offset` is where its code lies in the file."""

    name: str
    address: int
    size: int
    offset: int


@dataclass(frozen=True, slots=True)
class UsdtProbe:
    """One location of a static probe in an ELF file. Its arguments are still text."""

    provider: str
    name: str
    address: int
    offset: int  # in the file, of its instruction
    semaphore: int  # in the file, of the counter of those who trace it; 0: it has none
    arguments: str  # as the assembler wrote them: `-4@%edi 8@-16(%rbp)`


@dataclass(frozen=True, slots=True)
class Place:
    """Where a parameter is: each scalar that it consists of in a register, or the whole `stack`
    bytes above the stack pointer."""

    registers: tuple[str, ...] = ()
    stack: int = 0


@dataclass(frozen=True, slots=True)
class FunctionType:
    """Parameters (name, type) in their order. C++ objects passed by reference show as pointers.

    places: where each parameter is when the function starts, if not by the rules of C; None: out
    of reach.
    """

    parameters: tuple[tuple[str, Type], ...]
    result: Type
    places: tuple[Place | None, ...] | None = None


class DebugInfo(Protocol):
    """What the debug information of a file tells. The space of its pointers is "none".

    Structs and enums have names as in the source (`struct S`), where these are theirs alone in the
    file. May raise MachineError for damaged data.
    """

    def function(self, address: int) -> FunctionType | None:
        """Type of the function that starts at an address of the file, or None."""

    def declarations(self, address: int) -> list[str] | None:
        """Its parameters as the source has them, `const char* path`; None for no function."""

    def named(self, keyword: str | None, name: str) -> Type | None:
        """`struct S`, `enum E`, a typedef; None if the file has no such type."""

    def fields(self, struct: Struct) -> tuple[Field, ...]:
        """Fields of a struct, those of its anonymous members among them, with their offset."""

    def enum(self, name: str) -> dict[int, str] | None:
        """value → name of an enum."""

    def line(self, file: str, line: int, column: int = 0) -> int:
        """The lowest address of the code of a source line. Raises MachineError if it has none."""


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

    @property
    def modules(self) -> Sequence[str]:
        """Names of the kernel's modules that have types of their own, sorted."""

    def module_btf(self, module: str) -> Btf | None:
        """Types of a module, which go on from the kernel's; None if it has none."""

    def has(self, feature: str) -> bool:
        """Whether the kernel has `feature`, one of `FEATURES`."""

    def callable_by(self, function: str, type: int) -> bool:
        """Whether programs of a type, a ProgramType, may call a function of the kernel."""

    def tracepoints(self, category: str, event: str) -> list[tuple[str, str]]:
        """(category, event) of the tracepoints whose parts match the patterns (`*`), sorted."""

    @property
    def dynamic_events(self) -> frozenset[tuple[str, str]]:
        """(category, event) of events that users made: there is no tracepoint behind them."""

    def tracepoint_format(self, category: str, event: str) -> str | None:
        """Text of the event's `format` file, or None if there is no such tracepoint."""

    def raw_tracepoints(self, event: str) -> list[tuple[str, str]]:
        """(module, name) of matching raw tracepoints, sorted; module "" is vmlinux."""

    def kernel_functions(self, pattern: str) -> list[tuple[str, str]]:
        """(module, name) of matching traceable kernel functions, sorted; module "" is vmlinux."""

    def kernel_symbol(self, name: str) -> int | None:
        """Address of a kernel symbol, or None."""

    def cgroup_id(self, path: str) -> int | None:
        """Id of the cgroup whose directory this is, or None."""

    def bpf_programs(self) -> list[tuple[int, str]]:
        """(id, name) of the BPF programs that are loaded and have a BTF of their own."""

    def user_file(self, name: str) -> list[str]:
        """Paths that a uprobe's target names: a path, a glob, a program in $PATH or a library."""

    def user_image(self, path: str) -> UserImage:
        """What an ELF file is. Raises MachineError for what is not ELF."""

    def user_symbols(self, path: str) -> list[UserSymbol]:
        """Function symbols of an ELF file. Raises MachineError for what is not ELF."""

    def instruction_starts(self, path: str, symbol: UserSymbol) -> Collection[int]:
        """Where the instructions of a function start, as distances from its own start."""

    def user_object(self, path: str, name: str) -> UserSymbol | None:
        """A variable of an ELF file. Raises MachineError for what is not ELF."""

    def usdt_probes(self, path: str) -> list[UsdtProbe]:
        """Static probes of an ELF file, by address. Raises MachineError for what is not ELF."""

    def debug_info(self, path: str) -> DebugInfo | None:
        """What its debug information, or that of its separate debug file, says of an ELF file.

        None if it has none. Raises MachineError for what is not ELF.
        """

    def demangle(self, name: str) -> str:
        """A C++ symbol as its source has it; the name itself if it is not mangled."""


FEATURES = {
    "ringbuf": "BPF_MAP_TYPE_RINGBUF, 5.8",
    "may_goto": "the may_goto instruction, 6.9",
    "iter_num": "bpf_iter_num_new, 6.4",
    "uprobe_multi": "BPF_TRACE_UPROBE_MULTI links, 6.6",
    "kprobe_multi": "BPF_TRACE_KPROBE_MULTI links, 5.18",
    "kprobe": "perf event kprobes",
    "fentry": "BPF trampolines",
    "for_each_map_elem": "bpf_for_each_map_elem, 5.13",
    "loop": "bpf_loop, 5.17",
    "attach_cookie": "bpf_get_attach_cookie, 5.15",
    "lookup_percpu_elem": "bpf_map_lookup_percpu_elem, 5.19",
    "get_current_task_btf": "bpf_get_current_task_btf, 5.11",
    "task_pt_regs": "bpf_task_pt_regs, 5.15",
    "get_func_ip": "bpf_get_func_ip, 5.15",
    "get_tai_ns": "bpf_ktime_get_tai_ns, 6.1",
    "override_return": "bpf_override_return, CONFIG_BPF_KPROBE_OVERRIDE",
    "probe_write_user": "bpf_probe_write_user, not where the kernel is locked down",
    "raw_cookie": "cookies of raw tracepoints, 6.10",
    "kprobe_session": "BPF_TRACE_KPROBE_SESSION links, 6.10",
    "return_stack": "kprobe_multi returns by the function graph tracer, 6.14",
    "iter": "BPF iterators, 5.8",
    "large_programs": "programs of a million instructions, 5.2",
}


RECENT = frozenset(("may_goto", "iter_num", "uprobe_multi", "kprobe_session", "raw_cookie"))
"""Features that 6.1 has not, the oldest kernel that objects are for."""


class OlderTarget:
    """A target as portable objects see it. oldest: no newer than the oldest kernel they are for.

    Pointers of which the verifier knows the type are left out: it knows what they point to as the
    kernel at hand has it.
    """

    def __init__(self, target: Target, *, oldest: bool = True) -> None:
        self._target, self._oldest = target, oldest

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    @property
    def release(self) -> tuple[int, int, int]:
        return min(self._target.release, (6, 1, 0)) if self._oldest else self._target.release

    def has(self, feature: str) -> bool:
        left_out = feature == "get_current_task_btf" or (self._oldest and feature in RECENT)
        return not left_out and self._target.has(feature)

    def callable_by(self, function: str, type: int) -> bool:
        return not self._oldest and self._target.callable_by(function, type)


def matches(pattern: str, name: str) -> bool:
    """Whether a name matches a probe pattern. Only `*` is special (LANGUAGE §3.2)."""
    if "*" not in pattern:
        return pattern == name
    from fnmatch import fnmatchcase  # not on the way of a start

    return fnmatchcase(name, pattern.replace("[", "[[]").replace("?", "[?]"))


def kernel_namespace(namespace: tuple[int, int]) -> tuple[int, int]:
    """Device and inode of a namespace as the kernel itself has them: its dev_t is not stat's."""
    device, inode = namespace
    return os.major(device) << 20 | os.minor(device), inode


@dataclass
class RecordedTarget:
    """A `Target` from memory."""

    release: tuple[int, int, int] = (6, 12, 0)
    arch: str = "x86_64"
    cpus: int = 2
    pid_namespace: tuple[int, int] | None = None
    btf: Btf | None = None
    module_types: dict[str, Btf] = field(default_factory=dict)
    features: frozenset[str] = frozenset(FEATURES)
    formats: dict[tuple[str, str], str] = field(default_factory=dict)  # (category, event) -> format
    raw_events: tuple[str, ...] = ("sched_switch", "sys_enter", "sys_exit")
    dynamic_events: frozenset[tuple[str, str]] = frozenset()
    functions: tuple[tuple[str, str], ...] = ()
    symbols: dict[str, int] = field(default_factory=dict)
    cgroups: dict[str, int] = field(default_factory=dict)  # path -> id
    loaded: tuple[tuple[int, str], ...] = ()  # BPF programs
    files: dict[str, list[UserSymbol]] = field(default_factory=dict)
    starts: dict[tuple[str, str], Collection[int]] = field(default_factory=dict)
    objects: dict[tuple[str, str], UserSymbol] = field(default_factory=dict)
    usdt: dict[str, list[UsdtProbe]] = field(default_factory=dict)
    debug: dict[str, DebugInfo] = field(default_factory=dict)
    demangled: dict[str, str] = field(default_factory=dict)
    callable: frozenset[tuple[str, int]] = frozenset()  # (kernel function, type of programs)
    images: dict[str, UserImage] = field(default_factory=dict)

    @property
    def modules(self) -> list[str]:
        return sorted(self.module_types)

    def module_btf(self, module: str) -> Btf | None:
        return self.module_types.get(module)

    def has(self, feature: str) -> bool:
        return feature in self.features

    def callable_by(self, function: str, type: int) -> bool:
        return (function, type) in self.callable

    def tracepoints(self, category: str, event: str) -> list[tuple[str, str]]:
        return sorted(k for k in self.formats if matches(category, k[0]) and matches(event, k[1]))

    def tracepoint_format(self, category: str, event: str) -> str | None:
        return self.formats.get((category, event))

    def raw_tracepoints(self, event: str) -> list[tuple[str, str]]:
        return [("", name) for name in sorted(self.raw_events) if matches(event, name)]

    def kernel_functions(self, pattern: str) -> list[tuple[str, str]]:
        return sorted(f for f in self.functions if matches(pattern, f[1]))

    def kernel_symbol(self, name: str) -> int | None:
        return self.symbols.get(name)

    def cgroup_id(self, path: str) -> int | None:
        return self.cgroups.get(path)

    def bpf_programs(self) -> list[tuple[int, str]]:
        return list(self.loaded)

    def user_file(self, name: str) -> list[str]:
        return sorted(path for path in self.files if matches(name, path))

    def user_image(self, path: str) -> UserImage:
        return self.images[path]

    def user_symbols(self, path: str) -> list[UserSymbol]:
        return self.files[path]

    def instruction_starts(self, path: str, symbol: UserSymbol) -> Collection[int]:
        return self.starts.get((path, symbol.name), ())

    def user_object(self, path: str, name: str) -> UserSymbol | None:
        return self.objects.get((path, name))

    def usdt_probes(self, path: str) -> list[UsdtProbe]:
        return self.usdt.get(path, [])

    def debug_info(self, path: str) -> DebugInfo | None:
        return self.debug.get(path)

    def demangle(self, name: str) -> str:
        return self.demangled.get(name, name)
