"""Global value numbering: what was computed on every way here is not computed again.

    %1 = comm … %2 = comm      →  uses of %2 use %1

Walks the dominator tree with a scoped table (Briggs, Cooper, Simpson, "Value Numbering", 1997).
Knows helpers whose result stays the same in one run (`pure`). What a map has for a key is read once
as long as nothing is written, and only along ways without a join, where that is plain to see; that
others may write meanwhile is so for one read, too. Cost: linear.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Function, Instr, Value
from bpfscript.ir.ops import ENDS, OPS, WRITES

from .values import definitions, effects, reads_memory, replace

Key = tuple[object, ...]
_LOOKUPS = ("map_read", "map_has")


def gvn(function: Function) -> None:
    graph = Graph(function)
    children, made = graph.children(), definitions(function)
    stands_for: dict[Value, Value] = {}
    todo: list[tuple[Block, dict[Key, Value], dict[Key, Value]]] = [(graph.order[0], {}, {})]
    while todo:
        block, always, unwritten = todo.pop()
        kept = []
        for instr in block.instrs:
            instr.args = [stands_for.get(a, a) for a in instr.args]
            known, key = always, _key(instr, made)
            if instr.op in _LOOKUPS:
                known, key = unwritten, _identity(instr)
            elif effects(instr) & WRITES:
                unwritten.clear()
            if key is not None and key in known:
                assert instr.result
                stands_for[instr.result] = known[key]
                continue
            if key is not None and instr.result:
                known[key] = instr.result
            kept.append(instr)
        block.instrs = kept
        # A table of its own for each child: what one computes the other need not have computed.
        for child in children[block]:
            straight = graph.predecessors[child] == [block]
            todo.append((child, dict(always), dict(unwritten) if straight else {}))
    replace(function, stands_for)


def _key(instr: Instr, made: dict[Value, Instr]) -> Key | None:
    """Equal for instructions that have one result; None for those that are never merged."""
    if instr.result is None or effects(instr) & (WRITES | ENDS) or reads_memory(instr, made):
        return None
    return _identity(instr)


def _identity(instr: Instr) -> Key:
    assert instr.result
    args = tuple(map(id, instr.args))
    if OPS[instr.op].commutes:
        args = tuple(sorted(args))
    attrs = tuple(sorted(instr.attrs.items()))
    return instr.op, instr.result.type, attrs, args
