"""What the verifier must not know for it to see that a loop repeats.

    jump head(0)   →  %h = opaque 0; jump head(%h)

The verifier walks a loop, and what bpf_for_each_map_elem calls, until a state repeats. A counter
whose range it knows has another one each time round, so the walk lasts as long as the loop
(is_state_visited, states_equal). `opaque` makes it anything from the first round on, and the second
round is nothing new. That is done to

  1. integers that enter a loop, those that rounds start again from, `i = c ? 0 : i + 1`, and those
     that are compared within, since each outcome goes back with another range
  2. integers that a round reads from stack memory which it or another one wrote
  3. integers needed within or after a loop that differ by the way there, `c ? 1 : 0`: within loops
     states must agree in all of them, so each would double the walk of the loops it lives in
  4. integers that are compared and needed where ways meet (see `loop_joins`)

Memory that rounds write is none that the verifier follows (see `stack_slots`).

Cost: blocks times loops, and that of liveness.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.ir.cfg import Loop
from bpfscript.ir.core import Block, Function, Instr, Module, Value
from bpfscript.ir.ops import OPS, PURE
from bpfscript.ir.types import BTF, CTX, I1, I64, STACK, I

from .bounds import object_size
from .initialised import FILLED
from .liveness import Liveness
from .loop_joins import COMPARES, living_on
from .values import definitions, place, replace


def hide_entering(function: Function, loop: Loop, pointers: set[Value]) -> None:
    """The first kind."""
    flow = _Flow(function, loop)
    for block in function.blocks:
        for edge in block.terminator.targets if block.instrs else ():
            if edge.block is loop.header:
                inside = block in loop.body
                edge.args = [
                    arg
                    if {param, arg} & pointers or (inside and not flow.differs(arg))
                    else _hidden(block, flow.made, arg)
                    for param, arg in zip(loop.header.params, edge.args, strict=True)
                ]


class _Flow:
    """Which values of a loop the verifier may know more of on one of the ways to them."""

    def __init__(self, function: Function, loop: Loop) -> None:
        self.made = definitions(function)
        self.arrivals: dict[Value, list[Value]] = {}
        self.compared: set[Value] = set()
        for block in loop.body:
            if block is not loop.header:
                self.compared |= {a for i in block.instrs if i.op in COMPARES for a in i.args}
            for edge in block.terminator.targets:
                if edge.block in loop.body and edge.block is not loop.header:
                    for param, arg in zip(edge.block.params, edge.args, strict=True):
                        self.arrivals.setdefault(param, []).append(arg)

    def differs(self, value: Value) -> bool:
        return self.known(value) or self._refined(value, set())

    def _refined(self, value: Value, seen: set[Value]) -> bool:
        """Whether it, or what it comes from, is compared within the loop."""
        if value in seen or _is_constant(self.made, value):
            return False
        seen.add(value)
        if value in self.compared:
            return True
        instr = self.made.get(value)
        pure = instr is not None and OPS[instr.op].effects == PURE
        sources = instr.args if instr and pure else self.arrivals.get(value, [])
        return any(self._refined(v, seen) for v in sources)

    def known(self, value: Value, seen: frozenset[Value] = frozenset()) -> bool:
        """Whether it comes from constants alone, at least by one way."""
        if value in seen:
            return False
        seen |= {value}
        if value in self.arrivals:
            return any(self.known(v, seen) for v in self.arrivals[value])
        instr = self.made.get(value)
        if instr is None or OPS[instr.op].effects != PURE:
            return False
        if instr.op == "select":
            return any(self.known(v, seen) for v in instr.args[1:])
        others = [v for v in instr.args if not _is_constant(self.made, v)]
        return not others or any(self.known(v, seen) for v in others)


def _is_constant(made: dict[Value, Instr], value: Value) -> bool:
    return value in made and made[value].op == "const"


def _hidden(block: Block, made: dict[Value, Instr], value: Value) -> Value:
    instr = made.get(value)
    fresh = instr in block.instrs and block.terminator.op == "jump"  # nothing was compared since
    if not isinstance(value.type, I) or (instr and _unknown(instr) and fresh):
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
        place(i.args[0], made)[0]
        for b in body
        for i in b.instrs
        if i.op in ("store", "copy", "fill")
    }
    for block in body:
        for at, instr in reversed(list(enumerate(block.instrs))):
            if instr.op != "load" or instr.result is None or instr.args[0].type != STACK:
                continue
            if place(instr.args[0], made)[0] in written:
                seen, instr.result = instr.result, Value(instr.result.type)
                hide = Instr("opaque", [instr.result], result=seen, span=instr.span)
                block.instrs.insert(at + 1, hide)


def hide_living(function: Function, loops: list[Loop], fixed: set[Value]) -> None:
    """The third kind, and the same within loops."""
    liveness, made = Liveness(function), definitions(function)
    kept = living_on(liveness, loops)
    inside = {v for loop in loops for b in loop.body for v in _made_in(b)}
    inside -= _sources(function, made, _offsets(function))  # their bounds are needed at once
    entered = {p for loop in loops for p in loop.header.params}  # the first kind
    chosen = {v for v in kept if _varies(v, made)} | (kept & _joined(function, made))
    differing = _joined_constants(function, made) | _truths(function)
    chosen |= {v for v in kept | inside if _differs(v, made, differing)}
    _hide_from_start(function, chosen - entered - fixed)


def _made_in(block: Block) -> Iterator[Value]:
    yield from block.params
    yield from (i.result for i in block.instrs if i.result)


def _joined_constants(function: Function, made: dict[Value, Instr]) -> set[Value]:
    """Parameters of blocks that are a constant for one of the ways there."""
    found = set()
    for instr in function.instructions():
        for edge in instr.targets:
            for param, arg in zip(edge.block.params, edge.args, strict=True):
                if _is_constant(made, arg):
                    found.add(param)
    return found


def _joined(function: Function, made: dict[Value, Instr]) -> set[Value]:
    """Parameters of which the ways there may tell different things."""
    told: dict[Value, set[Value | int]] = {}
    for instr in function.instructions():
        for edge in instr.targets:
            for param, arg in zip(edge.block.params, edge.args, strict=True):
                if isinstance(arg.type, I):
                    how = made.get(arg)
                    told.setdefault(param, set()).add(
                        arg.type.bits if how and _unknown(how) else arg
                    )
    return {param for param, different in told.items() if len(different) > 1}


def _varies(value: Value, made: dict[Value, Instr]) -> bool:
    """Whether code that makes it branches."""
    instr = made.get(value)
    if instr is None or not isinstance(value.type, I):
        return False
    return instr.op == "select" or instr.op in COMPARES


def typed_pointers(function: Function) -> set[Value]:
    """Integers that are pointers to the verifier, or may be: no arithmetic may touch them."""
    found: set[Value] = set()
    pointers = []
    for instr in function.instructions():
        if instr.op == "to_ptr" and instr.result and instr.result.type == BTF:
            pointers.append(instr.args[0])
        elif instr.op == "load" and instr.result and instr.args[0].type == BTF:
            found |= {instr.result} if instr.result.type == I64 else set()
    changed = bool(found)
    while changed:
        before = len(found)
        for instr in function.instructions():
            for edge in instr.targets:
                for param, arg in zip(edge.block.params, edge.args, strict=True):
                    if arg in found:
                        found.add(param)
        changed = len(found) > before
    made = definitions(function)
    return found | {v for v in _sources(function, {}, pointers) if not _is_constant(made, v)}


def bounding(module: Module, function: Function) -> set[Value]:
    """What bounds offsets into memory of unknown size: without it, `bounds` could do nothing."""
    made = definitions(function)
    unknown = [o for p, o in _moves(function) if object_size(module, made, p) is None]
    return _sources(function, made, unknown)


def _offsets(function: Function) -> list[Value]:
    return [offset for _, offset in _moves(function)]


def _moves(function: Function) -> Iterator[tuple[Value, Value]]:
    """Pointers, and values by which they move or how much helpers write there."""
    for instr in function.instructions():
        if instr.op == "ptr_add":
            yield instr.args[0], instr.args[1]
        elif filled := FILLED.get(str(instr.attrs.get("helper"))):
            yield instr.args[filled[0]], instr.args[filled[1]]


def _sources(function: Function, made: dict[Value, Instr], todo: list[Value]) -> set[Value]:
    """Values, what they are made of, and what they were before jumps."""
    arrivals: dict[Value, list[Value]] = {}
    for instr in function.instructions() if todo else ():
        for edge in instr.targets:
            for param, arg in zip(edge.block.params, edge.args, strict=True):
                arrivals.setdefault(param, []).append(arg)
    found: set[Value] = set()
    while todo:
        value = todo.pop()
        if value not in found:
            found.add(value)
            how = made.get(value)
            if how and OPS[how.op].effects == PURE:
                todo += how.args
            todo += arrivals.get(value, [])
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


def _hide_from_start(function: Function, values: set[Value]) -> None:
    """Everybody uses the hidden values instead."""
    hidden = {value: Value(value.type) for value in values}
    replace(function, dict(hidden))
    for block in function.blocks:
        params = [Instr("opaque", [p], result=hidden[p]) for p in block.params if p in hidden]
        instrs: list[Instr] = []
        for instr in block.instrs:
            instrs.append(instr)
            if instr.result in hidden:
                hide = Instr("opaque", [instr.result], result=hidden[instr.result], span=instr.span)
                instrs.append(hide)
        block.instrs = params + instrs
