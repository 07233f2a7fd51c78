"""Printer and reader: they agree, and wrong text gives a diagnostic."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfscript import manifest, types
from bpfscript.diagnostics import ScriptError
from bpfscript.ir.core import Block, Edge, Entry, Function, Instr, Module, Value
from bpfscript.ir.printer import print_function, print_module
from bpfscript.ir.reader import read_function, read_module
from bpfscript.ir.types import CTX, I64, RODATA

PLACE = manifest.Place("t.bt", 1, 2, 3, 'print("x")')
ATTACH = manifest.Attach("tracepoint", "tracepoint:a:b", target="a:b", place=PLACE)
KEYS: list[types.Type] = [
    types.Int(32, False, enum="state"),
    types.Tuple((types.String(16), types.Pointer(types.Struct("struct task_struct", 64)))),
    types.Record(("a", "b"), (types.Bool(), types.Array(types.UINT8, 4))),
    types.Stack("kernel", "bpftrace", 127),
    types.Timestamp("%H:%M"),
    types.Aggregate("lhist", False, (0, 100, 10)),
    types.Unsupported(3),
]


def module() -> Module:
    m = Module(warnings=2)
    for i, key in enumerate(KEYS):
        name = f"@{i}"
        m.maps[name] = manifest.MapDef(name, manifest.MapType.HASH, key, None, key.size, 8, 16)
    m.maps["@l"] = manifest.MapDef(
        "@l", manifest.MapType.PERCPU_ARRAY, types.String(8), types.Aggregate("count"), 4, 16, 2,
        labels=("a", 2), declared=True,
    )  # fmt: skip
    m.events.append(manifest.Event("printf", (types.INT64,), (8,), 16, 'é%d\n\t"\\', place=PLACE))
    info = manifest.ProbeInfo("f", (ATTACH,), ("tracepoint:a:b",))
    entry = Entry(manifest.ProgramType.RAW_TRACEPOINT, "raw_tp/x", "syscall_enter", info, {3: 0})
    ctx, data, zero = Value(CTX), Value(RODATA), Value(I64)
    block = Block("start", [ctx])
    block.instrs = [
        Instr("rodata", attrs={"data": b"\0\xff\"\\'\n"}, result=data),
        Instr("const", attrs={"value": -(2**63)}, result=zero),
        Instr("return", [zero]),
    ]
    m.functions.append(Function("f", [ctx], [block], entry))
    return m


def test_modules_come_back_equal() -> None:
    before = module()
    text = print_module(before)
    after = read_module(text)
    assert print_module(after) == text
    assert (after.maps, after.events, after.warnings) == (before.maps, before.events, 2)
    assert after.functions[0].entry == before.functions[0].entry
    attrs = [i.attrs for i in after.functions[0].instructions()]
    assert attrs == [i.attrs for i in before.functions[0].instructions()]


@given(st.text(), st.binary())
def test_any_string_comes_back(text: str, data: bytes) -> None:
    m = Module()
    m.events.append(manifest.Event("printf", text=text))
    result = Value(RODATA)
    block = Block("b", instrs=[Instr("rodata", attrs={"data": data}, result=result)])
    m.functions.append(Function("f", [], [block]))
    again = read_module(print_module(m))
    assert again.events == m.events
    assert again.functions[0].blocks[0].instrs[0].attrs == {"data": data}


def test_blocks_of_one_name_are_told_apart() -> None:
    zero = Value(I64)
    last = Block("b", instrs=[Instr("return", [zero])])
    middle = Block("b", instrs=[Instr("jump", targets=[Edge(last)])])
    first = Block("b", instrs=[Instr("const", attrs={"value": 0}, result=zero)])
    first.instrs.append(Instr("jump", targets=[Edge(middle)]))
    text = print_function(Function("f", [], [first, middle, last]))
    assert [line for line in text.splitlines() if "b" in line] == [
        "b:", "  jump b.1", "b.1:", "  jump b.2", "b.2:",
    ]  # fmt: skip
    assert print_function(read_function(text)) == text


def test_wrong_ir_can_be_printed() -> None:
    block = Block("b", instrs=[Instr("jump", targets=[Edge(Block("gone"), [Value(I64)])])])
    assert "jump gone?(%?)" in print_function(Function("f", [], [block]))


def test_instructions_get_spans_in_the_text() -> None:
    function = read_function("func f() {\na:\n  %0 = const {value=1} : i64\n  return %0\n}")
    const, ret = function.instructions()
    assert const.span and const.span.text == "%0 = const {value=1} : i64"
    assert ret.span and ret.span.source.position(ret.span.start) == (4, 3)


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("block", 1, "expected module, map, event or func"),
        ("func f(\n%0: i65) {}", 2, "no type"),
        ("func f(%0: ptr<moon>) {}", 1, "there is no type ptr<moon>"),
        ("func f() {\na: $\n}", 2, "no token of IR"),
        ("func f() {\na: jump b\n}", 2, "b is not defined"),
        ("func f() {\na: return %0\n}", 2, "%0 is not defined"),
        ("func f() {\na:\na:\n}", 3, "a is defined a second time"),
        ("func f() {\na: %0 = const {value=x} : i64\n}", 2, "expected data"),
        ("func f() {\na: %0 = const {value=1, value=2} : i64\n}", 2, "value is given twice"),
        ("func f() {\na: %0 = const {value=1}\n}", 3, "expected :"),
        ("map name=3", 1, "MapDef has the fields name, kind"),
        ("event kind=Int()", 1, "Int has the fields bits"),
        ('event kind="\\q"', 1, "no token of IR"),
        ("event kind=" + "(" * 9999, 1, "nested too deep"),
        ("func f() {", 1, "expected name"),
        ("func", 1, "expected name"),
    ],
)
def test_wrong_text(text: str, line: int, message: str) -> None:
    with pytest.raises(ScriptError) as raised:
        read_module(text)
    (diagnostic,) = raised.value.diagnostics
    found = diagnostic.span.source.position(diagnostic.span.start)[0]
    assert message in diagnostic.message or message == "no type"
    assert found == line
    assert diagnostic.render()
