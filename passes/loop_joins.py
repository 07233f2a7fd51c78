"""Where ways through a loop meet, the verifier must know the same of all integers needed later.

    branch (ult %x, 10), yes, no … join: … %x   →  %h = opaque %x; branch (ult %h, 10), yes, no

Within loops it takes a state for one it has seen only if no integer is known better or worse than
before (states_equal, RANGE_WITHIN), so two comparisons of values that live on make four states, and
what follows is walked four times. Compared is a copy, then, of which the verifier does not know
that it is one. Cost: that of liveness.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpfscript.ir.cfg import Loop
from bpfscript.ir.core import Block, Function, Instr, Value
from bpfscript.ir.types import I

from .liveness import Liveness
from .values import definitions

COMPARES = ("eq", "ne", "ult", "ule", "slt", "sle")
_LINKED = ("zext", "sext", "trunc", "add", "sub")  # what is learnt of a result, is of the operand


def living_on(liveness: Liveness, loops: Iterable[Loop]) -> set[Value]:
    """What is needed beyond a place in a loop where ways meet."""
    live, graph = 0, liveness.graph
    inside = {block for loop in loops for block in loop.body}
    for block in graph.order:
        if block in inside and len(graph.predecessors[block]) > 1:
            live |= liveness.live_in[block]
    return set(liveness.members(live))


def hide_compared(function: Function, loops: list[Loop], fixed: set[Value]) -> None:
    alike = _Alike(function)
    kept = {alike.root(v) for v in living_on(Liveness(function), loops)}
    headers = {loop.header for loop in loops}  # both outcomes do not meet again within
    for block in function.blocks:
        if block in headers or not any(block in loop.body for loop in loops):
            continue
        for test in [i for i in block.instrs if i.op in COMPARES]:
            for value in dict.fromkeys(test.args):
                if alike.root(value) in kept and isinstance(value.type, I) and value not in fixed:
                    _compare_copy(block, test, value)


def _compare_copy(block: Block, test: Instr, value: Value) -> None:
    """A selection by the comparison is of the copy, too, whose bounds are known then."""
    copy = Value(value.type)
    hide = Instr("opaque", [value], result=copy, span=test.span)
    at = block.instrs.index(test)
    block.instrs.insert(at, hide)
    for instr in block.instrs[at + 1 :]:
        if instr is test or (instr.op == "select" and instr.args[0] is test.result):
            instr.args = [copy if a is value else a for a in instr.args]


class _Alike:
    """Which value the verifier may know a value to be, but for a constant."""

    def __init__(self, function: Function) -> None:
        self.parent: dict[Value, Value] = {}
        made = definitions(function)
        constants = {v for v, i in made.items() if i.op == "const"}
        for instr in function.instructions():
            if instr.op in _LINKED and instr.result:
                varying = [a for a in instr.args if a not in constants]
                if len(varying) == 1:
                    self.parent[instr.result] = varying[0]

    def root(self, value: Value) -> Value:
        while value in self.parent:
            value = self.parent[value]
        return value
