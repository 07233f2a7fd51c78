"""Not too many values are needed at once: the others wait in memory.

    %a = load …; … (50 more) …; store %r, %a {off=8}
    →  %s = slot {size=8}; %a = load …; store %s, %a; … ; %b = load %s; store %r, %b {off=8}

Registers outlive no call but four, and what a code generator spills is stack, of which there are
512 bytes for a chain of calls. Slots may leave the stack (see `stack_slots`), and by then LLVM
cannot say what it spills. Where more than a limit of values are live, the integers whose next use
is farthest away (Belady) go to slots. Cost: that of liveness.
"""

from __future__ import annotations

from bisect import bisect_left

from bpfscript.ir.core import Block, Function, Instr, Module, Value
from bpfscript.ir.types import I1, STACK, I
from bpfscript.target import Target

from .chains import chain_lengths
from .liveness import Liveness
from .values import operands

LIMIT = 20  # values
_WORDS = 512 // 8  # of stack, for a chain of calls


def spill(module: Module, target: Target) -> None:
    depth = chain_lengths(module)
    for function in module.functions:
        surplus = _surplus(Liveness(function), min(LIMIT, _WORDS // depth[function.name] + 1))
        if surplus:
            _to_memory(function, surplus)


def _surplus(liveness: Liveness, limit: int) -> list[Value]:
    """Integers to keep in memory, from the places where too many values are live."""
    found: list[Value] = []
    kept = -1  # all bits but those of the values found
    for block in liveness.graph.order:
        live, uses = liveness.live_out(block) & kept, None
        for at in range(len(block.instrs) - 1, -1, -1):
            live = liveness.before(block.instrs[at], live) & kept
            if live.bit_count() > limit:
                uses = uses or _uses(block)
                excess = live.bit_count() - limit
                for value in _farthest(block, at, uses, list(liveness.members(live)))[:excess]:
                    found.append(value)
                    kept &= ~liveness.bits[value]
                live &= kept
    return found


def _uses(block: Block) -> dict[Value, list[int]]:
    """Where each value is used, in order."""
    uses: dict[Value, list[int]] = {}
    for at, instr in enumerate(block.instrs):
        for value in operands(instr):
            uses.setdefault(value, []).append(at)
    return uses


def _farthest(
    block: Block, at: int, uses: dict[Value, list[int]], live: list[Value]
) -> list[Value]:
    """Those that may wait: not used at this place, the farthest next use first."""

    def next_use(value: Value) -> int:
        places = uses.get(value, [])
        index = bisect_left(places, at)
        return places[index] if index < len(places) else len(block.instrs)

    waiting = [v for v in live if isinstance(v.type, I) and v.type != I1 and next_use(v) > at]
    return sorted(waiting, key=lambda v: -next_use(v))


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
