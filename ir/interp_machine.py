"""The machine that the interpreter runs programs on, and what they leave there."""

from __future__ import annotations

from bpfscript.arch import ARCHES
from bpfscript.ir.core import Entry, Module
from bpfscript.ir.interp_maps import MapStore
from bpfscript.manifest import ERRORS, Internal
from bpfscript.plain import dataclass, field

REGISTER_FILE = 0xFFFF_C900_0000_3F58  # address of a system call's struct pt_regs

SAMPLED = ("profile", "interval", "software", "hardware", "watchpoint")
FUNCTIONS = ("kprobe", "kretprobe", "uprobe", "uretprobe", "usdt")
RAW = ("rawtracepoint", "raw_tracepoint", "fentry", "fexit")
SYSCALLS = ("syscall_enter", "syscall_exit")


@dataclass
class Machine:
    """State before a run, in the first part; what runs leave, in the second.

    Functions, samples and system calls get a context made from `registers`, raw tracepoints from
    `arguments`; `ctx` is everyone else's. Memory is chunks: address to bytes. Clocks stand still,
    so that a call more or less changes nothing.
    """

    arch: str = "x86_64"
    cpus: int = 2
    cpu: int = 0
    ctx: bytes = bytes(64)
    registers: dict[str, int] = field(default_factory=dict)  # by name in arch.py; others are 0
    arguments: tuple[int, ...] = ()
    function_address: int = 0xFFFF_FFFF_8100_0000
    cookie: int = 0
    pid_tgid: int = 1234 << 32 | 1235
    uid_gid: int = 1000 << 32 | 1001
    comm: bytes = b"worker"
    task: int = 0xFFFF_8880_0000_1000
    cgroup: int = 1
    numa_node: int = 0
    random: int = 4
    clocks: dict[str, int] = field(
        default_factory=lambda: {
            "ktime_get_ns": 1_000_000_007,
            "ktime_get_boot_ns": 2_000_000_011,
            "ktime_get_tai_ns": 1_700_000_000_000_000_013,
            "jiffies64": 4_294_967_500,
        }
    )
    kernel: dict[int, bytes] = field(default_factory=dict)
    user: dict[int, bytes] = field(default_factory=dict)
    stacks: dict[str, tuple[int, ...]] = field(default_factory=dict)  # "kernel", "user": frames
    ring_room: int | None = None  # records that still fit the ring; None: any number
    iterations: int = 1 << 16  # how often may_continue says yes

    maps: dict[str, MapStore] = field(default_factory=dict)
    events: list[bytes] = field(default_factory=list)  # records, as Event lays them out
    errors: int = 0  # runtime errors that high operations met; legal IR sends events instead
    lost: int = 0  # likewise, events that found the ring full
    effects: list[tuple[str, int]] = field(default_factory=list)  # signals, overridden results

    def prepare(self, module: Module) -> None:
        """Make the module's maps, unless a run before has."""
        for name, definition in module.maps.items():
            if name not in self.maps:
                self.maps[name] = MapStore(definition, self.cpus)

    def context(self, entry: Entry | None) -> bytes:
        """What the program's parameter points to."""
        kind = entry.kind if entry else ""
        if kind in SAMPLED or kind in FUNCTIONS:
            return self.register_file().ljust(len(self.ctx), b"\0")
        if kind in RAW:
            return _words(*self.arguments, *[0] * (12 - len(self.arguments)))
        if kind in SYSCALLS:
            self.kernel[REGISTER_FILE] = self.register_file()
            arch = ARCHES[self.arch]
            second = arch.syscall_number if kind == "syscall_enter" else arch.return_value
            return _words(REGISTER_FILE, self.register(second))
        return self.ctx

    def register(self, name: str) -> int:
        """Value of a register; aliases share their row's offset."""
        offsets = ARCHES[self.arch].registers
        for given, value in self.registers.items():
            if offsets[given] == offsets[name]:
                return value
        return 0

    def register_file(self) -> bytes:
        by_offset = {o: n for n, o in ARCHES[self.arch].registers.items()}
        return _words(*(self.register(by_offset[o]) for o in sorted(by_offset)))

    def peek(self, space: str, address: int, size: int) -> bytes | None:
        """Bytes of kernel or user memory; None if some are not there."""
        for start, data in (self.user if space == "user" else self.kernel).items():
            if start <= address and address + size <= start + len(data):
                return data[address - start : address - start + size]
        return None

    def peek_string(self, space: str, address: int, limit: int) -> bytes | None:
        """At most `limit` bytes with the NUL that ends them, which replaces the last if need be."""
        text = b""
        while len(text) + 1 < limit:
            byte = self.peek(space, address + len(text), 1)
            if byte is None:
                return None
            if byte == b"\0":
                break
            text += byte
        return text + b"\0" if limit > 0 else b""

    def send(self, record: bytes) -> bool:
        """Put a record into the ring; False if it is full."""
        if self.ring_room is not None:
            if self.ring_room == 0:
                return False
            self.ring_room -= 1
        self.events.append(record)
        return True


@dataclass(frozen=True)
class Outcome:
    """What user space can tell of runs. Equal for a module before and after any pass.

    Failures of helpers are left out, for only legal IR knows of them.
    """

    events: tuple[bytes, ...]
    errors: int
    lost: int
    maps: dict[str, dict[bytes, tuple[bytes, ...]]]
    effects: tuple[tuple[str, int], ...]


def outcome(module: Module, machine: Machine) -> Outcome:
    """What has happened on a machine that ran functions of this module."""
    kinds = [module.events[int.from_bytes(e[:8], "little")].kind for e in machine.events]
    pairs = list(zip(kinds, machine.events, strict=True))
    lost = machine.maps.get(Internal.LOST)
    slots = range(lost.definition.max_entries) if lost else ()
    counted = [region for n in slots if lost for region in lost.values(n.to_bytes(4, "little"))]
    return Outcome(
        events=tuple(_fields(module, e) for k, e in pairs if k not in ERRORS),
        errors=machine.errors + kinds.count("runtime_error"),
        lost=machine.lost + sum(int.from_bytes(r.data, "little") for r in counted),
        maps={n: m.contents() for n, m in machine.maps.items() if n.startswith("@")},
        effects=tuple(machine.effects),
    )


def _fields(module: Module, record: bytes) -> bytes:
    """Without what only legal IR adds: a position at the end of a record that steers."""
    return record[: module.events[int.from_bytes(record[:8], "little")].size]


def _words(*values: int) -> bytes:
    return b"".join((v % 2**64).to_bytes(8, "little") for v in values)
