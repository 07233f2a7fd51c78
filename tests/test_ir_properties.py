"""What holds for every function: it can be read back, verifies, and runs without a trap."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from ir_strategies import CTX_SIZE, functions

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Function
from bpfscript.ir.interp import run
from bpfscript.ir.interp_machine import Machine
from bpfscript.ir.printer import print_function
from bpfscript.ir.reader import read_function
from bpfscript.ir.verify import verify


@settings(deadline=None, max_examples=50)
@given(functions(), st.binary(min_size=CTX_SIZE, max_size=CTX_SIZE))
def test_generated_functions_are_valid(function: Function, ctx: bytes) -> None:
    verify(function, legal=True)
    text = print_function(function)
    again = read_function(text)
    assert print_function(again) == text
    verify(again, legal=True)
    result = run(function, Machine(ctx=ctx))
    assert 0 <= result < 2**64
    assert run(again, Machine(ctx=ctx)) == result


@settings(deadline=None, max_examples=50)
@given(functions())
def test_dominators_agree_with_their_definition(function: Function) -> None:
    graph = Graph(function)
    for a in graph.order:
        reached, todo = {a}, [graph.order[0]]
        while todo:
            block = todo.pop()
            if block not in reached:
                reached.add(block)
                todo += [edge.block for edge in block.terminator.targets]
        for b in graph.order:
            avoidable = a is not b and b in reached
            assert graph.dominates(a, b) == (not avoidable)


@settings(deadline=None, max_examples=50)
@given(functions())
def test_loops_are_entered_at_their_header(function: Function) -> None:
    graph = Graph(function)
    for loop in graph.loops():
        assert loop.latches
        for block in loop.body:
            assert graph.dominates(loop.header, block)
            if block is not loop.header:
                assert set(graph.predecessors[block]) <= loop.body
