"""What the frontend knows about a checked script: the side tables that lowering reads.

resolve.py makes the instances, check.py fills the tables, lower.py reads them.
"""

from __future__ import annotations

from bpfscript.c_library import CLibrary
from bpfscript.diagnostics import Diagnostic, Span
from bpfscript.frontend import nodes
from bpfscript.manifest import Attach, MapType, Settings
from bpfscript.plain import dataclass, field
from bpfscript.types import Field, Struct, Type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal, Protocol

    from bpfscript.core_relocations import Question
    from bpfscript.frontend.program_types import ProgramTypes
    from bpfscript.frontend.usdt_arguments import UsdtArgument

    ArgSource = Literal["context", "register", "pointer", "syscall", "syscall_return", "raw"]
    ReadObject = Callable[[str, bytes], CLibrary]  # name, bytes; raises ObjectError
else:
    Protocol = object

Constant = int | bool | bytes  # a folded integer, boolean or string


@dataclass(eq=False, slots=True)
class Local:
    """One scratch variable: a name in a scope. All `Variable` nodes that mean it share it."""

    name: str
    type: Type
    span: Span  # its declaration
    explicit: bool = False  # `let $x: type`
    captured: bool = (
        False  # also used inside the body of a `for (… : @map)` it was declared outside of
    )
    addressed: bool = False  # `&$x`: it lives in memory


@dataclass(slots=True)
class MapInfo:
    """A map of the script over all its uses. `key` None: scalar."""

    name: str
    key: Type | None
    value: Type
    span: Span  # first use
    kind: MapType | None = None  # of its declaration
    entries: int | None = None  # of its declaration


@dataclass(frozen=True, slots=True)
class Argument:
    """Where `args.NAME` is found.

    context         at `offset` of the tracepoint record (the BPF context)
    data_loc        at `offset` a uint32 whose low half is the offset of the data in the record
    syscall         the `offset`-th argument register of the syscall (raw sys_enter)
    syscall_return  the return value (raw sys_exit)
    raw             the `offset`-th uint64 of the raw tracepoint's context
    register        the `offset`-th argument register of a function of a program
    registers       a struct in that register, and the next one if it is longer
    stack           `offset` bytes above the stack pointer, in user memory
    pieces          in registers: (name, offset in the value, bytes) of each
    float           in a register that BPF programs cannot read
    nowhere         not known to be anywhere when the function starts
    """

    name: str
    type: Type
    source: str
    offset: int
    pieces: tuple[tuple[str, int, int], ...] = ()


@dataclass(eq=False, slots=True)
class Instance:
    """One program to be: a body, checked in one context, and the matches that share it."""

    probe: nodes.Probe  # its own copy of the tree
    kind: str  # row of probes.PROBES
    attachments: tuple[Attach, ...]
    names: tuple[str, ...]  # `probe` of each match, by probe id
    arguments: dict[str, Argument] | None = None  # what `args` has; None: no `args` here
    args_type: Struct | None = None
    result: Type | None = None  # of `retval`, where more is known than its size
    usdt: dict[int, UsdtArgument] = field(default_factory=dict)  # argN of a static probe, by N
    repeated: int = 0  # names that other programs of the probe have, too
    c_names: ProgramTypes | None = None  # what C names mean here, if not what they mean elsewhere
    # Raw syscall tracepoints: syscall number -> probe id, and which raw tracepoint it is.
    syscalls: dict[int, int] = field(default_factory=dict)
    syscall_side: Literal["", "enter", "exit"] = ""

    @property
    def attached(self) -> str:
        """The kind that its places are of: a kprobe may stand in for fentry, a raw tracepoint for
        tracepoints."""
        placed = self.attachments[0].kind if self.attachments else ""
        if self.syscall_side or (self.kind == "tracepoint" and placed == "raw_tracepoint"):
            return "rawtracepoint"
        return placed if self.kind in ("fentry", "fexit") else self.kind

    @property
    def pinned(self) -> bool:
        """Whether it is an iterator that others read, when this process has ended."""
        return self.kind == "iter" and any(place.symbol for place in self.attachments)


class Importer(Protocol):
    """Reads the files that scripts import. Paths are relative to where the tool was started."""

    def kind(self, path: str) -> Literal["file", "directory"] | None:
        """What there is, or None."""

    def writable_by_all(self, path: str) -> bool:
        """Whether anybody may change it, or what else is in its directory."""

    def names(self, path: str) -> list[str]:
        """Names in a directory, sorted."""

    def text(self, path: str) -> str:
        """Text of a file, bytes that are not UTF-8 as surrogates. Raises MachineError."""

    def unwatched(self, path: str) -> None:
        """Take note that a file makes others be read, for which nobody asks."""

    def data(self, path: str) -> bytes:
        """Bytes of a file. Raises MachineError. Who asks for them asks for its identity."""

    def identity(self, path: str) -> str:
        """What tells a file from its other versions."""

    def compiler(self) -> str:
        """The identity of what compiles C; "": there is nothing."""

    def compiled(
        self, path: str, include_dirs: tuple[str, ...]
    ) -> tuple[bytes, str, tuple[str, ...]]:
        """The object of a C file, what the compiler said, all files that it read.

        b"": it failed. Who asks for it asks for the identity of those files and of the compiler.
        """


@dataclass(slots=True)
class Options:
    """What the command line and the caller decide about compiling."""

    positional: tuple[str, ...] = ()
    named: dict[str, str] = field(default_factory=dict)  # --name=value after `--`
    unsafe: bool = False
    pid: int | None = None  # -p: only this process
    targets: bool = False  # -p, -c or --dwarf-pid name processes
    warnings: int = 1  # 0: --no-warnings, 1, 2: -k
    split: bool = False  # maps may be kept in two: nobody but our runtime is going to read them
    environment: dict[str, str] = field(default_factory=dict)  # BPFTRACE_* and BPFSCRIPT_*
    include_dirs: tuple[str, ...] = ()
    include_files: tuple[str, ...] = ()
    probe_filter: str | None = None
    mode: Literal["", "test", "bench"] = ""  # --test, --bench: run these probes
    importer: Importer | None = None  # None: scripts may not import
    read_object: ReadObject | None = None  # None: they may not import compiled code
    portable: bool = False  # for other kernels, too: see relocated.py
    oldest: bool = True  # of portable ones: for the oldest kernel that we know, not the target's


@dataclass(slots=True)
class Limits:
    """Configuration that compiling acts on (LANGUAGE §8.3)."""

    max_strlen: int = 1024
    max_map_keys: int = 4096
    max_probes: int = 1024
    max_bpf_progs: int = 1024
    on_stack_limit: int = 32
    stack_mode: str = "bpftrace"
    missing_probes: str = "error"


@dataclass(slots=True)
class Checked:
    """A script without faults, ready for lowering."""

    program: nodes.Program
    instances: list[Instance]
    options: Options
    limits: Limits
    settings: Settings
    types: dict[nodes.Node, Type] = field(default_factory=dict)
    locals: dict[nodes.Variable, Local] = field(default_factory=dict)
    maps: dict[str, MapInfo] = field(default_factory=dict)
    constants: dict[nodes.Node, Constant] = field(default_factory=dict)  # what folded, at any depth
    structs: dict[str, tuple[Field, ...]] = field(
        default_factory=dict
    )  # fields of every struct in use
    enums: dict[str, dict[int, str]] = field(default_factory=dict)
    shown: set[str] = field(default_factory=set)  # structs that are printed
    # With Options.portable: types that are the kernel's, constants that another one may change.
    of_kernel: set[str] = field(default_factory=set)
    questions: dict[nodes.Node, Question] = field(default_factory=dict)
    assumed: dict[tuple[str, str], str] = field(default_factory=dict)  # manifest.Assumption
    library: CLibrary = field(default_factory=CLibrary)  # what is imported of C
    warnings: list[Diagnostic] = field(default_factory=list)
