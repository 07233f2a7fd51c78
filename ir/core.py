"""Values, instructions, blocks, functions, modules: the IR's data and nothing that works on it.

SSA with block parameters: a value is made by one instruction or is a parameter of one block, and a
jump hands over the arguments of the block it goes to. Passes change functions in place.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.c_library import CLibrary
from bpfscript.diagnostics import Span
from bpfscript.ir.types import Type
from bpfscript.manifest import Event, MapDef, ProbeInfo, ProgramType
from bpfscript.plain import dataclass, field

Attr = int | str | bytes | tuple[int, ...]


@dataclass(eq=False, slots=True)
class Value:
    type: Type


@dataclass(eq=False, slots=True)
class Edge:
    """A way out of a block: where to, and what its parameters become."""

    block: Block
    args: list[Value] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Instr:
    """One row of `ops.OPS`, applied. Terminators have `targets`, nothing else has."""

    op: str
    args: list[Value] = field(default_factory=list)
    attrs: dict[str, Attr] = field(default_factory=dict)
    result: Value | None = None
    targets: list[Edge] = field(default_factory=list)
    span: Span | None = None


@dataclass(eq=False, slots=True)
class Block:
    """Instructions, the last of which is the terminator."""

    name: str
    params: list[Value] = field(default_factory=list)
    instrs: list[Instr] = field(default_factory=list)

    @property
    def terminator(self) -> Instr:
        return self.instrs[-1]


@dataclass(slots=True)
class Entry:
    """What makes a function a program: how the kernel calls it, and for which probes."""

    type: ProgramType
    section: str
    kind: str  # probe kind, as in manifest.Attach.kind, or "syscall_enter", "syscall_exit"
    probe: ProbeInfo
    # Raw syscall tracepoints: syscall number -> probe id; the program ends at once for any other.
    syscalls: dict[int, int] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class Function:
    """A program (`entry`) with the one parameter ctx, or a callback."""

    name: str
    params: list[Value]  # those of the first block, too
    blocks: list[Block] = field(default_factory=list)  # the first is where it starts
    entry: Entry | None = None

    def instructions(self) -> Iterator[Instr]:
        for block in self.blocks:
            yield from block.instrs


@dataclass(frozen=True, slots=True)
class Choice:
    """How a thing is done, and why so."""

    how: str
    why: str


@dataclass(eq=False, slots=True)
class Module:
    """A script in IR. `emit` names an event by its index in `events`."""

    functions: list[Function] = field(default_factory=list)
    maps: dict[str, MapDef] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    warnings: int = 1  # which helper failures are reported: see frontend.typed.Options.warnings
    split: bool = False  # whether a map's entries may be in two: see passes.near_keys
    portable: bool = False  # offsets of the kernel's structs are `core` operations
    assumes: dict[tuple[str, str], str] = field(default_factory=dict)  # manifest.Assumption
    plan: dict[tuple[str, str], Choice] = field(default_factory=dict)  # (what, where) -> choice
    library: CLibrary = field(default_factory=CLibrary)  # of imported C, for `call_c`
    known: dict[Event, int] = field(default_factory=dict)  # events that have an index

    def event_index(self, event: Event) -> int:
        """The index of an event, which is added unless there is one like it."""
        for index in range(len(self.known), len(self.events)):
            self.known.setdefault(self.events[index], index)
        if event not in self.known:
            self.known[event] = len(self.events)
            self.events.append(event)
        return self.known[event]

    def chose(self, what: str, where: str, how: str, why: str) -> None:
        """Record a choice that a pass makes, for `-d plan`. The last for a thing is what holds."""
        self.plan[what, where] = Choice(how, why)
