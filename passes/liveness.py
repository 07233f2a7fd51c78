"""Which values are needed later, at the start of each block: backward data flow.

Sets are bits of integers. What is made again wherever it is used (FREE) does not count. Cost:
blocks times values / 64, times the depth of loops.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Function, Instr, Value

from .values import operands

FREE = frozenset(("const", "core", "slot", "map_ptr", "map_value", "rodata", "func_ptr"))


class Liveness:
    """A snapshot. `live_in` of a block leaves its own parameters out."""

    def __init__(self, function: Function) -> None:
        self.graph = Graph(function)
        params = [p for b in function.blocks for p in b.params]
        made = [i.result for i in function.instructions() if i.result and i.op not in FREE]
        self.values = params + made
        self.bits = {value: 1 << n for n, value in enumerate(self.values)}
        self.live_in: dict[Block, int] = {}
        self._solve()

    def _solve(self) -> None:
        changed = True
        while changed:
            changed = False
            for block in reversed(self.graph.order):
                live = self.live_out(block)
                for instr in reversed(block.instrs):
                    live = self.before(instr, live)
                for param in block.params:
                    live &= ~self.bits[param]
                if self.live_in.get(block) != live:
                    self.live_in[block] = live
                    changed = True

    def live_out(self, block: Block) -> int:
        live = 0
        for edge in block.terminator.targets:
            live |= self.live_in.get(edge.block, 0)
        return live

    def before(self, instr: Instr, live: int) -> int:
        """What is live before an instruction, given what is after it."""
        if instr.result:
            live &= ~self.bits.get(instr.result, 0)
        for value in operands(instr):
            live |= self.bits.get(value, 0)
        return live

    def members(self, live: int) -> Iterator[Value]:
        return (value for value in self.values if live & self.bits[value])
