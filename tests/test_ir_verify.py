"""Each rule of ir/verify.py, broken."""

from __future__ import annotations

import pytest

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Function, Instr, Value
from bpfscript.ir.reader import read_function, read_module
from bpfscript.ir.types import I64
from bpfscript.ir.verify import verify

HEAD = """
map name="@x" kind=HASH key=Int(64, True) value=Int(32, True) key_size=8 value_size=4 max_entries=9
event kind="print" fields=(Int(64, True),) offsets=(8,) size=16
func callback(%0: ptr<map>, %1: ptr<map>, %2: ptr<stack>) {
a: %3 = load %1 {off=0} : i64 return %3 }
"""


def broken(text: str, *, legal: bool = False) -> str:
    with pytest.raises(CompilerBug) as raised:
        verify(read_function(text), legal=legal)
    return str(raised.value)


def broken_module(body: str, params: str = "%0: ptr<ctx>") -> str:
    text = f"{HEAD}func f({params}) {{ a: %1 = const {{value=0}} : i64 {body} return %1 }}"
    with pytest.raises(CompilerBug) as raised:
        verify(read_module(text))
    return str(raised.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("a: %1 = add %0, %0 : i32 return %0", "its result is i32, not i64"),
        ("a: return %0 return %0", "block a does not have its only terminator at the end"),
        ("a: %1 = opaque %0 : i64", "block a does not have its only terminator at the end"),
        ("a:", "block a does not have its only terminator at the end"),
        ("a: jump a", "edge from a to a: goes to the first block"),
        ("a: jump b b(%1: i64): return %1", "edge from a to b: gives () for (i64)"),
        ("a: jump b(%0) b(%1: i32): return %0", "edge from a to b: gives (i64) for (i32)"),
        ("a: jump c b: %1 = opaque %0 : i64 return %1 c: return %1", "does not dominate"),
        ("a: %1 = opaque %2 : i64 %2 = opaque %0 : i64 return %1", "does not dominate"),
        (
            "a: %1 = const {value=1} : i1 branch %1, b, c "
            "b: %2 = opaque %0 : i64 jump d c: jump d d: return %2",
            "`return %2`: the definition of an operand does not dominate it",
        ),
        ("a: %1 = comm : ptr<stack> fill %1 {off=0, size=1} return %0", "value of comm"),
        (
            "a: %1 = comm : ptr<stack> %2 = ptr_add %1, %0 : ptr<stack> store %2, %0 {off=0} "
            "return %0",
            "value of comm",
        ),
    ],
)
def test_rules_of_functions(body: str, message: str) -> None:
    assert message in broken(f"func f(%0: i64) {{ {body} }}")


def test_high_operations_are_not_legal() -> None:
    text = "func f() { a: %0 = probe_id : i64 return %0 }"
    verify(read_function(text))
    assert "`%0 = probe_id : i64`: is a high operation" in broken(text, legal=True)


def test_definitions_are_single_and_exist() -> None:
    function = read_function("func f(%0: i64) { a: %1 = opaque %0 : i64 return %1 }")
    (block,) = function.blocks
    block.instrs[0].result = function.params[0]
    with pytest.raises(CompilerBug, match="defined a second time") as raised:
        verify(function)
    assert "`return %?`: an operand is not defined" in str(raised.value)


def test_edges_stay_inside_the_function() -> None:
    function = read_function("func f(%0: i64) { a: jump b b: return %0 }")
    other = function.blocks.pop()
    with pytest.raises(CompilerBug, match="edge from a to b: no block of this function"):
        verify(function)
    function.blocks.append(other)
    verify(function)


def test_the_first_block_has_the_parameters() -> None:
    function = read_function("func f(%0: i64) { a: return %0 }")
    function.params.append(Value(I64))
    with pytest.raises(CompilerBug, match="does not have the function's parameters"):
        verify(function)
    with pytest.raises(CompilerBug, match="no blocks"):
        verify(Function("f", []))


def test_unreachable_blocks_may_use_anything() -> None:
    verify(
        read_function(
            "func f(%0: i64) { a: return %0 b: return %1 c: %1 = opaque %0 : i64 jump b }"
        )
    )


def test_every_fault_is_listed() -> None:
    function = read_function("func f(%0: i64) { a: %1 = add %0 : i64 return %0 return %0 }")
    function.blocks[0].instrs.insert(0, Instr("plus"))
    with pytest.raises(CompilerBug) as raised:
        verify(function)
    for part in ("no instruction plus", "1 operands, not 2", "only terminator", "func f(%0: i64)"):
        assert part in str(raised.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('%2 = map_read %1 {map="@y"} : i64', "there is no map @y"),
        ('%2 = map_read %1 {map="@x"} : i64', "the value is i64 where 4 bytes belong"),
        ('%2 = trunc %1 : i32 map_write %2, %2 {map="@x"}', "the key is i32 where 8 bytes belong"),
        (
            '%2 = to_ptr %1 : ptr<user> %3 = map_has %2 {map="@x"} : i1',
            "the key is ptr<user>, which is not direct memory",
        ),
        ("emit {event=0}", "0 operands for 1 fields"),
        ("emit %1 {event=1}", "there is no event 1"),
        ("%2 = trunc %1 : i32 emit %2 {event=0}", "operand 1 is i32 where 8 bytes belong"),
        ('%2 = func_ptr {function="g"} : i64', "there is no function g"),
        ('%2 = call_function %1 {function="callback"} : i64', "gives (i64) for (ptr<map>,"),
        (
            '%2 = slot {size=8} : ptr<stack> for_each %2 {map="@x", function="f"}',
            "f takes (ptr<ctx>), not (ptr<map>, ptr<map>, ptr<stack>)",
        ),
        ('%2 = const {value=0} : i32 aggregate %1, %2 {map="@x"}', "is not i64"),
    ],
)
def test_rules_of_modules(body: str, message: str) -> None:
    assert message in broken_module(body)


def test_names_are_unique_and_programs_take_the_context() -> None:
    module = read_module(HEAD + "func callback() { a: %0 = const {value=0} : i64 return %0 }")
    with pytest.raises(CompilerBug, match="two functions callback"):
        verify(module)
    text = """func f(%0: i64) type=TRACEPOINT section="s" kind="begin"
    probe=ProbeInfo("f", (), ("b",)) { a: return %0 }"""
    with pytest.raises(CompilerBug, match="has the one parameter ptr<ctx>"):
        verify(read_module(text))
