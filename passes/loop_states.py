"""What the verifier must not know for it to see that a loop repeats.

    jump head(0)   →  %h = opaque 0; jump head(%h)

The verifier walks a loop, and what bpf_for_each_map_elem calls, until a state repeats. A counter
whose range it knows has another one each time round, so the walk lasts as long as the loop
(is_state_visited, states_equal). `opaque` makes it anything from the first round on, and the second
round is nothing new. That is done to

  1. integers that enter a loop, and those that rounds start again from: `i = c ? 0 : i + 1`
  2. integers that a round reads from stack memory which it or another one wrote
  3. integers needed after a loop that differ by the way there, `c ? 1 : 0`: within loops states
     must agree in all of them, so each would double the walk of every loop it lives through

Cost: blocks times loops, and that of liveness.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Loop
from bpfscript.ir.core import Block, Function, Instr, Value
from bpfscript.ir.ops import OPS, PURE
from bpfscript.ir.types import CTX, I1, STACK, I

from .liveness import Liveness
from .values import definitions, operands


def hide_entering(function: Function, loop: Loop) -> None:
    """The first kind."""
    flow = _Flow(function, loop)
    for block in function.blocks:
        for edge in block.terminator.targets if block.instrs else ():
            if edge.block is loop.header:
                inside = block in loop.body
                edge.args = [
                    arg if inside and not flow.known(arg) else _hidden(block, flow.made, arg)
                    for arg in edge.args
                ]


class _Flow:
    """Which values of a loop the verifier may know on one of the ways to them."""

    def __init__(self, function: Function, loop: Loop) -> None:
        self.made = definitions(function)
        self.arrivals: dict[Value, list[Value]] = {}
        for block in loop.body:
            for edge in block.terminator.targets:
                if edge.block in loop.body and edge.block is not loop.header:
                    for param, arg in zip(edge.block.params, edge.args, strict=True):
                        self.arrivals.setdefault(param, []).append(arg)

    def known(self, value: Value, seen: frozenset[Value] = frozenset()) -> bool:
        """Whether it comes from constants alone, at least by one way."""
        if value in seen:
            return False
        seen |= {value}
        if value in self.arrivals:
            return any(self.known(v, seen) for v in self.arrivals[value])
        instr = self.made.get(value)
        if instr is None or OPS[instr.op].effects is not PURE:
            return False
        if instr.op == "select":
            return any(self.known(v, seen) for v in instr.args[1:])
        others = [v for v in instr.args if not _is_constant(self.made, v)]
        return not others or any(self.known(v, seen) for v in others)


def _is_constant(made: dict[Value, Instr], value: Value) -> bool:
    return value in made and made[value].op == "const"


def _hidden(block: Block, made: dict[Value, Instr], value: Value) -> Value:
    instr = made.get(value)
    if not isinstance(value.type, I) or (instr and _unknown(instr)):
        return value
    hidden = Value(value.type)
    block.instrs.insert(-1, Instr("opaque", [value], result=hidden, span=block.terminator.span))
    return hidden


def _unknown(instr: Instr) -> bool:
    """Whether the verifier takes a value to be anything."""
    return instr.op == "opaque" or (instr.op == "load" and instr.args[0].type not in (STACK, CTX))


def hide_loaded(function: Function, body: list[Block]) -> None:
    """The second kind: loads at constant places of stack memory."""
    made = definitions(function)
    written = set(function.params) | {
        _root(made, i.args[0]) for b in body for i in b.instrs if i.op in ("store", "copy", "fill")
    }
    for block in body:
        for at, instr in reversed(list(enumerate(block.instrs))):
            if instr.op != "load" or instr.result is None or instr.args[0].type != STACK:
                continue
            if _root(made, instr.args[0]) in written:
                seen, instr.result = instr.result, Value(instr.result.type)
                hide = Instr("opaque", [instr.result], result=seen, span=instr.span)
                block.instrs.insert(at + 1, hide)


def _root(made: dict[Value, Instr], pointer: Value) -> Value:
    while (instr := made.get(pointer)) and instr.op == "ptr_add":
        pointer = instr.args[0]
    return pointer


def hide_living(function: Function, loops: list[Loop]) -> None:
    """The third kind."""
    liveness, made = Liveness(function), definitions(function)
    living = 0
    for loop in loops:
        living |= liveness.live_in[loop.header]
    differing = _joined_constants(function, made) | _truths(function)
    chosen = [v for v in liveness.members(living) if _differs(v, made, differing)]
    for value in chosen:
        _hide_from_start(function, value, made.get(value))


def _joined_constants(function: Function, made: dict[Value, Instr]) -> set[Value]:
    """Parameters of blocks that are a constant for one of the ways there."""
    found = set()
    for instr in function.instructions():
        for edge in instr.targets:
            for param, arg in zip(edge.block.params, edge.args, strict=True):
                if _is_constant(made, arg):
                    found.add(param)
    return found


def _truths(function: Function) -> set[Value]:
    """Results of comparisons that are values: nothing branches on them."""
    compared = {i.result for i in function.instructions() if i.result and i.result.type == I1}
    for instr in function.instructions():
        if instr.op in ("branch", "select", "xor", "and", "or"):
            compared -= set(instr.args)
    return compared


def _differs(value: Value, made: dict[Value, Instr], joined: set[Value]) -> bool:
    if value in joined or not isinstance(value.type, I):
        return value in joined
    instr = made.get(value)
    if instr is None:
        return False
    if instr.op == "select":
        return any(_is_constant(made, v) for v in instr.args[1:])
    return instr.op in ("zext", "sext") and instr.args[0].type == I1


def _hide_from_start(function: Function, value: Value, made: Instr | None) -> None:
    """Everybody uses the hidden value instead."""
    hidden = Value(value.type)
    for instr in function.instructions():
        if value in operands(instr):
            instr.args = [hidden if a is value else a for a in instr.args]
            for edge in instr.targets:
                edge.args = [hidden if a is value else a for a in edge.args]
    hide = Instr("opaque", [value], result=hidden, span=made.span if made else None)
    for block in function.blocks:
        if made is None and value in block.params:
            block.instrs.insert(0, hide)
        elif made in block.instrs:
            block.instrs.insert(block.instrs.index(made) + 1, hide)
