"""Programs assembled by hand, and sessions that run them and note what they say."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from bpfscript.manifest import (
    Artifact,
    Attach,
    CodeFunction,
    Event,
    Internal,
    Manifest,
    MapDef,
    MapType,
    ProbeInfo,
    Program,
    ProgramType,
    Relocation,
    Settings,
)
from bpfscript.runtime.entries import Entry
from bpfscript.runtime.ringbuf import Run
from bpfscript.runtime.session import Session
from bpfscript.types import INT64, UINT64

R0, R1, R2, R3, R4, R10 = 0, 1, 2, 3, 4, 10


class Assembler:
    """A few instructions, enough for the programs below."""

    def __init__(self) -> None:
        self.code = b""
        self.relocations: list[Relocation] = []

    def emit(self, op: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> Assembler:
        self.code += struct.pack("<BBhi", op, src << 4 | dst, offset, imm)
        return self

    def move(self, dst: int, imm: int) -> Assembler:
        return self.emit(0xB7, dst, imm=imm)

    def copy(self, dst: int, src: int, plus: int = 0) -> Assembler:
        self.emit(0xBF, dst, src)
        return self.emit(0x07, dst, imm=plus) if plus else self

    def store(self, offset: int, imm: int) -> Assembler:
        return self.emit(0x7A, R10, offset=offset, imm=imm)  # *(u64 *)(r10 + offset) = imm

    def address(self, dst: int, name: str, kind: str = "map", addend: int = 0) -> Assembler:
        self.relocations.append(Relocation(len(self.code) // 8, kind, name, addend))
        return self.emit(0x18, dst).emit(0)

    def call(self, helper: int) -> Assembler:
        return self.emit(0x85, imm=helper)

    def send(self, *words: int) -> Assembler:
        """Put a record of uint64s into the ring."""
        for i, word in enumerate(words):
            self.store(-8 * (len(words) - i), word)
        self.address(R1, Internal.EVENTS).copy(R2, R10, -8 * len(words))
        return self.move(R3, 8 * len(words)).move(R4, 0).call(130)  # ringbuf_output

    def add(self, name: str, addend: int = 0) -> Assembler:
        """Add 1 to a uint64 in a map's first value."""
        return self.address(R1, name, "map_value", addend).move(R2, 1).emit(0xDB, R1, R2)

    def set(self, name: str, key: int, value: int) -> Assembler:
        """Update an element with uint64 key and value."""
        self.store(-8, key).store(-16, value).address(R1, name)
        self.copy(R2, R10, -8).copy(R3, R10, -16)
        return self.move(R4, 0).call(2)  # map_update_elem

    def function(self, name: str) -> CodeFunction:
        self.move(R0, 0).emit(0x95)
        return CodeFunction(name, self.code, tuple(self.relocations))


RING = MapDef(Internal.EVENTS, MapType.RINGBUF, None, None, 0, 0, 0)
COUNT = MapDef("@n", MapType.ARRAY, None, UINT64, 4, 8, 1)
HASH = MapDef("@h", MapType.HASH, UINT64, UINT64, 8, 8, 64)
TALK = [
    Event("exit", (INT64,), (8,), 16),
    Event("printf", (INT64,), (8,), 16, "%d\n"),
    Event("print_map", map="@h", top=3),
    Event("clear", map="@h"),
    Event("zero", map="@h"),
    Event("system", text="true"),
]
EXIT, PRINTF, PRINT_MAP, CLEAR, ZERO, SYSTEM = range(6)

BEGIN, END = Attach("begin", "begin"), Attach("end", "end")
SIGUSR1 = Attach("self", "self:signal:SIGUSR1", "SIGUSR1")
TICK = Attach("interval", "interval:ms:5", period=5_000_000)
GETPID = Attach("tracepoint", "tracepoint:syscalls:sys_enter_getppid", "syscalls:sys_enter_getppid")
TYPES = {
    "tracepoint": ProgramType.TRACEPOINT,
    "interval": ProgramType.PERF_EVENT,
    "profile": ProgramType.PERF_EVENT,
    "software": ProgramType.PERF_EVENT,
    "hardware": ProgramType.PERF_EVENT,
    "uprobe": ProgramType.KPROBE,
    "uretprobe": ProgramType.KPROBE,
    "kprobe": ProgramType.KPROBE,
}


def artifact(
    *probes: tuple[Attach | list[Attach], Assembler],
    maps: list[MapDef] | None = None,
    settings: Settings | None = None,
) -> Artifact:
    programs, functions, infos = [], {}, []
    for number, (places, code) in enumerate(probes):
        places = places if isinstance(places, list) else [places]
        name = f"p{number}"
        kind = TYPES.get(places[0].kind, ProgramType.RAW_TRACEPOINT)
        programs.append(Program(name, kind, "", (name,)))
        functions[name] = code.function(name)
        infos.append(ProbeInfo(name, tuple(places), tuple(p.name for p in places)))
    manifest = Manifest(infos, [RING, COUNT, HASH] if maps is None else maps, TALK)
    manifest.settings = settings or Settings(perf_rb_pages=4)
    return Artifact(programs, functions, manifest)


class Notes:
    """A printer that takes notes."""

    def __init__(self) -> None:
        self.lines: list[object] = []

    def prepare(self) -> None:
        pass

    def attached(self, count: int) -> None:
        self.lines.append(("attached", count))

    def pinned(self, path: str) -> None:
        self.lines.append(("pinned", path))

    def event(self, event: Event, data: memoryview) -> None:
        self.lines.append(int.from_bytes(data[8:16], "little"))

    def run(self, event: Event, run: Run) -> None:
        for data in run.records():
            self.event(event, data)

    def shown(self, text: memoryview) -> None:
        self.lines.append(bytes(text))

    def map(
        self, definition: MapDef, entries: Sequence[Entry], top: int = 0, divisor: int = 1
    ) -> None:
        numbers = {k.hex(): [int.from_bytes(v[:8], "little") for v in vs] for k, vs in entries}
        self.lines.append((definition.name, numbers))

    def element(self, definition: MapDef, values: list[bytes] | None) -> None:
        self.lines.append((definition.name, values))

    def lost(self, count: int) -> None:
        self.lines.append(("lost", count))

    def end(self) -> None:
        self.lines.append("end")

    def finish(self, total_lost: int) -> None:
        self.lines.append(("finish", total_lost))

    def flush(self) -> None:
        pass

    @property
    def numbers(self) -> list[int]:
        return [line for line in self.lines if isinstance(line, int)]


def run(made: Artifact, **options: object) -> tuple[int, Notes]:
    notes = Notes()
    with Session(made, notes, **options) as session:  # type: ignore[arg-type]
        session.load()
        session.attach()
        return session.run(), notes


def key(number: int) -> str:
    return struct.pack("<Q", number).hex()


# what the kernel does
