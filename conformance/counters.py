"""Machine code that counts what it executes: at the head of each basic block, its length is added
to a counter of the function.

    if r1 == 0 goto L  →  r2 = counters[.executed]; r3 = 4; lock *(u64 *)(r2 +0) += r3; if r1 == …

The two registers are ones whose values nobody needs there, else one that is put on the stack and
back. What is added is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from bpfscript.backends import isa
from bpfscript.backends.isa import LD_IMM64, LDX, R0, R10, STX, Insn
from bpfscript.backends.registers import made_by, used_by
from bpfscript.ir.helpers import HELPERS
from bpfscript.manifest import Artifact, CodeFunction, MapDef, MapType, Relocation

MAP = ".executed"
WORDS = 2  # for each function: instructions executed, calls
_MEM, _ATOMIC, _U64 = 0x60, 0xC0, 0x18
_NUMBERS = {row.number: row.args for row in HELPERS.values() if row.number}
_KFUNCS = {row.kfunc: row.args for row in HELPERS.values() if row.kfunc}
_ALL = (1 << R10) - 1


class NoRoom(Exception):
    """A function has no stack left for a register that has to be put aside."""


def instrument(artifact: Artifact) -> Artifact:
    """The artifact with counters in its functions and the map for them. Raises NoRoom."""
    needed = _arguments(artifact)
    functions = {
        name: _Function(function, needed).counted(8 * WORDS * n)
        for n, (name, function) in enumerate(artifact.functions.items())
    }
    size = 8 * WORDS * len(functions)
    made = MapDef(MAP, MapType.ARRAY, None, None, 4, size, 1)
    manifest = replace(artifact.manifest, maps=[*artifact.manifest.maps, made])
    return replace(artifact, functions=functions, manifest=manifest)


def _arguments(artifact: Artifact) -> dict[str, int]:
    """Registers that each function takes something in, as bits, once nothing changes any more."""
    found = dict.fromkeys(artifact.functions, 0)
    while True:
        now = {n: _Function(f, found).live[0] & 0x3E for n, f in artifact.functions.items()}
        if now == found:
            return found
        found = now


@dataclass
class _Slot:
    """An instruction at its slot, and where it may go on."""

    at: int
    insn: Insn
    next: list[int]


class _Function:
    """`live`: registers whose values are needed before each slot, as bits."""

    def __init__(self, function: CodeFunction, arguments: dict[str, int]) -> None:
        self.function, self.arguments = function, arguments
        self.names = {r.instruction: r for r in function.relocations}
        self.slots: dict[int, _Slot] = {}
        at = 0
        for insn in isa.decode(function.code):
            self.slots[at] = _Slot(at, insn, list(_following(at, insn)))
            at += insn.slots
        self.end = at
        self.live = self._liveness()

    def _liveness(self) -> dict[int, int]:
        live, changed = dict.fromkeys(self.slots, 0), True
        while changed:
            changed = False
            for slot in reversed(self.slots.values()):
                after = 0
                for following in slot.next:
                    after |= live[following]
                uses, makes = self._effect(slot)
                now = after & ~makes | uses
                if now != live[slot.at]:
                    live[slot.at], changed = now, True
        return live

    def _effect(self, slot: _Slot) -> tuple[int, int]:
        """Registers that an instruction uses, and that it makes, as bits; r10 left out."""
        uses = self._called(slot) if slot.insn.code == isa.CALL else used_by(slot.insn)
        return uses & _ALL, made_by(slot.insn) & _ALL

    def _called(self, slot: _Slot) -> int:
        found = self.names.get(slot.at)
        if found and found.kind == "call":
            return self.arguments[found.name]
        args = _KFUNCS.get(found.name, 5) if found else _NUMBERS[slot.insn.imm]
        return (1 << args + 1) - 2

    def _blocks(self) -> dict[int, int]:
        """Slot of each block's head → instructions in the block."""
        heads = {0}
        for slot in self.slots.values():
            if slot.insn.jumps:
                heads |= set(slot.next)
            if slot.insn.jumps or slot.insn.code == isa.EXIT:
                heads.add(slot.at + slot.insn.slots)
        lengths: dict[int, int] = {}
        head = 0
        for at in self.slots:
            head = at if at in heads else head
            lengths[head] = lengths.get(head, 0) + 1
        return lengths

    def counted(self, counter: int) -> CodeFunction:
        """The same function, counting at `counter` of the map."""
        room = isa.stack_use(slot.insn for slot in self.slots.values())
        heads: dict[int, list[Insn]] = {
            at: list(self._prefix(at, length, counter, room))
            for at, length in self._blocks().items()
        }
        moved, starts, now = {}, {}, 0
        for at, slot in self.slots.items():
            starts[at] = now
            now += sum(i.slots for i in heads.get(at, ()))
            moved[at] = now
            now += slot.insn.slots
        code, relocations = list[Insn](), list[Relocation]()
        for at, slot in self.slots.items():
            here = starts[at]
            for insn in heads.get(at, ()):
                if insn.code == LD_IMM64:
                    relocations.append(Relocation(here, "map_value", MAP, insn.imm))
                code.append(insn)
                here += insn.slots
            if slot.insn.jumps:
                to = starts[at + 1 + slot.insn.off]
                code.append(replace(slot.insn, off=to - moved[at] - 1))
            else:
                code.append(slot.insn)
        f = self.function
        relocations += [replace(r, instruction=moved[r.instruction]) for r in f.relocations]
        return replace(
            f,
            code=isa.encode(code),
            relocations=tuple(sorted(relocations, key=lambda r: r.instruction)),
            lines=tuple(replace(n, instruction=starts[n.instruction]) for n in f.lines),
            core=tuple(replace(r, instruction=moved[r.instruction]) for r in f.core),
        )

    def _prefix(self, at: int, length: int, counter: int, room: int) -> Iterator[Insn]:
        live = self.live[at]
        free = [r for r in range(R0, R10) if not live >> r & 1]
        saved = [r for r in range(R0, R10) if live >> r & 1][: max(2 - len(free), 0)]
        place = -((room + 7) // 8 * 8)
        if saved and place - 8 * len(saved) < -isa.STACK_LIMIT:
            raise NoRoom(self.function.name)
        where, what = (free + saved)[:2]
        for n, register in enumerate(saved):
            yield Insn(STX | _MEM | _U64, R10, register, place - 8 * (n + 1))
        for offset, amount in ((0, length), (8, 1 if at == 0 else 0)):
            if amount:
                yield Insn(LD_IMM64, where, imm=counter + offset)
                yield Insn(isa.MOV64_IMM, what, imm=amount)
                yield Insn(STX | _ATOMIC | _U64, where, what)
        for n, register in enumerate(saved):
            yield Insn(LDX | _MEM | _U64, register, R10, place - 8 * (n + 1))


def _following(at: int, insn: Insn) -> Iterator[int]:
    if insn.code != isa.EXIT and insn.code != isa.JA:
        yield at + insn.slots
    if insn.jumps:
        yield at + 1 + insn.off
