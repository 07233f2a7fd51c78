"""Every loop ends, in a way that the kernel's verifier can follow.

    head(%i): …   latch: jump head(%j)
    →  latch: %c = may_continue; branch %c, head(%j), stop      stop: return 0

The verifier walks a loop, and what bpf_for_each_map_elem calls, until a state repeats. A counter whose range it knows has another one each
time round, so the walk lasts as long as the loop (is_state_visited, states_equal). Integers that
enter a loop therefore pass through `opaque`: the counter is anything from the first round on, and
the second round is nothing new. So do integers that a round reads from stack memory which it or
another one wrote, for the verifier knows what was stored there. may_goto (6.9) is what lets such a
loop be; without it, a counter of our own bounds each loop, and the verifier walks it. Cost: blocks
times loops.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph, Loop
from bpfscript.ir.core import Block, Edge, Function, Instr, Module, Value
from bpfscript.ir.types import CTX, I1, I64, STACK, I
from bpfscript.target import Target

from .values import definitions

ROUNDS = 4096  # of a loop where the kernel has no may_goto


def bounded_loops(module: Module, target: Target) -> None:
    for function in module.functions:
        if function.entry is None and target.has("may_goto"):
            _hide_loaded(function, function.blocks)  # a loop of the kernel's, which calls it back
        loops = Graph(function).loops()
        if loops:
            stop = _stop_block()
            function.blocks.append(stop)
            for loop in loops:
                if target.has("may_goto"):
                    _hide_entering(function, loop)
                    _hide_loaded(function, [b for b in function.blocks if b in loop.body])
                    _may_continue(function, loop, stop)
                else:
                    _count(function, loop, stop)


def _stop_block() -> Block:
    zero = Value(I64)
    return Block(
        "stop", [], [Instr("const", attrs={"value": 0}, result=zero), Instr("return", [zero])]
    )


def _may_continue(function: Function, loop: Loop, stop: Block) -> None:
    for latch in loop.latches:
        for edge in latch.terminator.targets:
            if edge.block is loop.header:
                go = Value(I1)
                check = Block(
                    "again",
                    [],
                    [
                        Instr("may_continue", result=go),
                        Instr("branch", [go], targets=[Edge(edge.block, edge.args), Edge(stop)]),
                    ],
                )
                function.blocks.insert(function.blocks.index(latch) + 1, check)
                edge.block, edge.args = check, []


def _hide_entering(function: Function, loop: Loop) -> None:
    made = definitions(function)
    for block in function.blocks:
        if block in loop.body or not block.instrs:
            continue
        for edge in block.terminator.targets:
            if edge.block is loop.header:
                edge.args = [_hidden(block, made, arg) for arg in edge.args]


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


def _hide_loaded(function: Function, body: list[Block]) -> None:
    """What a round reads at constant places of its stack memory, where rounds also write."""
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


def _count(function: Function, loop: Loop, stop: Block) -> None:
    """A counter as one more parameter of the header."""
    counter = Value(I64)
    loop.header.params.append(counter)
    for block in list(function.blocks):
        for edge in block.terminator.targets if block.instrs else ():
            if edge.block is loop.header and block not in loop.latches:
                zero = Value(I64)
                block.instrs.insert(-1, Instr("const", attrs={"value": 0}, result=zero))
                edge.args.append(zero)
            elif edge.block is loop.header:
                check = _counter_check(loop.header, edge, counter, stop)
                function.blocks.insert(function.blocks.index(block) + 1, check)
                edge.block, edge.args = check, []


def _counter_check(header: Block, edge: Edge, counter: Value, stop: Block) -> Block:
    one, more, limit, below = Value(I64), Value(I64), Value(I64), Value(I1)
    return Block(
        "again",
        [],
        [
            Instr("const", attrs={"value": 1}, result=one),
            Instr("add", [counter, one], result=more),
            Instr("const", attrs={"value": ROUNDS}, result=limit),
            Instr("ult", [more, limit], result=below),
            Instr("branch", [below], targets=[Edge(header, [*edge.args, more]), Edge(stop)]),
        ],
    )
