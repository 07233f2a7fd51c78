"""Not too many values are needed at once: the others wait in memory.

    %a = load …; … (50 more) …; store %r, %a {off=8}
    →  %s = slot {size=8}; %a = load …; store %s, %a; … ; %b = load %s; store %r, %b {off=8}

Registers outlive no call but four, and what a code generator spills is stack, of which there are 512
bytes. Slots may leave the stack (see `stack_slots`), and by then LLVM cannot say what it spills.
Where more than LIMIT integers are live, those whose next use is farthest away (Belady) go to slots.
Liveness by backward data flow over sets as bits. Cost: blocks times values / 64 for each round.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Function, Instr, Value
from bpfscript.ir.types import I1, STACK, I

from .values import operands

LIMIT = 20
_FREE = frozenset(("const", "slot", "map_ptr", "map_value", "rodata", "func_ptr"))
"""Made again where they are used."""


def spill(function: Function) -> None:
    while surplus := _Liveness(function).surplus():
        _to_memory(function, surplus)


class _Liveness:
    def __init__(self, function: Function) -> None:
        self.graph = Graph(function)
        params = [p for b in function.blocks for p in b.params]
        made = [i.result for i in function.instructions() if i.result and i.op not in _FREE]
        self.values = params + made
        self.bits = {value: 1 << n for n, value in enumerate(self.values)}
        self.live_in = self._solve()

    def _solve(self) -> dict[Block, int]:
        live_in: dict[Block, int] = {}
        changed = True
        while changed:
            changed = False
            for block in reversed(self.graph.order):
                live = self._out(block, live_in)
                for instr in reversed(block.instrs):
                    live = self._before(instr, live)
                for param in block.params:
                    live &= ~self.bits[param]
                if live_in.get(block) != live:
                    live_in[block] = live
                    changed = True
        return live_in

    def _out(self, block: Block, live_in: dict[Block, int]) -> int:
        live = 0
        for edge in block.terminator.targets:
            live |= live_in.get(edge.block, 0)
        return live

    def _before(self, instr: Instr, live: int) -> int:
        if instr.result:
            live &= ~self.bits.get(instr.result, 0)
        for value in operands(instr):
            live |= self.bits.get(value, 0)
        return live

    def surplus(self) -> list[Value]:
        """Integers to keep in memory, because of the first place where too many values are live."""
        for block in self.graph.order:
            live = self._out(block, self.live_in)
            for at in range(len(block.instrs) - 1, -1, -1):
                live = self._before(block.instrs[at], live)
                if live.bit_count() > LIMIT and (found := self._farthest(block, at, live)):
                    return found
        return []

    def _farthest(self, block: Block, at: int, live: int) -> list[Value]:
        """Those not used here, the farthest next use first, as many as there are too many."""
        uses: dict[Value, int] = {}
        for distance, instr in enumerate(block.instrs[at:]):
            for value in operands(instr):
                uses.setdefault(value, distance)
        far = len(block.instrs)
        waiting = [v for v in self.values if live & self.bits[v] and _can_wait(v)]
        waiting = [v for v in waiting if uses.get(v, far)]
        waiting.sort(key=lambda v: -uses.get(v, far))
        return waiting[: live.bit_count() - LIMIT]


def _can_wait(value: Value) -> bool:
    return isinstance(value.type, I) and value.type != I1


def _to_memory(function: Function, values: list[Value]) -> None:
    slots = {value: Value(STACK) for value in values}
    for block in function.blocks:
        instrs = [Instr("store", [slots[p], p], {"off": 0}) for p in block.params if p in slots]
        for instr in block.instrs:
            used = dict.fromkeys(v for v in operands(instr) if v in slots)
            loaded = {v: Value(v.type) for v in used}
            instrs += [
                Instr("load", [slots[v]], {"off": 0}, new, span=instr.span)
                for v, new in loaded.items()
            ]
            instr.args = [loaded.get(a, a) for a in instr.args]
            for edge in instr.targets:
                edge.args = [loaded.get(a, a) for a in edge.args]
            instrs.append(instr)
            if instr.result in slots:
                instrs.append(Instr("store", [slots[instr.result], instr.result], {"off": 0}))
        block.instrs = instrs
    made = [Instr("slot", [], {"size": 8}, slot) for slot in slots.values()]
    function.blocks[0].instrs[:0] = made
