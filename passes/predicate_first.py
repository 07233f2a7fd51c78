"""Moves work below the branch that decides whether it is needed.

    %1 = comm; branch %c, a, b; a: … %1 …   →   branch %c, a, b; a: %1 = comm; … %1 …

So a probe fetches nothing for events that its predicate rejects. Sinking along the dominator tree,
blocks in reverse postorder, so that values sink as far as they can. Only into a block with one way
in, hence never into a loop. Cost: linear in instructions times uses.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Function, Instr, Value
from bpfscript.ir.ops import ENDS, WRITES

from .values import definitions, effects, operands, reads_memory, use_blocks


def predicate_first(function: Function) -> None:
    graph = Graph(function)
    made, uses = definitions(function), use_blocks(function)
    for block in graph.order:
        targets = [
            b
            for b in dict.fromkeys(e.block for e in block.terminator.targets)
            if graph.predecessors[b] == [block]
        ]
        if len(block.terminator.targets) < 2 or not targets:
            continue
        written = False
        for instr in reversed(block.instrs[:-1]):
            wanted = instr.result and uses.get(instr.result)
            blocked = effects(instr) & (WRITES | ENDS) or (written and reads_memory(instr, made))
            if wanted and not blocked:
                goal = next((t for t in targets if _only_below(graph, t, wanted)), None)
                if goal is not None:
                    _move(instr, block, goal, uses)
                    continue
            written |= bool(effects(instr) & WRITES) and instr.op != "slot"


def _only_below(graph: Graph, target: Block, wanted: set[Block]) -> bool:
    return all(b in graph.index and graph.dominates(target, b) for b in wanted)


def _move(instr: Instr, block: Block, goal: Block, uses: dict[Value, set[Block]]) -> None:
    block.instrs.remove(instr)
    goal.instrs.insert(0, instr)
    for value in operands(instr):
        still = any(value in operands(i) for i in block.instrs)
        if not still:
            uses[value].discard(block)
        uses[value].add(goal)
