"""SSA construction: programs in a tiny structured language, built and run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.builder import Builder
from bpfscript.ir.core import Block, Function, Value
from bpfscript.ir.interp import run
from bpfscript.ir.interp_machine import Machine
from bpfscript.ir.printer import print_function
from bpfscript.ir.ssa import Variables
from bpfscript.ir.types import I8, I64, KERNEL, MAP, STACK
from bpfscript.ir.verify import verify

N = 4  # variables; statements name them by number

# ("set", x, constant) ("add", x, y) ("if", x, then, else) ("loop", x, count, body)
# ("break",) ("continue",) ("return", x)
Statement = tuple[Any, ...]


def statements(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Statement]]:
    variable = st.integers(0, N - 1)
    kinds: list[st.SearchStrategy[Statement]] = [
        st.tuples(st.just("set"), variable, st.integers(-3, 9)),
        st.tuples(st.just("add"), variable, variable),
        st.tuples(st.just("if"), variable, inner, inner),
        st.tuples(st.just("loop"), st.integers(0, 3), inner),
        st.tuples(st.sampled_from(["break", "continue"])),
        st.tuples(st.just("return"), variable),
    ]
    return st.lists(st.one_of(kinds), max_size=4)


bodies: st.SearchStrategy[list[Statement]] = st.recursive(st.just([]), statements, max_leaves=12)


class Lowering:
    """Builds a program; the counter of each loop is a variable too."""

    def __init__(self) -> None:
        self.b = Builder(Function("f", []))
        self.vars = Variables(self.b)
        self.loops: list[tuple[Block, Block]] = []
        start = self.b.block("start")
        self.vars.seal(start)
        self.b.at(start)

    def function(self, body: list[Statement]) -> Function:
        self.body(body)
        if not self.b.ended:
            total = self.read(0)
            for i in range(1, N):
                total = self.b.value("add", total, self.read(i))
            self.b.ret(total)
        self.vars.finish()
        return self.b.function

    @property
    def here(self) -> Block:
        assert self.b.current
        return self.b.current

    def read(self, variable: object) -> Value:
        return self.vars.read(variable, self.here, I64)

    def go(self, block: Block) -> None:
        if not self.b.ended:
            self.b.jump(block)

    def body(self, body: list[Statement]) -> None:
        for statement in body:
            if self.b.ended:  # what follows a break is built all the same
                dead = self.b.block("dead")
                self.vars.seal(dead)
                self.b.at(dead)
            self.statement(*statement)

    def statement(self, kind: str, *rest: object) -> None:
        getattr(self, f"do_{kind}")(*rest)

    def do_set(self, variable: int, value: int) -> None:
        self.vars.write(variable, self.here, self.b.const(value))

    def do_add(self, left: int, right: int) -> None:
        total = self.b.value("add", self.read(left), self.read(right))
        self.vars.write(left, self.here, total)

    def do_if(self, variable: int, then: list[Statement], otherwise: list[Statement]) -> None:
        yes, no, end = (self.b.block(name) for name in ("yes", "no", "end"))
        self.b.branch(self.b.value("slt", self.b.const(0), self.read(variable)), yes, no)
        for block, body in ((yes, then), (no, otherwise)):
            self.vars.seal(block)
            self.b.at(block)
            self.body(body)
            self.go(end)
        self.vars.seal(end)
        self.b.at(end)

    def do_loop(self, count: int, body: list[Statement]) -> None:
        head, inside, end = (self.b.block(name) for name in ("head", "body", "end"))
        counter = ("counter", head)
        self.vars.write(counter, self.here, self.b.const(0))
        self.b.jump(head)
        self.b.at(head)
        i = self.read(counter)
        self.vars.write(counter, head, self.b.value("add", i, self.b.const(1)))
        self.b.branch(self.b.value("ult", i, self.b.const(count)), inside, end)
        self.vars.seal(inside)
        self.b.at(inside)
        self.loops.append((head, end))
        self.body(body)
        self.loops.pop()
        self.go(head)
        self.vars.seal(head)
        self.vars.seal(end)
        self.b.at(end)

    def do_break(self) -> None:
        if self.loops:
            self.b.jump(self.loops[-1][1])

    def do_continue(self) -> None:
        if self.loops:
            self.b.jump(self.loops[-1][0])

    def do_return(self, variable: int) -> None:
        self.b.ret(self.read(variable))


class Left(Exception):
    """A break, continue or return of the direct evaluation."""


def evaluate(body: list[Statement]) -> int:
    variables = [0] * N
    try:
        _evaluate(body, variables, False)
    except Left as left:
        return int(left.args[1])
    return sum(variables) % 2**64


def _evaluate(body: list[Statement], variables: list[int], in_loop: bool) -> None:
    for kind, *rest in body:
        match kind:
            case "set":
                variables[rest[0]] = rest[1] % 2**64
            case "add":
                variables[rest[0]] = (variables[rest[0]] + variables[rest[1]]) % 2**64
            case "if":
                positive = 0 < variables[rest[0]] < 2**63
                _evaluate(rest[1] if positive else rest[2], variables, in_loop)
            case "loop":
                for _ in range(rest[0]):
                    try:
                        _evaluate(rest[1], variables, True)
                    except Left as left:
                        if left.args[0] == "return":
                            raise
                        if left.args[0] == "break":
                            break
            case "return":
                raise Left("return", variables[rest[0]])
            case _ if in_loop:
                raise Left(kind)


@settings(deadline=None, max_examples=200)
@given(bodies)
def test_built_programs_mean_what_they_say(body: list[Statement]) -> None:
    function = Lowering().function(body)
    verify(function, legal=True)
    assert run(function, Machine()) == evaluate(body)


@pytest.mark.parametrize(
    "body",
    [
        [("loop", 3, [("set", 1, 1), ("add", 0, 1)])],
        [("set", 0, 1), ("loop", 3, [("loop", 2, [("add", 1, 0), ("break",)]), ("add", 0, 1)])],
        [("loop", 3, [("if", 0, [("break",)], [("set", 0, 7)]), ("add", 2, 0)])],
        [("loop", 2, [("continue",), ("add", 0, 1)]), ("return", 3)],
        [("return", 1), ("loop", 1, [("add", 0, 0)])],
    ],
)
def test_shapes(body: list[Statement]) -> None:
    function = Lowering().function(body)
    verify(function)
    assert run(function, Machine()) == evaluate(body)


def test_only_variables_that_change_become_parameters() -> None:
    function = Lowering().function(
        [("set", 0, 5), ("set", 1, 2), ("loop", 3, [("add", 1, 0)]), ("return", 1)]
    )
    assert (
        print_function(function)
        == """\
func f() {
start:
  %0 = const {value=5} : i64
  %1 = const {value=2} : i64
  %2 = const {value=0} : i64
  jump head(%2, %1)
head(%3: i64, %4: i64):
  %5 = const {value=1} : i64
  %6 = add %3, %5 : i64
  %7 = const {value=3} : i64
  %8 = ult %3, %7 : i1
  branch %8, body, end
body:
  %9 = add %4, %0 : i64
  jump head(%6, %9)
end:
  return %4
}
"""
    )


def test_a_read_before_any_write_is_zero() -> None:
    b = Builder(Function("f", []))
    variables = Variables(b)
    start, end = b.block("start"), b.block("end")
    b.at(start)
    b.jump(end)
    variables.seal(end)
    assert variables.read("x", end, I8).type == I8
    assert variables.read("p", end, KERNEL).type == KERNEL
    ops = [(i.op, i.attrs.get("value")) for i in start.instrs]
    assert sorted(ops, key=str) == [("const", 0), ("const", 0), ("jump", None), ("to_ptr", None)]
    assert variables.read("s", end, STACK).type == STACK
    with pytest.raises(CompilerBug, match="no undefined ptr<map>"):
        variables.read("m", end, MAP)


def test_an_unsealed_block_is_found_out() -> None:
    b = Builder(Function("f", []))
    variables = Variables(b)
    start, open_block = b.block("start"), b.block("open")
    b.at(start)
    b.jump(open_block)
    variables.read("x", open_block, I64)
    with pytest.raises(CompilerBug, match="not sealed: open"):
        variables.finish()


def test_long_chains_do_not_recurse() -> None:
    body: list[Statement] = [("if", 0, [("set", 1, i)], []) for i in range(2000)]
    function = Lowering().function([("set", 2, 9), *body, ("return", 2)])
    assert run(function, Machine()) == 9
    assert not any(block.params for block in function.blocks)
