"""Every loop ends, in a way that the kernel's verifier can follow.

    head(%i): …   latch: jump head(%j)
    →  latch: %c = may_continue; branch %c, head(%j), stop      stop: return 0

may_goto (6.9) is what lets such a loop be, once the verifier sees it repeat (see `loop_states`);
without it, a counter of our own bounds each loop, and the verifier walks it. Cost: linear in loops,
and that of `loop_states`.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph, Loop
from bpfscript.ir.core import Block, Edge, Function, Instr, Module, Value
from bpfscript.ir.types import I1, I64
from bpfscript.target import Target

from .loop_states import hide_entering, hide_living, hide_loaded

ROUNDS = 4096  # of a loop where the kernel has no may_goto


def bounded_loops(module: Module, target: Target) -> None:
    for function in module.functions:
        if not target.has("may_goto"):
            _count_all(function)
            continue
        if function.entry is None:
            hide_loaded(function, function.blocks)  # a loop of the kernel's, which calls it back
        if loops := Graph(function).loops():
            hide_living(function, loops)
            stop = _stop_block()
            function.blocks.append(stop)
            for loop in loops:
                hide_entering(function, loop)
                hide_loaded(function, [b for b in function.blocks if b in loop.body])
                _may_continue(function, loop, stop)


def _count_all(function: Function) -> None:
    if loops := Graph(function).loops():
        stop = _stop_block()
        function.blocks.append(stop)
        for loop in loops:
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
