"""No pass changes what a program does: the interpreter before and after, on generated functions."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_strategies import CTX_SIZE, functions

from bpfscript.ir.core import Function, Module
from bpfscript.ir.interp import run
from bpfscript.ir.interp_machine import Machine
from bpfscript.ir.printer import print_function
from bpfscript.ir.verify import verify
from bpfscript.passes.pipeline import PIPELINE, Holds, Pass, check_order
from bpfscript.passes.pipeline import run as run_passes
from bpfscript.target import FEATURES, RecordedTarget

CONTEXTS = st.binary(min_size=CTX_SIZE, max_size=CTX_SIZE)
TARGET = RecordedTarget()
OLD = RecordedTarget(features=frozenset(FEATURES) - {"may_goto"})


@pytest.mark.parametrize("step", PIPELINE, ids=lambda step: step.name)
@settings(deadline=None, max_examples=12)
@given(function=functions(), ctx=CONTEXTS)
def test_pass_keeps_behaviour(step: Pass, function: Function, ctx: bytes) -> None:
    module = Module([function])
    expected = run(function, Machine(ctx=ctx), module)
    step.run(module, TARGET)
    verify(module, legal=True)
    assert run(function, Machine(ctx=ctx), module) == expected


@pytest.mark.parametrize("target", [TARGET, OLD], ids=["may_goto", "counted"])
@pytest.mark.parametrize("optimise", [True, False])
@settings(deadline=None, max_examples=15)
@given(function=functions(size=20), ctx=CONTEXTS)
def test_pipeline_keeps_behaviour(
    target: RecordedTarget, optimise: bool, function: Function, ctx: bytes
) -> None:
    module = Module([function])
    expected = run(function, Machine(ctx=ctx), module)
    run_passes(module, target, optimise=optimise, verify=True)
    assert run(function, Machine(ctx=ctx), module) == expected


@settings(deadline=None, max_examples=12)
@given(function=functions())
def test_optimising_twice_changes_nothing_more(function: Function) -> None:
    module = Module([function])
    steps = [p for p in PIPELINE if p.name.startswith("legal-")]
    for _ in range(3):
        for step in steps:
            step.run(module, TARGET)
    text = print_function(function)
    for step in steps:
        step.run(module, TARGET)
    assert len(print_function(function)) <= len(text)


@pytest.mark.parametrize("optimise", [True, False])
def test_order_gives_what_backends_need(optimise: bool) -> None:
    check_order(optimise=optimise)


def test_order_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    shorter = tuple(p for p in PIPELINE if p.name != "null-checks")
    monkeypatch.setattr("bpfscript.passes.pipeline.PIPELINE", shorter)
    with pytest.raises(ValueError, match="ends without NULL_CHECKED"):
        check_order()
    check_order([Holds.LEGAL])
