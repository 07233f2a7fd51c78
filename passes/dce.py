"""Removes what nothing needs: instructions without effect, and block parameters.

    %1 = add %0, %0      →  (nothing, if %1 is unused)

Mark and sweep from the instructions with effects; a parameter's arguments are needed if the
parameter is. Memory that is only ever written to goes, with its writes. Cost: linear.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Function, Instr, Value
from bpfscript.ir.ops import ENDS, WRITES

from .values import definitions, effects, place

_MOVES = ("store", "fill", "copy")


def dce(function: Function) -> None:
    function.blocks = Graph(function).order
    made = definitions(function)
    live = _live(function, made)
    first = function.blocks[0]
    kept = {
        block: [block is first or param in live for param in block.params]
        for block in function.blocks
    }
    for block in function.blocks:
        block.instrs = [i for i in block.instrs if _needed(i, live, made)]
        for edge in block.terminator.targets:
            keep = kept[edge.block]
            edge.args = [a for a, k in zip(edge.args, keep, strict=True) if k]
    for block, keep in kept.items():
        if block is not first:
            block.params = [p for p, k in zip(block.params, keep, strict=True) if k]


def _live(function: Function, made: dict[Value, Instr]) -> set[Value]:
    home: dict[Value, tuple[Block, int]] = {}
    incoming: dict[Block, list[list[Value]]] = {}
    writes: dict[Value, list[Instr]] = {}
    live: set[Value] = set()
    todo: list[Value] = []
    for block in function.blocks:
        home.update({p: (block, i) for i, p in enumerate(block.params)})
        for instr in block.instrs:
            for edge in instr.targets:
                incoming.setdefault(edge.block, []).append(edge.args)
            slot = _written_slot(instr, made)
            if slot is not None:
                writes.setdefault(slot, []).append(instr)
            elif _rooted(instr):
                todo += instr.args
    while todo:
        value = todo.pop()
        if value in live:
            continue
        live.add(value)
        if value in made:
            todo += made[value].args
            for write in writes.get(value, ()):
                todo += write.args
        elif value in home and home[value][0] is not function.blocks[0]:
            block, index = home[value]
            todo += [args[index] for args in incoming.get(block, ())]
    return live


def _rooted(instr: Instr) -> bool:
    """Whether it happens whether or not its result is used."""
    return instr.op != "slot" and bool(effects(instr) & (WRITES | ENDS))


def _written_slot(instr: Instr, made: dict[Value, Instr]) -> Value | None:
    """The slot that an instruction does nothing but write to."""
    if instr.op not in _MOVES:
        return None
    value, _ = place(instr.args[0], made)
    return value if value in made and made[value].op == "slot" else None


def _needed(instr: Instr, live: set[Value], made: dict[Value, Instr]) -> bool:
    slot = _written_slot(instr, made)
    if slot is not None:
        return slot in live
    return _rooted(instr) or instr.result in live
