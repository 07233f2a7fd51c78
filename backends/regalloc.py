"""Registers for the values of a function in SSA form; words of the stack for the rest.

Blocks are visited so that definitions come before uses (reverse postorder), and each value takes,
once, a register that no value living at that point has: in SSA form this greedy colouring is as
good as any (Hack, "Register Allocation for Programs in SSA Form", 2007). What outlives a call needs
one of r6–r9. Beforehand, where too many values live at once, those with the fewest uses, weighted
by loop depth, are sent to memory. r0 and r5 stay free for what selection needs in passing.
Cost: that of liveness, and linear.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bpfscript.backends.addressing import Places
from bpfscript.backends.isa import R1, R2, R3, R4, R6, R7, R8, R9
from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Function, Instr, Value
from bpfscript.plain import dataclass

KEPT = (R6, R7, R8, R9)  # calls leave them alone
PASSING = (R1, R2, R3, R4)
_LOOP = 8  # times that a loop is taken to run


@dataclass(frozen=True, slots=True)
class Spilled:
    """A word of the stack: the n-th of those that registers spill to."""

    word: int


Home = int | Spilled  # a register, or a word


class Liveness:
    """Sets of values as bits of integers, backward data flow over blocks."""

    def __init__(self, function: Function, graph: Graph, places: Places) -> None:
        values = [p for b in graph.order for p in b.params]
        values += [
            i.result
            for b in graph.order
            for i in b.instrs
            if i.result and i.result in places.needed
        ]  # fmt: skip
        self.values = values
        self.bit = {value: 1 << n for n, value in enumerate(values)}
        self.uses = {i: self.set_of(places.operands(i)) for b in graph.order for i in b.instrs}
        self.made = {i: self.bit.get(i.result, 0) if i.result else 0 for i in self.uses}
        self.live_in: dict[Block, int] = dict.fromkeys(graph.order, 0)
        self._solve(graph)

    def set_of(self, values: list[Value]) -> int:
        out = 0
        for value in values:
            out |= self.bit[value]
        return out

    def _solve(self, graph: Graph) -> None:
        ways: dict[Block, tuple[int, int, int]] = {}
        for block in graph.order:
            used = made = 0
            for instr in reversed(block.instrs):
                used = used & ~self.made[instr] | self.uses[instr]
                made |= self.made[instr]
            ways[block] = used, made, self.set_of(block.params)
        todo = list(graph.order)
        waiting = set(todo)
        while todo:
            block = todo.pop()
            waiting.discard(block)
            used, made, params = ways[block]
            live = (used | self.live_out(block) & ~made) & ~params
            if live != self.live_in[block]:
                self.live_in[block] = live
                for before in graph.predecessors[block]:
                    if before not in waiting:
                        waiting.add(before)
                        todo.append(before)

    def live_out(self, block: Block) -> int:
        out = 0
        for edge in block.terminator.targets:
            out |= self.live_in[edge.block]
        return out

    def after(self, block: Block) -> list[int]:
        """What lives after each instruction of a block."""
        live, out = self.live_out(block), list[int]()
        for instr in reversed(block.instrs):
            out.append(live)
            live = live & ~self.made[instr] | self.uses[instr]
        return out[::-1]

    def members(self, live: int) -> Iterator[Value]:
        while live:
            low = live & -live
            yield self.values[low.bit_length() - 1]
            live ^= low


class Allocation:
    """`home` of each value that needs one; `words` of stack that are spilled to."""

    def __init__(self, function: Function, places: Places, calls: Callable[[Instr], bool]) -> None:
        self.graph = Graph(function)
        self.places, self.calls = places, calls
        self.live = Liveness(function, self.graph, places)
        self.home: dict[Value, Home] = {}
        self.words = 0
        self._after = {block: self.live.after(block) for block in self.graph.order}
        self._outlive_calls = self._find_outliving()
        self._in_memory = self._find_surplus()
        self._hints = self._find_hints()
        for block in self.graph.order:
            self._color(function, block)

    def _find_outliving(self) -> int:
        found = 0
        for block, after in self._after.items():
            for instr, live in zip(block.instrs, after, strict=True):
                if self.calls(instr):
                    found |= live & ~self.live.made[instr]
        return found

    def _find_surplus(self) -> int:
        """Values that live where too many do: the cheapest of them, until the others fit."""
        weights = self._weights()
        memory = 0

        def relieve(live: int, room: int) -> None:
            nonlocal memory
            live &= ~memory
            excess = live.bit_count() - room
            if excess > 0:
                cheap = sorted(self.live.members(live), key=lambda v: weights[v])
                memory |= self.live.set_of(cheap[:excess])

        for block, after in self._after.items():
            first = self.live.live_in[block] | self.live.set_of(block.params)
            for live in (first, *after):
                relieve(live & self._outlive_calls, len(KEPT))
                relieve(live, len(KEPT) + len(PASSING))
        return memory

    def _weights(self) -> dict[Value, int]:
        depth = dict.fromkeys(self.graph.order, 0)
        for loop in self.graph.loops():
            for block in loop.body:
                depth[block] += 1
        weights = dict.fromkeys(self.live.values, 0)
        for block in self.graph.order:
            times = _LOOP ** min(depth[block], 6)
            for instr in block.instrs:
                for value in self.live.members(self.live.uses[instr]):
                    weights[value] += times
        return weights

    def _find_hints(self) -> dict[Value, list[Value | int]]:
        """Values or registers that a value is moved to or from."""
        hints: dict[Value, list[Value | int]] = {}
        for block in self.graph.order:
            for instr in block.instrs:
                for edge in instr.targets:
                    for param, arg in zip(edge.block.params, edge.args, strict=True):
                        hints.setdefault(param, []).append(arg)
                        hints.setdefault(arg, []).append(param)
                if self.calls(instr):
                    for n, arg in enumerate(instr.args[: len(PASSING)]):
                        hints.setdefault(arg, []).insert(0, PASSING[n])
                elif instr.result and instr.args:
                    same = instr.args[1:] if instr.op == "select" else instr.args[:1]
                    hints.setdefault(instr.result, []).extend(same)
        return hints

    def _color(self, function: Function, block: Block) -> None:
        taken = {self.home[v] for v in self.live.members(self.live.live_in[block])}
        entry = self.live.set_of(block.params) | self.live.live_in[block]
        arriving = function.params if block is function.blocks[0] else []
        for n, param in enumerate(block.params):
            if n < len(arriving):
                self._hints.setdefault(param, []).append(n + 1)
            self._give(param, taken)
        live = entry
        for instr, after in zip(block.instrs, self._after[block], strict=True):
            for value in self.live.members(live & ~after):
                taken.discard(self.home[value])
            if made := self.live.made[instr]:
                (value,) = self.live.members(made)
                self._give(value, taken)
                if not after & made:
                    taken.discard(self.home[value])
            live = after

    def _give(self, value: Value, taken: set[Home]) -> None:
        bit = self.live.bit[value]
        order = KEPT if bit & self._outlive_calls else PASSING + KEPT
        free = [r for r in order if r not in taken] if not bit & self._in_memory else []
        if free:
            wanted = (self._wanted(hint) for hint in self._hints.get(value, ()))
            self.home[value] = next((h for h in wanted if h in free), free[0])
        else:
            word = next(n for n in range(self.words + 1) if Spilled(n) not in taken)
            self.words = max(self.words, word + 1)
            self.home[value] = Spilled(word)
        taken.add(self.home[value])

    def _wanted(self, hint: Value | int) -> Home | None:
        return hint if isinstance(hint, int) else self.home.get(hint)
