from __future__ import annotations

import pytest
from backend_support import compile_text, program

from bpfscript.backends import BACKENDS, backend, isa
from bpfscript.backends.llvm_instructions import EFFECTS, PURE
from bpfscript.backends.llvm_text import PLACELESS, to_text
from bpfscript.backends.memory import alignments, chunks
from bpfscript.diagnostics import CompilerBug, Source
from bpfscript.driver import compile
from bpfscript.frontend.typed import Options
from bpfscript.ir.ops import OPS
from bpfscript.ir.reader import read_module
from bpfscript.manifest import Internal
from bpfscript.passes.pipeline import check_order
from bpfscript.target import RecordedTarget

ZERO = "start:\n  %1 = const {value=0} : i64\n  return %1\n"


def test_every_legal_operation_is_there() -> None:
    handled = [*PURE, *EFFECTS, *PLACELESS]
    assert sorted(handled) == sorted(n for n, row in OPS.items() if not row.high)


@pytest.mark.parametrize("name", BACKENDS)
def test_the_pipeline_gives_what_a_backend_needs(name: str) -> None:
    check_order(backend(name).needs)


def test_same_module_same_bytes() -> None:
    first, second = compile_text(program(ZERO)), compile_text(program(ZERO))
    assert first == second


def test_manifest_has_what_the_module_knows() -> None:
    body = (
        'start:\n  %1 = rodata {data=b"abc"} : ptr<rodata>\n  %2 = load %1 {off=0} : i8\n'
        "  %3 = zext %2 : i64\n  %4 = opaque %3 : i64\n  return %4\n"
    )
    artifact = compile_text(program(body))
    assert [m.name for m in artifact.manifest.maps] == [".out", ".rodata", ".zero"]
    assert artifact.rodata == b"abc".ljust(8, b"\0")
    assert [p.names for p in artifact.manifest.probes] == [("rawtracepoint:sched_switch",)]


def test_a_program_reaches_what_it_calls() -> None:
    body = (
        'start:\n  %1 = const {value=0} : i64\n  %2 = call_function %1 {function="g"} : i64\n'
        "  return %2\n"
    )
    more = (
        "func unused() {\nstart:\n  %1 = const {value=0} : i64\n  return %1\n}\n\n"
        "func g(%0: i64) {\n"
        'start:\n  %1 = call_function %0 {function="h"} : i64\n  return %1\n}\n\n'
        "func h(%0: i64) {\nstart:\n  return %0\n}\n"
    )
    assert compile_text(program(body, more=more)).programs[0].functions == ("f", "g", "h")


LOOP = (
    "start:\n  jump loop\nloop:\n  %1 = may_continue : i1\n  branch %1, loop, done\n"
    "done:\n  %2 = const {value=0} : i64\n  return %2\n"
)


def test_may_continue_becomes_three_instructions() -> None:
    function = compile_text(program(LOOP), "llvm").functions["f"]
    codes = [i.code for i in isa.decode(function.code)]
    at = codes.index(isa.MAY_GOTO)
    assert codes[at - 1] == codes[at + 1] == isa.MOV64_IMM
    assert isa.CALL not in codes


def test_loops_go_back_by_a_jump() -> None:
    """Linux 6.1 refuses a loop that is entered in the middle and falls through to its head."""
    text = "begin { $sum = (int64)0; for ($i : 0..10) { $sum += $i; } print($sum); }"
    older = Options(portable=True, oldest=True)
    compiled = compile(Source("t.bt", text), RecordedTarget(), older, backend="llvm")
    code = isa.decode(compiled.artifact.functions["begin_1"].code)
    assert any(i.code == isa.JA and i.off < 0 for i in code)


def test_may_continue_is_a_branch() -> None:
    function = compile_text(program(LOOP), "native").functions["f"]
    codes = [i.code for i in isa.decode(function.code)]
    assert codes == [isa.MAY_GOTO, isa.JA, isa.MOV64_IMM, isa.EXIT]


def test_both_ways_of_a_branch_may_lead_to_one_block() -> None:
    body = (
        "start:\n  %1 = load %0 {off=0} : i64\n  %2 = const {value=5} : i64\n"
        "  %3 = ult %1, %2 : i1\n  branch %3, end(%1), end(%2)\nend(%4: i64):\n  return %4\n"
    )
    text = to_text(read_module(program(body)), Source("t", ""))
    assert "phi i64 [ %" in text
    assert len(compile_text(program(body)).functions["f"].code) >= 8 * 3


def test_older_kernels_get_older_instructions() -> None:
    body = (
        "start:\n  %1 = load %0 {off=0} : i32\n  %2 = const {value=5} : i32\n"
        "  %3 = slt %1, %2 : i1\n  %4 = zext %3 : i64\n  return %4\n"
    )
    module = read_module(program(body))
    for release, modern in (((4, 19, 0), False), ((6, 1, 0), True)):
        artifact = backend("llvm").emit(module, RecordedTarget(release), Source("t", ""))
        code = isa.decode(artifact.functions["f"].code)
        assert any(i.code & 7 in (isa.JMP32, isa.ALU) for i in code) == modern


def test_too_much_is_refused_before_llvm_ends_the_process() -> None:
    params = ", ".join(f"%{n}: i64" for n in range(6))
    more = f"func g({params}) {{\nstart:\n  return %0\n}}\n"
    with pytest.raises(CompilerBug, match="6 arguments"):
        compile_text(program(ZERO, more=more))


def test_slots_leave_a_stack_that_they_do_not_fit() -> None:
    body = (
        "start:\n  %1 = slot {size=600} : ptr<stack>\n  %2 = const {value=0} : i64\n"
        "  store %1, %2 {off=0}\n  %3 = call %1, %2 "
        '{helper="get_current_comm"} : i64\n  return %3\n'
    )
    artifact = compile_text(program(body))
    assert isa.stack_use(isa.decode(artifact.functions["f"].code)) <= isa.STACK_LIMIT
    assert Internal.SCRATCH in {m.name for m in artifact.manifest.maps}


@pytest.mark.parametrize(
    ("size", "align", "widths"),
    [(0, 8, []), (8, 8, [8]), (13, 8, [8, 4, 1]), (7, 4, [4, 2, 1]), (3, 1, [1, 1, 1])],
)
def test_chunks(size: int, align: int, widths: list[int]) -> None:
    found = list(chunks(size, align))
    assert [w for _, w in found] == widths
    assert [o for o, _ in found] == [sum(widths[:n]) for n in range(len(widths))]


def test_alignments_follow_loops() -> None:
    body = (
        "start:\n  %1 = slot {size=64} : ptr<stack>\n  %2 = const {value=0} : i64\n"
        "  %3 = const {value=4} : i64\n  jump loop(%1, %2)\n"
        "loop(%4: ptr<stack>, %5: i64):\n  %6 = ptr_add %4, %3 : ptr<stack>\n"
        "  %7 = add %5, %3 : i64\n  %8 = ptr_add %1, %7 : ptr<stack>\n"
        "  %9 = load %0 {off=0} : i64\n  %10 = ptr_add %1, %9 : ptr<stack>\n"
        "  %11 = shl %9, %12 : i64\n  %13 = ptr_add %1, %11 : ptr<stack>\n"
        "  %14 = ult %7, %9 : i1\n  branch %14, loop(%6, %7), done\ndone:\n  return %7\n"
    ).replace("  jump", "  %12 = const {value=3} : i64\n  jump", 1)
    function = read_module(program(body)).functions[0]
    found = alignments(function)
    steps = [i for i in function.instructions() if i.op == "ptr_add" and i.result]
    assert [found.get(i.result, 8) for i in steps if i.result] == [4, 4, 1, 8]


def test_lines_of_imported_files_are_left_out() -> None:
    module = read_module(program(ZERO))
    artifact = backend("llvm").emit(module, RecordedTarget(), Source("t", "one line"))
    assert {line.line for line in artifact.functions["f"].lines} == {1}
