"""What a compiled script is: plain data that the runtime needs and nothing of the compiler.

An `Artifact` is inert and the same on every machine. Its `manifest` rides inside the ELF object, so
an object traces with full output and without the compiler.
"""

from __future__ import annotations

from enum import IntEnum

from bpfscript.diagnostics import Span
from bpfscript.plain import dataclass, field, replace
from bpfscript.types import Field, Stack, Symbol, Type, parts

ERRORS = ("runtime_error", "helper_error")  # kinds of events
STEERING = ("exit", "clear", "zero", "print_map", "print_element", *ERRORS)  # see Event.steers
EVENT_HEADER = 8  # bytes before the first field of a ring-buffer record: uint64 event number
PRESENT = 8  # bytes after each value of a map with `labels`, not zero once the entry exists


class ProgramType(IntEnum):
    """enum bpf_prog_type, include/uapi/linux/bpf.h"""

    KPROBE = 2  # also uprobes
    TRACEPOINT = 5
    XDP = 6  # what a benchmark runs as: of the kinds that trace, none can be run repeatedly
    PERF_EVENT = 7
    RAW_TRACEPOINT = 17
    TRACING = 26


class MapType(IntEnum):
    """enum bpf_map_type, include/uapi/linux/bpf.h"""

    HASH = 1
    ARRAY = 2
    PERCPU_HASH = 5
    PERCPU_ARRAY = 6
    LRU_HASH = 9
    LRU_PERCPU_HASH = 10
    RINGBUF = 27


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the script something stands: for messages at run time, as `Span.place` shows it."""

    file: str
    line: int
    column: int  # 1-based
    end: int  # column after the last one
    text: str  # the script's line
    origins: tuple[Place, ...] = ()  # macro calls and imports that led there, the nearest first

    @classmethod
    def at(cls, span: Span) -> Place:
        here = cls._alone(span)
        return replace(here, origins=tuple(map(cls._alone, span.origins())))

    @classmethod
    def _alone(cls, span: Span) -> Place:
        (line, column), (last, end) = map(span.source.position, (span.start, span.end))
        text = span.source.line(line)
        return cls(span.source.name, line, column, end if last == line else len(text) + 1, text)


@dataclass(slots=True)
class MapDef:
    """A BPF map. Names of the script's own start with `@`; ours with `.` (see `Internal`).

    `key` is None for a scalar (`@x`), whose one entry has the uint32 key 0. With `labels` the map
    is an array: slot i stands for the key labels[i], and each value is followed by a uint64 that is
    non-zero once the entry exists. Those of `.lost` are the programs it counts for. `declared`: it
    came from `let @x = hash(n)`. `within`: the map whose entries these are, too; its keys are those
    here, made longer by zeros. `key_at`: it is an array of slots, which hold their keys; at which
    offset. The low half of a slot's last uint64 is not zero once it has an entry.
    """

    name: str
    kind: MapType
    key: Type | None
    value: Type | None
    key_size: int
    value_size: int
    max_entries: int
    labels: tuple[str | int, ...] | None = None
    flags: int = 0  # BPF_F_*
    declared: bool = False
    within: str = ""
    key_at: int = 0
    initial: bytes = b""  # the value of key 0, of an array

    @property
    def per_cpu(self) -> bool:
        return self.kind in (MapType.PERCPU_HASH, MapType.PERCPU_ARRAY, MapType.LRU_PERCPU_HASH)


class Internal:
    """Names of the maps that are not the script's."""

    EVENTS = ".events"  # RINGBUF: records of `Event`s
    CONTROL = ".control"  # RINGBUF: records of those that steer
    LOST = ".lost"  # PERCPU_ARRAY of uint64: records that found a ring full, by `labels`
    SCRATCH = ".scratch"  # PERCPU_ARRAY, one value: what does not fit the BPF stack
    RODATA = ".rodata"  # ARRAY, one value: `Artifact.rodata`, frozen
    GLOBALS = ".globals"  # ARRAY, one value: what only the run knows, see GLOBALS_LAYOUT
    ZERO = ".zero"  # ARRAY, one uint64: a zero of which the kernel's verifier knows nothing
    PROCESSES = ".processes"  # HASH by tgid: see `unwind_tables`


GLOBALS_LAYOUT = ("start", "child", "boot_to_tai")
"""uint64 each, filled before any program runs.

start: CLOCK_BOOTTIME ns at the start; child: pid of `-c` or 0; boot_to_tai: CLOCK_TAI ns less
CLOCK_BOOTTIME ns.
"""


@dataclass(frozen=True, slots=True)
class Attach:
    """One place to attach a program to.

    kind          target                     other fields
    begin, end    ""                         run once by BPF_PROG_TEST_RUN
    self          "SIGUSR1"                  likewise, on each signal
    tracepoint    "category:event"           through a perf event
    raw_tracepoint "sys_enter"               BPF_RAW_TRACEPOINT_OPEN
    kprobe, kretprobe  "[module:]function"   offset
    fentry, fexit "module:function", "bpf:id:name"
    iter          "[module:]task"            symbol (path to pin it at, or nothing)
    uprobe, uretprobe  path                  symbol, offset (in the file), by kind
    usdt          path                       symbol ("provider:name"), offset, semaphore
    profile, interval  ""                    period ns, or frequency Hz
    software, hardware ""                    config (PERF_COUNT_SW_*/HW_*), period in events
    watchpoint    ""                         offset (the address), length, config (HW_BREAKPOINT_*)
    """

    kind: str
    name: str  # as `probe` shows it
    target: str = ""
    symbol: str = ""
    offset: int = 0  # bytes; uprobe: offset in the file of the address to break at
    period: int = 0
    frequency: int = 0
    config: int = 0
    cookie: int = 0  # what bpf_get_attach_cookie gives: index in ProbeInfo.names
    length: int = 0  # bytes; watchpoint
    semaphore: int = 0  # usdt: offset in the file of a uint16 that counts who traces; 0: none
    place: Place | None = None


@dataclass(slots=True)
class ProbeInfo:
    """A program and where it goes. Fewer attachments may serve more matches, or more fewer."""

    program: str
    attachments: tuple[Attach, ...]
    names: tuple[str, ...]  # full name of each match, by the program's probe id
    repeated: int = 0  # names that another program of the same probe serves in other places

    @property
    def matches(self) -> int:
        return len(self.names) - self.repeated


@dataclass(frozen=True, slots=True)
class Event:
    """A record in a ring: uint64 index of this event, then the fields.

    Records that steer have a ring of their own, so that no flood of others can lose them. They end
    with a uint64: how far programs had filled the other ring, in bytes since the start. What lies
    before it there comes first.

    kind          fields                       text, more
    printf        the arguments                the format
    errorf, warnf the arguments                the format; place
    print         the value                    -
    print_map     -                            map; top, divisor
    print_element key, value                   map
    clear, zero   -                            map
    time          -                            strftime(3) format
    cat, system   the arguments                the format
    join          up to 16 strings             separator
    exit          int64 code                   -
    runtime_error -                            message; place
    helper_error  int32 return code            message, helper; place
    """

    kind: str
    fields: tuple[Type, ...] = ()
    offsets: tuple[int, ...] = ()  # from the start of the record, header included
    size: int = EVENT_HEADER  # of the whole record, a multiple of 8
    text: str = ""
    map: str = ""
    top: int = 0
    divisor: int = 0
    helper: str = ""
    place: Place | None = None

    @property
    def steers(self) -> bool:
        """Whether the run depends on it: it must not be lost."""
        return self.kind in STEERING


@dataclass(frozen=True, slots=True)
class Settings:
    """Configuration that user space acts on (LANGUAGE §8.3)."""

    print_maps_on_exit: bool = True
    str_trunc_trailer: str = ".."
    max_cat_bytes: int = 10240
    cpp_demangle: bool = True
    missing_probes: str = "error"
    cache_user_symbols: str = "PER_PID"
    show_debug_info: bool = False
    perf_rb_pages: int = 0  # 0: chosen from memory
    log_size: int = 1000000
    license: str = "GPL"


@dataclass(slots=True)
class Manifest:
    probes: list[ProbeInfo] = field(default_factory=list)
    maps: list[MapDef] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    structs: dict[str, tuple[Field, ...]] = field(default_factory=dict)  # those that are printed
    enums: dict[str, dict[int, str]] = field(default_factory=dict)  # those that are printed
    settings: Settings = field(default_factory=Settings)
    unsafe: bool = False

    @property
    def shows_user_code(self) -> bool:
        """Whether some value is a stack or symbol of a process."""
        values = [t for m in self.maps for t in (m.key, m.value) if t]
        values += [t for event in self.events for t in event.fields]
        user = (Stack, Symbol)
        return any(isinstance(t, user) and t.kind == "user" for v in values for t in parts(v))


@dataclass(frozen=True, slots=True)
class Relocation:
    """The ld_imm64 or call at slot `instruction` needs an address: of `name`, plus `addend`.

    kind: map (the map's descriptor), map_value (address inside its first value), call (BPF to BPF,
    imm is relative), callback (ld_imm64 of a function's address), kfunc. Only between a backend and
    `backends.assemble`: core (any immediate), whose name is a question of core_relocations.
    """

    instruction: int
    kind: str
    name: str
    addend: int = 0


@dataclass(frozen=True, slots=True)
class CoreRelocation:
    """What the loader takes from the kernel's BTF for `instruction`: struct bpf_core_relo.

    kind: core_relocations.CoreKind; type: id in `Artifact.btf`; access: indexes into it.
    """

    instruction: int
    kind: int
    type: int
    access: str


@dataclass(frozen=True, slots=True)
class Line:
    """From `instruction` on (8-byte slots), the code comes from this place of the script.

    `file` and `text` are offsets of strings in `Artifact.btf` (struct bpf_line_info).
    """

    instruction: int
    line: int
    column: int
    file: int = 0
    text: int = 0


@dataclass(slots=True)
class CodeFunction:
    """Machine code of one function, little-endian 8-byte slots."""

    name: str
    code: bytes
    relocations: tuple[Relocation, ...] = ()
    lines: tuple[Line, ...] = ()
    core: tuple[CoreRelocation, ...] = ()
    type_id: int = 0  # of its FUNC in `Artifact.btf`; 0: it has none


def in_c(name: str) -> str:
    """What a function or map of imported C, such as `add.bpf.c:plus1`, is called there."""
    return name.rpartition(":")[2]


@dataclass(slots=True)
class Program:
    """What BPF_PROG_LOAD takes: an entry function, then all that it reaches by relocation."""

    name: str
    type: ProgramType
    section: str  # libbpf's convention, e.g. "tracepoint/sched/sched_switch"
    functions: tuple[str, ...]  # the first is the entry


@dataclass(frozen=True, slots=True)
class Assumption:
    """What must be on the kernel that runs an artifact as it was on the one compiled for.

    kind        name                              value
    release     ""                                of the kernel, 6.12.0
    layout      struct S                          see core_relocations.layout
    answer      a question of core_relocations    the number
    tracepoint  category:event:field              its offset in the record
    parameter   function:name                     index of its register
    constant    of an enum without a name         the number; the kernel may not know the name
    symbol      of the kernel                     its address
    cgroup      path                              its id
    """

    kind: str
    name: str
    value: str


@dataclass(slots=True)
class Artifact:
    """Everything a run needs. `backends.elf` makes it an object that libbpf loads, and back."""

    programs: list[Program]
    functions: dict[str, CodeFunction]
    manifest: Manifest
    rodata: bytes = b""
    btf: bytes = b""  # types of functions and maps, and the strings of the line table
    source_name: str = ""
    source_text: str = ""
    assumes: tuple[Assumption, ...] = ()
    kernel_enums: tuple[str, ...] = ()  # whose names in the manifest another kernel's replace
