"""How often a loop goes round, where that can be read off it.

    head(%i): %c = slt %i, 100; branch %c, body, done   …   jump head(%i + 1)   →  100 rounds

The header leaves the loop unless a parameter, which each way back increases by a constant, is below
a constant. Cost: linear in the ways to the header.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Loop
from bpfscript.ir.core import Block, Function, Instr, Value
from bpfscript.ir.types import I

from .values import definitions

_MOST = {"ult": 0, "ule": 1, "slt": 0, "sle": 1}  # what the bound itself adds


class TripCounts:
    """Of the loops of one function, which are all there are."""

    def __init__(self, function: Function, loops: list[Loop]) -> None:
        self.made = definitions(function)
        self.loops = loops
        self.ways: dict[Block, list[tuple[Block, list[Value]]]] = {}
        for block in function.blocks:
            for edge in block.terminator.targets:
                self.ways.setdefault(edge.block, []).append((block, edge.args))

    def of(self, loop: Loop) -> int | None:
        """At most so many rounds each time it is entered; None if that is not known."""
        end = loop.header.terminator
        test = self.made.get(end.args[0]) if end.op == "branch" else None
        if test is None or test.op not in _MOST or test.args[0] not in loop.header.params:
            return None
        bound, (inside, outside) = self._constant(test.args[1], test), end.targets
        if bound is None or inside.block not in loop.body or outside.block in loop.body:
            return None
        counter = loop.header.params.index(test.args[0])
        starts: list[int] = []
        steps: list[int] = []
        for block, args in self.ways[loop.header]:
            known = self._step if block in loop.body else self._constant
            found = known(args[counter], test)
            if found is None:
                return None
            (steps if block in loop.body else starts).append(found)
        return self._rounds(test, bound + _MOST[test.op], min(starts), min(steps), max(steps))

    def within(self, loop: Loop) -> int | None:
        """At most so many rounds in one run of the function."""
        product = 1
        for outer in self.loops:
            if loop.header in outer.body:
                rounds = self.of(outer)
                if rounds is None:
                    return None
                product *= max(rounds, 1)
        return product

    def _rounds(self, test: Instr, bound: int, start: int, least: int, most: int) -> int | None:
        type = test.args[0].type
        assert isinstance(type, I)
        highest = (1 << type.bits - (test.op[0] == "s")) - 1
        if least <= 0 or bound - 1 + most > highest:
            return None  # it wraps around
        return max(0, -((start - bound) // least))

    def _step(self, value: Value, test: Instr) -> int | None:
        made = self.made.get(value)
        if made is None or made.op != "add":
            return None
        for counter, step in (made.args, made.args[::-1]):
            if counter is test.args[0]:
                return self._constant(step, test)
        return None

    def _constant(self, value: Value, test: Instr) -> int | None:
        made = self.made.get(value)
        if made is None or made.op != "const" or not isinstance(value.type, I):
            return None
        number, bits = made.attrs["value"], value.type.bits
        assert isinstance(number, int)
        number &= (1 << bits) - 1
        return number - (1 << bits) if test.op[0] == "s" and number >> bits - 1 else number
