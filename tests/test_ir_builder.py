from __future__ import annotations

from typing import Any

import pytest

from bpfscript.diagnostics import CompilerBug, Source, Span
from bpfscript.ir.builder import Builder
from bpfscript.ir.core import Function, Value
from bpfscript.ir.printer import print_function
from bpfscript.ir.types import BTF, CTX, I1, I8, I32, I64, KERNEL, MAP, RING, STACK, USER, Type
from bpfscript.ir.verify import verify


def builder(*params: Type) -> Builder:
    b = Builder(Function("f", [Value(t) for t in params]))
    b.at(b.block("start"))
    return b


def test_conveniences() -> None:
    b = builder(CTX)
    ctx = b.function.params[0]
    loop, done = b.block("loop", I64), b.block("done")
    slot = b.value("slot", size=16)
    b.store(slot, b.load(ctx, I32, 4), 8)
    b.copy(slot, ctx, 8, source_off=8)
    b.jump(loop, b.call("ktime_get_ns"))
    b.at(loop)
    b.branch(b.value("eq", loop.params[0], b.const(3)), loop, done, (b.const(1),))
    b.at(done)
    b.ret(b.const(0))
    verify(b.function)
    assert (
        print_function(b.function)
        == """\
func f(%0: ptr<ctx>) {
start:
  %1 = slot {size=16} : ptr<stack>
  %2 = load %0 {off=4} : i32
  store %1, %2 {off=8}
  copy %1, %0 {off=0, from=8, size=8}
  %3 = call {helper="ktime_get_ns"} : i64
  jump loop(%3)
loop(%4: i64):
  %5 = const {value=3} : i64
  %6 = eq %4, %5 : i1
  %7 = const {value=1} : i64
  branch %6, loop(%7), done
done:
  %8 = const {value=0} : i64
  return %8
}
"""
    )


def test_results_have_the_types_of_their_rows() -> None:
    b = builder(I32, I32, KERNEL, USER, I1)
    x, y, kernel, user, flag = b.function.params
    assert b.value("add", x, y).type == I32
    assert b.value("ult", x, y).type == I1
    assert b.value("select", flag, kernel, kernel).type == KERNEL
    assert b.value("ptr_add", user, b.const(8)).type == USER
    assert b.value("comm").type == STACK
    assert b.value("read_int", kernel, type=I8, off=0).type == I8
    map, key = b.value("map_ptr", map="@x"), b.value("slot", size=8)
    assert b.call("map_lookup_elem", map, key).type == MAP
    assert b.call("ringbuf_reserve", map, b.const(8), b.const(0)).type == RING
    assert b.call("get_current_task_btf").type == BTF
    assert b.emit("fill", key, off=0, size=8) is None


@pytest.mark.parametrize(
    ("op", "args", "type", "attrs", "message"),
    [
        ("plus", [], None, {}, "no instruction plus"),
        ("add", [I32], None, {}, "1 operands, not 2"),
        ("add", [I32, I64], None, {}, "operand 2 is i64, not i32"),
        ("add", [CTX, I64], None, {}, "operand 1 is ptr<ctx>, not I"),
        ("add", [I64, I64], I64, {}, "takes no type"),
        ("load", [CTX], None, {"off": 0}, "a type is missing"),
        ("load", [CTX], I64, {}, "attribute off is missing"),
        ("load", [CTX], I64, {"off": 0, "size": 8}, "unknown attribute size"),
        ("load", [CTX], I64, {"off": "0"}, "attribute off is '0', not of type int"),
        ("load", [KERNEL], I64, {"off": 0}, "operand 1 is ptr<kernel>, not D"),
        ("load", [CTX], I1, {"off": 0}, "i1 has no place in memory"),
        ("load", [CTX], MAP, {"off": 0}, "not an integer"),
        ("read_int", [STACK], I64, {"off": 0}, "operand 1 is ptr<stack>, not F"),
        ("store", [CTX, I64], None, {"off": 0}, "read-only"),
        ("zext", [I64], I32, {}, "wrong way"),
        ("trunc", [I32], I64, {}, "wrong way"),
        ("sext", [I32], I32, {}, "wrong way"),
        ("bswap", [I8], None, {}, "no bytes to swap"),
        ("select", [I1, I64, I32], None, {}, "operand 3 is i32, not i64"),
        ("to_ptr", [I64], STACK, {}, "not kernel or user memory"),
        ("branch", [I1], None, {}, "0 targets"),
        ("return", [I32], None, {}, "operand 1 is i32, not i64"),
        ("call", [], I64, {"helper": "no"}, "no helper no"),
        ("call", [I64], I64, {"helper": "ktime_get_ns"}, "takes 0 operands, not 1"),
        ("call", [], MAP, {"helper": "ktime_get_ns"}, "not i64"),
        ("pack", [I64], None, {"offsets": (), "sizes": (), "size": 8}, "differ in number"),
        ("divide", [I64, I64], None, {"op": "sdiv"}, "attribute op"),
    ],
)
def test_violations(
    op: str, args: list[Type], type: Type | None, attrs: dict[str, Any], message: str
) -> None:
    b = builder(*args)
    with pytest.raises(CompilerBug) as raised:
        b.emit(op, *b.function.params, type=type, **attrs)
    assert message in str(raised.value)
    assert not b.function.blocks[0].instrs


def test_an_ended_block_takes_no_more() -> None:
    b = builder(I64)
    assert not b.ended
    b.ret(b.function.params[0])
    assert b.ended
    with pytest.raises(CompilerBug, match="has ended"):
        b.const(1)


def test_there_must_be_a_block() -> None:
    with pytest.raises(CompilerBug, match="at no block"):
        Builder(Function("f", [])).const(1)
    with pytest.raises(CompilerBug, match="first block"):
        Builder(Function("f", [])).block("start", I64)


def test_spans_ride_along() -> None:
    b = builder()
    source = Source("t.bt", "x\n  y")
    b.span = Span(source, 4, 5)
    b.const(1)
    assert "%0 = const {value=1} : i64  ; 2:3" in print_function(b.function, spans=True)
    assert ";" not in print_function(b.function)
