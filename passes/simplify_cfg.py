"""Simplifies the control flow graph: fewer blocks, fewer jumps, fewer parameters.

    jump a; a: jump b                    →  jump b
    jump a(const 1); a(%p): branch %p …  →  jump to where the branch goes     (jump threading)
    jump a; a (no other way in): …       →  one block
    a(%p), always entered with %v        →  %v instead of %p

Repeated until nothing changes. Cost: linear for each round; rounds are few.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Edge, Function, Instr, Value

from .values import definitions, replace, use_blocks

_STEPS_MAX = 100  # rounds; each removes an edge's step, so scripts never come near


def simplify_cfg(function: Function) -> None:
    for _ in range(_STEPS_MAX):
        function.blocks = Graph(function).order
        _same_target(function)
        changed = _thread(function) or _merge(function) or _drop_params(function)
        if not changed:
            return


def _same_target(function: Function) -> None:
    for block in function.blocks:
        end = block.terminator
        if end.op == "branch":
            one, other = end.targets
            if one.block is other.block and one.args == other.args:
                end.op, end.args, end.targets = "jump", [], [one]


def _thread(function: Function) -> bool:
    """Lead edges to blocks that only jump on, or whose branch the edge decides, past them."""
    uses, made = use_blocks(function), definitions(function)
    changed = False
    for block in function.blocks:
        for edge in block.terminator.targets:
            for _ in range(len(function.blocks)):
                onward = _onward(edge, made, uses)
                if onward is None or onward.block is edge.block:
                    break
                edge.block, edge.args = onward.block, onward.args
                changed = True
    return changed


def _onward(edge: Edge, made: dict[Value, Instr], uses: dict[Value, set[Block]]) -> Edge | None:
    """The edge that is taken next, in terms of values known before the block it passes."""
    block = edge.block
    if len(block.instrs) != 1 or any(uses.get(p, set()) - {block} for p in block.params):
        return None
    end = block.terminator
    given = dict(zip(block.params, edge.args, strict=True))
    if end.op == "jump":
        taken = end.targets[0]
    elif end.op == "branch":
        condition = made.get(given.get(end.args[0], end.args[0]))
        if condition is None or condition.op != "const":
            return None
        taken = end.targets[0 if condition.attrs["value"] else 1]
    else:
        return None
    return Edge(taken.block, [given.get(a, a) for a in taken.args])


def _merge(function: Function) -> bool:
    """Join blocks that always follow each other."""
    entries: dict[Block, int] = {}
    for instr in function.instructions():
        for edge in instr.targets:
            entries[edge.block] = entries.get(edge.block, 0) + 1
    stands_for: dict[Value, Value] = {}
    gone: set[Block] = set()
    for block in function.blocks:
        while block not in gone and block.terminator.op == "jump":
            (edge,) = block.terminator.targets
            after = edge.block
            if entries[after] != 1 or after is block or after is function.blocks[0]:
                break
            stands_for.update(zip(after.params, edge.args, strict=True))
            block.instrs[-1:] = after.instrs
            gone.add(after)
    function.blocks = [b for b in function.blocks if b not in gone]
    replace(function, stands_for)
    return bool(gone)


def _drop_params(function: Function) -> bool:
    """Replace parameters that get the same value on every edge."""
    incoming: dict[Block, list[Edge]] = {}
    for instr in function.instructions():
        for edge in instr.targets:
            incoming.setdefault(edge.block, []).append(edge)
    stands_for: dict[Value, Value] = {}
    for block, edges in incoming.items():
        for i in reversed(range(len(block.params))):
            param = block.params[i]
            given = {_final(stands_for, e.args[i]) for e in edges} - {param}
            if len(given) == 1:
                stands_for[param] = given.pop()
                del block.params[i]
                for edge in edges:
                    del edge.args[i]
    replace(function, stands_for)
    return bool(stands_for)


def _final(stands_for: dict[Value, Value], value: Value) -> Value:
    while value in stands_for:
        value = stands_for[value]
    return value
