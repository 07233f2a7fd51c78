"""Not too many values are needed at once: the others wait in memory.

    %a = load …; … (50 more) …; store %r, %a {off=8}
    →  %s = slot {size=8}; %a = load …; store %s, %a; … ; %b = load %s; store %r, %b {off=8}

Registers outlive no call but four, and what a code generator spills is stack, of which there are
512 bytes. Slots may leave the stack (see `stack_slots`), and by then LLVM cannot say what it
spills. Where more than LIMIT values are live, the integers whose next use is farthest away (Belady)
go to slots. Cost: that of liveness for each place that has too many.
"""

from __future__ import annotations

from bpfscript.ir.core import Block, Function, Instr, Value
from bpfscript.ir.types import I1, STACK, I

from .liveness import Liveness
from .values import operands

LIMIT = 20


def spill(function: Function) -> None:
    while surplus := _surplus(Liveness(function)):
        _to_memory(function, surplus)


def _surplus(liveness: Liveness) -> list[Value]:
    """Integers to keep in memory, because of the first place where too many values are live."""
    for block in liveness.graph.order:
        live = liveness.live_out(block)
        for at in range(len(block.instrs) - 1, -1, -1):
            live = liveness.before(block.instrs[at], live)
            excess = live.bit_count() - LIMIT
            if excess > 0 and (found := _farthest(block, at, list(liveness.members(live)))):
                return found[:excess]
    return []


def _farthest(block: Block, at: int, live: list[Value]) -> list[Value]:
    """Those that may wait: not used at this place, the farthest next use first."""
    uses: dict[Value, int] = {}
    for distance, instr in enumerate(block.instrs[at:]):
        for value in operands(instr):
            uses.setdefault(value, distance)
    far = len(block.instrs)
    waiting = [v for v in live if isinstance(v.type, I) and v.type != I1 and uses.get(v, far)]
    return sorted(waiting, key=lambda v: -uses.get(v, far))


def _to_memory(function: Function, values: list[Value]) -> None:
    slots = {value: Value(STACK) for value in values}
    for block in function.blocks:
        instrs = [Instr("store", [slots[p], p], {"off": 0}) for p in block.params if p in slots]
        for instr in block.instrs:
            loaded = {v: Value(v.type) for v in operands(instr) if v in slots}
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
    function.blocks[0].instrs[:0] = [Instr("slot", [], {"size": 8}, s) for s in slots.values()]
