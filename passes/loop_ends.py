"""The three ways to end a loop, written into it: what `bounded_loops` chooses from.

Edges of a loop are split, and the new blocks join the bodies of the loops around it. Inner loops
come first, so that what leaves an inner loop and an outer one ends both in that order.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Loop
from bpfscript.ir.core import Block, Edge, Instr, Value
from bpfscript.ir.types import I32, I64, STACK

from .code import Code
from .legal_events import runtime_error

ITERATED = 1 << 23  # rounds of an iterator: BPF_MAX_LOOPS
STOPPED = "Loop stopped after %s. This can lead to unexpected results."


class LoopEnds:
    """Ends the loops of one function, which are all there are, inner ones first."""

    def __init__(self, code: Code, loops: list[Loop]) -> None:
        self.code, self.function, self.loops = code, code.function, loops
        self._silent: Block | None = None
        self._iterators: dict[int, Value] = {}  # by depth: what is not nested shares one

    def may_continue(self, loop: Loop, unless: str) -> None:
        """The kernel says on each way back whether to go on. unless: what else to tell."""
        code, stop = self.code, self._stop(loop, unless)
        for block, edge in self._ways_back(loop):
            header, args = self._split(block, edge, "again")
            code.branch(code.value("may_continue"), header, stop, args)

    def iterate(self, loop: Loop, unless: str) -> None:
        """Each way back takes a number off an iterator. Without `unless`, a drained one is made
        anew, as often as may_goto lets it be."""
        code, stop, iterator = self.code, self._stop(loop, unless), self._iterator(loop)
        back = self._ways_back(loop)
        for block, edge in self._ways_out(loop):
            target, args = self._split(block, edge, "leave")
            code.call("iter_num_destroy", iterator)
            code.jump(target, *args)
        for block, edge in self._ways_in(loop):
            header, args = self._split(block, edge, "start")
            self._start(iterator)
            code.jump(header, *args)
        for block, edge in back:
            header, args = self._split(block, edge, "again")
            left = code.op("ne", code.call("iter_num_next", iterator), 0)
            drained = self._block_around("drained", loop)
            code.branch(left, header, drained, args)
            code.at(drained)
            code.call("iter_num_destroy", iterator)
            if unless:
                code.jump(stop)
                continue
            renewed = self._block_around("renewed", loop)
            code.branch(code.value("may_continue"), renewed, stop)
            code.at(renewed)
            self._start(iterator)
            code.jump(header, *args)

    def count(self, loop: Loop, rounds: int) -> None:
        """A counter is one more parameter of the header; beyond so many rounds, that is told."""
        code, stop, counter = self.code, self._stop(loop, f"{rounds} rounds"), Value(I64)
        back = self._ways_back(loop)
        for block, edge in self._ways_in(loop):
            header, args = self._split(block, edge, "start")
            code.jump(header, *args, code.const(0))
        for block, edge in back:
            header, args = self._split(block, edge, "again")
            more = code.add(counter, 1)
            code.branch(code.op("ult", more, rounds + 1), header, stop, (*args, more))
        loop.header.params.append(counter)

    def _stop(self, loop: Loop, unless: str) -> Block:
        """Leaves the function; with `unless`, says so."""
        code = self.code
        if self._silent and not unless:
            return self._silent
        block = code.block("stopped" if unless else "stop")
        code.at(block)
        if unless:
            code.span = loop.header.terminator.span
            runtime_error(code, STOPPED % unless)
        else:
            self._silent = block
        code.ret(code.const(0))
        return block

    def _iterator(self, loop: Loop) -> Value:
        depth = sum(loop.header in other.body for other in self.loops)
        if depth not in self._iterators:
            self._iterators[depth] = Value(STACK)
            slot = Instr("slot", [], {"size": 8}, self._iterators[depth])
            self.function.blocks[0].instrs.insert(0, slot)
        return self._iterators[depth]

    def _start(self, iterator: Value) -> None:
        code = self.code
        code.call("iter_num_new", iterator, code.const(0, I32), code.const(ITERATED, I32))

    # Edges

    def _ways_in(self, loop: Loop) -> list[tuple[Block, Edge]]:
        outside = (b for b in self.function.blocks if b not in loop.body)
        return [(b, e) for b in outside for e in b.terminator.targets if e.block is loop.header]

    def _ways_back(self, loop: Loop) -> list[tuple[Block, Edge]]:
        inside = (b for b in self.function.blocks if b in loop.body)
        return [(b, e) for b in inside for e in b.terminator.targets if e.block is loop.header]

    def _ways_out(self, loop: Loop) -> list[tuple[Block, Edge]]:
        inside = (b for b in self.function.blocks if b in loop.body)
        return [(b, e) for b in inside for e in b.terminator.targets if e.block not in loop.body]

    def _split(self, source: Block, edge: Edge, name: str) -> tuple[Block, tuple[Value, ...]]:
        """A new block on an edge, where instructions go from now on; where the edge went."""
        target, args, block = edge.block, tuple(edge.args), Block(name)
        self.function.blocks.insert(self.function.blocks.index(source) + 1, block)
        for loop in self.loops:
            if source in loop.body and target in loop.body:
                loop.body.add(block)
        edge.block, edge.args = block, []
        self.code.at(block)
        self.code.span = source.terminator.span
        return target, args

    def _block_around(self, name: str, loop: Loop) -> Block:
        """A new block outside of a loop, but within those around it."""
        block = self.code.block(name)
        for outer in self.loops:
            if outer is not loop and loop.header in outer.body:
                outer.body.add(block)
        return block
