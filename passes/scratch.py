"""Slots become places in the per-CPU scratch memory.

    %c = slot {size=1024}; … store %c, %v {off=8}
    →  %p = call map_lookup_elem .scratch …; … %c = ptr_add %p, 64; store %c, %v {off=8}

A program that leaves early, by its predicate or for a foreign system call, pays nothing: the
look-up stands just above the uses. Cost: linear, and that of loops.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Edge, Function, Instr, Value
from bpfscript.ir.types import I1, I32, I64, MAP, MAP_OBJECT, STACK
from bpfscript.manifest import Internal

from .values import operands, use_blocks

SCRATCH_MAX = 32 << 10  # bytes of a per-CPU value (PCPU_MIN_UNIT_SIZE)


def move(function: Function, offsets: dict[Value, int], roots: dict[Value, set[Value]]) -> None:
    """offsets: where each slot goes. roots: the slots that each pointer may point into."""
    for value, slots in roots.items():
        if not slots.isdisjoint(offsets):
            value.type = MAP
    key, base, home = Value(STACK), Value(MAP), _home(function, offsets)
    _point_into(function, base, offsets)
    _look_up(function, home, key, base)
    function.blocks[0].instrs.insert(0, Instr("slot", attrs={"size": 8}, result=key))


def _home(function: Function, moved: dict[Value, int]) -> Block:
    """Where to look the scratch memory up: above all its uses, but outside of loops."""
    graph = Graph(function)
    uses = use_blocks(function)
    blocks = {b for slot in moved for b in uses.get(slot, ()) if b in graph.index}
    home = graph.meeting(blocks) if blocks else graph.order[0]
    for loop in reversed(graph.loops()):  # inner ones first
        if home in loop.body:
            home = graph.dominator[loop.header]
    return home


def _point_into(function: Function, base: Value, offsets: dict[Value, int]) -> None:
    """A pointer of its own for each use: one for all would take a register, or a word of the stack,
    all the time."""
    for block in function.blocks:
        instrs: list[Instr] = []
        for instr in block.instrs:
            pointers: dict[Value, Value] = {}
            for slot in dict.fromkeys(v for v in operands(instr) if v in offsets):
                pointers[slot], offset = Value(MAP), Value(I64)
                instrs.append(Instr("const", attrs={"value": offsets[slot]}, result=offset))
                instrs.append(Instr("ptr_add", [base, offset], result=pointers[slot]))
            if pointers:
                instr.args = [pointers.get(a, a) for a in instr.args]
                for edge in instr.targets:
                    edge.args = [pointers.get(a, a) for a in edge.args]
            instrs.append(instr)
        block.instrs = instrs


def _look_up(function: Function, home: Block, key: Value, base: Value) -> None:
    """Find the scratch memory; a program without it ends, which never happens."""
    zero, object, null, result = (Value(t) for t in (I32, MAP_OBJECT, I1, I64))
    body = Block("scratch", [], home.instrs)
    leave = Block(
        "no_scratch",
        [],
        [Instr("const", attrs={"value": 0}, result=result), Instr("return", [result])],
    )
    home.instrs = [
        Instr("const", attrs={"value": 0}, result=zero),
        Instr("store", [key, zero], {"off": 0}),
        Instr("map_ptr", attrs={"map": Internal.SCRATCH}, result=object),
        Instr("call", [object, key], {"helper": "map_lookup_elem"}, base),
        Instr("is_null", [base], result=null),
        Instr("branch", [null], targets=[Edge(leave), Edge(body)]),
    ]
    function.blocks.insert(function.blocks.index(home) + 1, body)
    function.blocks.append(leave)
