"""The control flow graph of a function: predecessors, order, dominators, loops.

A `Graph` is a snapshot: who changes edges makes a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property, reduce

from bpfscript.ir.core import Block, Function
from bpfscript.plain import dataclass


def successors(block: Block) -> list[Block]:
    """Where a block's terminator goes; the same block twice if both ways of a branch do."""
    return [edge.block for edge in block.terminator.targets]


@dataclass(eq=False, slots=True)
class Loop:
    """A natural loop. `latches` have an edge back to the header; `body` has them and the header."""

    header: Block
    latches: list[Block]
    body: set[Block]


class Graph:
    """Blocks in reverse postorder (those reachable from the first), and what follows from that.

    Dominators: Cooper, Harvey, Kennedy, "A Simple, Fast Dominance Algorithm" (2001).
    """

    def __init__(self, function: Function) -> None:
        self.order = _reverse_postorder(function.blocks[0])
        self.index = {block: i for i, block in enumerate(self.order)}
        self.predecessors: dict[Block, list[Block]] = {block: [] for block in self.order}
        for block in self.order:
            for successor in dict.fromkeys(successors(block)):
                self.predecessors[successor].append(block)

    @cached_property
    def dominator(self) -> dict[Block, Block]:
        """Immediate dominator of each block; the first block's is itself."""
        first = self.order[0]
        found = {first: first}
        changed = True
        while changed:
            changed = False
            for block in self.order[1:]:
                known = [p for p in self.predecessors[block] if p in found]
                best = known[0]
                for other in known[1:]:
                    best = self._intersect(found, best, other)
                if found.get(block) is not best:
                    found[block] = best
                    changed = True
        return found

    def _intersect(self, found: dict[Block, Block], a: Block, b: Block) -> Block:
        while a is not b:
            while self.index[a] > self.index[b]:
                a = found[a]
            while self.index[b] > self.index[a]:
                b = found[b]
        return a

    def dominates(self, a: Block, b: Block) -> bool:
        """Whether every path to `b` goes through `a`, as for `a` itself. False for unreachable `a`.

        `b` is reachable.
        """
        if a not in self.index:
            return False
        while self.index[b] > self.index[a]:
            b = self.dominator[b]
        return a is b

    def meeting(self, blocks: Iterable[Block]) -> Block:
        """The nearest block that dominates all of these, which are reachable and at least one."""
        return reduce(lambda a, b: self._intersect(self.dominator, a, b), blocks)

    def children(self) -> dict[Block, list[Block]]:
        """The dominator tree: the blocks that each block dominates immediately, in order."""
        tree: dict[Block, list[Block]] = {block: [] for block in self.order}
        for block in self.order[1:]:
            tree[self.dominator[block]].append(block)
        return tree

    def back_edges(self) -> list[tuple[Block, Block]]:
        """Edges (latch, header) whose target dominates their source."""
        return [
            (b, s) for b in self.order for s in dict.fromkeys(successors(b)) if self.dominates(s, b)
        ]

    def loops(self) -> list[Loop]:
        """Natural loops, one for each header, outer ones before those inside them."""
        loops: dict[Block, Loop] = {}
        for latch, header in self.back_edges():
            loop = loops.setdefault(header, Loop(header, [], {header}))
            loop.latches.append(latch)
            todo = [latch]
            while todo:
                block = todo.pop()
                if block not in loop.body:
                    loop.body.add(block)
                    todo += self.predecessors[block]
        return sorted(loops.values(), key=lambda loop: self.index[loop.header])


def _reverse_postorder(first: Block) -> list[Block]:
    postorder: list[Block] = []
    seen = {first}
    path = [(first, iter(successors(first)))]
    while path:
        block, rest = path[-1]
        for successor in rest:
            if successor not in seen:
                seen.add(successor)
                path.append((successor, iter(successors(successor))))
                break
        else:
            postorder.append(block)
            path.pop()
    return postorder[::-1]
