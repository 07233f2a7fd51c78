"""Compiled code does in the kernel what the interpreter does."""

from __future__ import annotations

import pytest
from backend_support import ENTRY, OUT, compile_text, out_map, program, run
from function_campaign import Machines, Plan

from bpfscript.backends import BACKENDS, backend
from bpfscript.diagnostics import Source
from bpfscript.ir.interp import run as interpret
from bpfscript.ir.interp_machine import Machine
from bpfscript.ir.reader import read_module
from bpfscript.passes.pipeline import run as run_passes
from bpfscript.target import RecordedTarget

pytestmark = pytest.mark.kernel


def _signed_words(*values: int) -> bytes:
    return b"".join((v % (1 << 64)).to_bytes(8, "little") for v in values)


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_generated_programs(first: int) -> None:
    """A few of those that `function_campaign` makes."""
    machines = Machines()
    try:
        found = {seed: machines.outcome(Plan.of(seed)) for seed in range(first, first + 50)}
    finally:
        machines.close()
    assert not {s: o for s, o in found.items() if o not in ("same", "too large")}
    assert list(found.values()).count("same") > 40


def agree(text: str, context: bytes = bytes(64)) -> bytes:
    """What the program leaves in `.out`, the same by each backend and in the interpreter."""
    module = read_module(text)
    words = [int.from_bytes(context[i : i + 8], "little") for i in range(0, 64, 8)]
    machine = Machine(arguments=tuple(words))
    interpret(module.functions[0], machine, module)
    expected = machine.maps[OUT].lookup(bytes(4), 0)
    assert expected is not None
    for name in BACKENDS:
        assert run(compile_text(text, name), context)[OUT] == bytes(expected.data)
    return bytes(expected.data)


@pytest.mark.parametrize("size", [1, 2, 7, 8, 13, 40, 255, 256, 257, 400])
@pytest.mark.parametrize("off", [0, 4, 5])
def test_copies_and_fills(size: int, off: int) -> None:
    text = (
        f"{out_map(1024)}\nfunc f(%0: ptr<ctx>) {ENTRY} {{\nstart:\n"
        '  %1 = map_value {map=".out"} : ptr<map>\n'
        f'  %2 = rodata {{data=b"{"abcdefghij" * 45}"}} : ptr<rodata>\n'
        "  %3 = slot {size=448} : ptr<stack>\n"
        "  fill %3 {off=0, size=448}\n"
        f"  copy %3, %2 {{off={off}, from=1, size={size}}}\n"
        f"  fill %3 {{off={off + size // 3}, size={size // 3 or 1}}}\n"
        f"  copy %1, %3 {{off={off}, from={off}, size={size}}}\n"
        f"  copy %1, %0 {{off={512 + off}, from=8, size=24}}\n"
        "  %4 = const {value=0} : i64\n  return %4\n}\n"
    )
    found = agree(text, bytes(range(64)))
    assert found[512 + off : 536 + off] == bytes(range(8, 32))
    assert found[off + size - 1 :][:1] == (
        b"\0" if size == 1 else b"bcdefghija"[(size - 1) % 10 :][:1]
    )


@pytest.mark.parametrize("name", BACKENDS)
def test_loops_as_long_as_the_kernel_allows(name: str) -> None:
    """The bound is known to the compiler and too large for the verifier to walk."""
    body = """\
start:
  %1 = const {value=0} : i64
  %2 = opaque %1 : i64
  %3 = const {value=1} : i64
  %4 = const {value=1000000} : i64
  jump loop(%2, %1)
loop(%5: i64, %6: i64):
  %7 = ult %5, %4 : i1
  branch %7, ask, done
ask:
  %8 = may_continue : i1
  branch %8, body, done
body:
  %9 = add %5, %3 : i64
  %10 = add %6, %9 : i64
  jump loop(%9, %10)
done:
  %11 = map_value {map=".out"} : ptr<map>
  store %11, %6 {off=0}
  store %11, %5 {off=8}
  return %1
"""
    found = run(compile_text(program(body), name))[OUT]
    assert found[:16] == _signed_words(500_000_500_000, 1_000_000)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_loop_without_end_ends(name: str) -> None:
    body = """\
start:
  %1 = const {value=0} : i64
  %2 = const {value=1} : i64
  jump loop(%1)
loop(%3: i64):
  %4 = may_continue : i1
  branch %4, body, done
body:
  %5 = add %3, %2 : i64
  jump loop(%5)
done:
  %6 = map_value {map=".out"} : ptr<map>
  store %6, %3 {off=0}
  return %1
"""
    rounds = int.from_bytes(run(compile_text(program(body), name))[OUT][:8], "little")
    assert rounds > 1 << 16


MAPS = """\
map name="@x" kind=HASH key=Int(64, True) value=Int(64, True) key_size=8 value_size=8 \
max_entries=64
"""


def test_callbacks_and_functions() -> None:
    body = """\
start:
  %1 = map_ptr {map="@x"} : ptr<map_object>
  %2 = const {value=0} : i64
  %3 = const {value=5} : i64
  %4 = const {value=37} : i64
  %5 = slot {size=16} : ptr<stack>
  store %5, %3 {off=0}
  store %5, %4 {off=8}
  %6 = const {value=8} : i64
  %7 = ptr_add %5, %6 : ptr<stack>
  %8 = call %1, %5, %7, %2 {helper="map_update_elem"} : i64
  %9 = call %1, %7, %5, %2 {helper="map_update_elem"} : i64
  %10 = func_ptr {function="each"} : i64
  %11 = slot {size=16} : ptr<stack>
  fill %11 {off=0, size=16}
  %12 = call %1, %10, %11, %2 {helper="for_each_map_elem"} : i64
  %13 = load %11 {off=0} : i64
  %14 = load %11 {off=8} : i64
  %15 = call_function %13, %14 {function="join"} : i64
  %16 = map_value {map=".out"} : ptr<map>
  store %16, %12 {off=0}
  store %16, %15 {off=8}
  return %2
"""
    more = """\
func each(%0: i64, %1: ptr<map>, %2: ptr<map>, %3: ptr<stack>) {
start:
  %4 = load %1 {off=0} : i64
  %5 = load %2 {off=0} : i64
  %6 = load %3 {off=0} : i64
  %7 = add %6, %4 : i64
  store %3, %7 {off=0}
  %8 = load %3 {off=8} : i64
  %9 = add %8, %5 : i64
  store %3, %9 {off=8}
  %10 = const {value=0} : i64
  return %10
}

func join(%0: i64, %1: i64) {
start:
  %2 = const {value=1000} : i64
  %3 = mul %0, %2 : i64
  %4 = add %3, %1 : i64
  return %4
}
"""
    assert agree(program(body, MAPS, more))[:16] == _signed_words(2, 42042)


def test_context_pointers_stay_whole() -> None:
    """Branches that read the context at different offsets, and a pointer moved into it."""
    body = """\
start:
  %1 = load %0 {off=0} : i64
  %2 = const {value=0} : i64
  %3 = eq %1, %2 : i1
  branch %3, left, right
left:
  %4 = load %0 {off=8} : i64
  jump join(%4)
right:
  %5 = load %0 {off=16} : i64
  jump join(%5)
join(%6: i64):
  %7 = const {value=24} : i64
  %8 = ptr_add %0, %7 : ptr<ctx>
  %9 = load %8 {off=8} : i32
  %10 = zext %9 : i64
  %11 = map_value {map=".out"} : ptr<map>
  store %11, %6 {off=0}
  store %11, %10 {off=8}
  return %2
"""
    for first in (0, 1):
        words = _signed_words(first, 11, 22, 33, 44, 0, 0, 0)
        assert agree(program(body), words)[:16] == _signed_words(22 if first else 11, 44)


def test_unaligned_fields_on_the_stack() -> None:
    body = """\
start:
  %1 = slot {size=16} : ptr<stack>
  fill %1 {off=0, size=16}
  %2 = load %0 {off=0} : i64
  store %1, %2 {off=3}
  %3 = load %1 {off=5} : i32
  %4 = const {value=1} : i64
  %5 = const {value=7} : i64
  %6 = load %0 {off=8} : i64
  %7 = and %6, %5 : i64
  %8 = ptr_add %1, %7 : ptr<stack>
  %9 = load %8 {off=1} : i16
  %10 = map_value {map=".out"} : ptr<map>
  copy %10, %1 {off=0, from=1, size=13}
  store %10, %3 {off=16}
  store %10, %9 {off=24}
  return %4
"""
    agree(program(body), _signed_words(0x0123456789ABCDEF, 5, 0, 0, 0, 0, 0, 0))


def test_an_index_shifted_by_what_is_computed() -> None:
    """Zero stays zero, yet the verifier takes it for any number, of no alignment."""
    body = """\
start:
  %1 = slot {size=24} : ptr<stack>
  fill %1 {off=0, size=24}
  %2 = load %0 {off=0} : i64
  %3 = const {value=0} : i64
  %4 = shl %3, %2 : i64
  %5 = const {value=7} : i64
  %6 = and %4, %5 : i64
  %7 = ptr_add %1, %6 : ptr<stack>
  store %7, %2 {off=2}
  %8 = map_value {map=".out"} : ptr<map>
  copy %8, %1 {off=0, from=0, size=24}
  return %3
"""
    assert agree(program(body), _signed_words(0x1234, *[0] * 7))[2:4] == b"\x34\x12"


def test_bounds_that_only_llvm_knows() -> None:
    """Of quotients, remainders, numbers shifted by what is computed."""
    body = """\
start:
  %1 = rodata {data=b"abcdefghijklmnop"} : ptr<rodata>
  %2 = load %0 {off=0} : i64
  %3 = const {value=4611686018427387903} : i64
  %4 = udiv %2, %3 : i64
  %5 = const {value=5} : i64
  %6 = urem %2, %5 : i64
  %7 = const {value=7} : i64
  %8 = and %4, %7 : i64
  %9 = and %6, %7 : i64
  %10 = ptr_add %1, %8 : ptr<rodata>
  %11 = ptr_add %1, %9 : ptr<rodata>
  %12 = load %10 {off=0} : i8
  %13 = load %11 {off=8} : i8
  %14 = map_value {map=".out"} : ptr<map>
  store %14, %12 {off=0}
  store %14, %13 {off=1}
  %15 = lshr %7, %2 : i64
  %16 = and %15, %7 : i64
  %17 = ptr_add %1, %16 : ptr<rodata>
  %18 = load %17 {off=8} : i8
  store %14, %18 {off=2}
  return %5
"""
    assert agree(program(body), _signed_words(-1, *[0] * 7))[:3] == b"eii"


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("first", ["%4", "%2"])
def test_an_index_behind_an_index(name: str, first: str) -> None:
    """The second gets a bound, too, although its pointer does not lead to an object's start;
    also behind one that has just been given a bound."""
    body = f"""\
start:
  %1 = slot {{size=24}} : ptr<stack>
  fill %1 {{off=0, size=24}}
  %2 = load %0 {{off=0}} : i64
  %3 = const {{value=7}} : i64
  %4 = and %2, %3 : i64
  %5 = ptr_add %1, {first} : ptr<stack>
  %6 = const {{value=65}} : i8
  store %5, %6 {{off=9}}
  %7 = load %0 {{off=8}} : i64
  %8 = ptr_add %5, %7 : ptr<stack>
  %9 = load %8 {{off=0}} : i8
  %10 = map_value {{map=".out"}} : ptr<map>
  store %10, %9 {{off=0}}
  return %3
"""
    for index, wanted in ((9, 65), (8, 0), (1 << 40, 0), (-9, 0)):
        module = read_module(program(body))
        run_passes(module, RecordedTarget())
        artifact = backend(name).emit(module, RecordedTarget(), Source("f", ""))
        assert run(artifact, _signed_words(5, index, *[0] * 6))[OUT][0] == wanted


@pytest.mark.parametrize("op", ["udiv", "urem", "sdiv"])
@pytest.mark.parametrize(("a", "b"), [(7, 0), (0, 0), (-7, 2), (-(1 << 63), -1), (9, -9)])
def test_division(op: str, a: int, b: int) -> None:
    body = f"""\
start:
  %1 = load %0 {{off=0}} : i64
  %2 = load %0 {{off=8}} : i64
  %3 = {op} %1, %2 : i64
  %4 = const {{value=0}} : i64
  %5 = {op} %1, %4 : i64
  %6 = ne %2, %4 : i1
  %7 = map_value {{map=".out"}} : ptr<map>
  store %7, %3 {{off=0}}
  store %7, %5 {{off=8}}
  branch %6, divide, done
divide:
  %8 = {op} %1, %2 : i64
  store %7, %8 {{off=16}}
  jump done
done:
  return %4
"""
    agree(program(body), _signed_words(a, b, 0, 0, 0, 0, 0, 0))
