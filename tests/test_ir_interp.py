"""The interpreter: traps, helpers, maps, aggregates, high operations."""

from __future__ import annotations

from typing import get_args

import pytest

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir import interp_aggregates
from bpfscript.ir.core import Module
from bpfscript.ir.interp import run
from bpfscript.ir.interp_machine import REGISTER_FILE, Machine, outcome
from bpfscript.ir.interp_maps import MapStore
from bpfscript.ir.interp_memory import Trap
from bpfscript.ir.reader import read_function, read_module
from bpfscript.ir.verify import verify
from bpfscript.manifest import MapDef, MapType
from bpfscript.types import INT64, Aggregate, String
from bpfscript.words import AggregateName

MAPS = """
map name="@" kind=HASH key=Int(64, True) value=Int(64, True) key_size=8 value_size=8 max_entries=2
map name="@c" kind=PERCPU_HASH key=None value=Aggregate("count") key_size=4 value_size=8 max_entries=1
map name="@a" kind=PERCPU_HASH key=None value=Aggregate("avg") key_size=4 value_size=16 max_entries=1
map name="@l" kind=ARRAY key=Int(64, True) value=Int(64, True) key_size=4 value_size=16 max_entries=2 labels=(7, 9)
map name=".events" kind=RINGBUF key=None value=None key_size=0 value_size=0 max_entries=4096
event kind="print" fields=(Int(64, True), String(4)) offsets=(8, 16) size=24
"""  # noqa: E501
ENTRY = 'type={} section="s" kind="{}" probe=ProbeInfo("f", (), ({}))'


def evaluate(body: str, machine: Machine | None = None, *, result: str = "i64") -> int:
    """Result of straight-line code that ends with %r; `result` is its type if not i64."""
    end = "return %9"
    if result != "i64":
        body, end = body.replace("%9", "%8"), f"%9 = zext %8 : i64 {end}"
    text = f"{MAPS} func f(%0: ptr<ctx>) {{ a: {body} {end} }}"
    module = read_module(text)
    verify(module)
    return run(module.functions[0], machine or Machine(), module)


def test_imported_c_is_machine_code() -> None:
    with pytest.raises(Trap, match=r"a\.bpf\.c:f, which is machine code"):
        evaluate('%1 = const {value=1} : i64 %9 = call_c %1 {name="a.bpf.c:f"} : i64')


def program(body: str, kind: str = "begin", names: str = '"one",') -> Module:
    entry = ENTRY.format("TRACEPOINT", kind, names)
    module = read_module(f"{MAPS} func f(%0: ptr<ctx>) {entry} {{ a: {body} }}")
    verify(module)
    return module


def start(module: Module, machine: Machine) -> int:
    return run(module.functions[0], machine, module)


def binary(op: str, a: int, b: int, bits: int) -> int:
    values = f"%1 = const {{value={a}}} : i{bits} %2 = const {{value={b}}} : i{bits}"
    result = f"i{bits}" if op[:2] not in ("eq", "ne", "ul", "sl") else "i1"
    return evaluate(f"{values} %9 = {op} %1, %2 : {result}", result=result)


@pytest.mark.parametrize(
    ("op", "a", "b", "bits", "result"),
    [
        ("add", 255, 3, 8, 2),
        ("sub", 1, 2, 64, 2**64 - 1),
        ("mul", 2**31, 2, 32, 0),
        ("udiv", 7, 0, 64, 0),
        ("urem", 7, 0, 64, 7),
        ("urem", 7, 4, 16, 3),
        ("sdiv", -7, 2, 64, 2**64 - 3),
        ("sdiv", -(2**63), -1, 64, 2**63),
        ("sdiv", 5, 0, 32, 0),
        ("shl", 1, 33, 32, 2),
        ("lshr", -1, 60, 64, 15),
        ("ashr", -16, 2, 16, 2**16 - 4),
        ("xor", 5, 3, 8, 6),
        ("ult", -1, 1, 64, 0),
        ("slt", -1, 1, 64, 1),
        ("sle", 127, 128, 8, 0),
        ("ne", 256, 0, 8, 0),
    ],
)
def test_integers(op: str, a: int, b: int, bits: int, result: int) -> None:
    assert binary(op, a, b, bits) == result


def test_conversions() -> None:
    byte = "%1 = const {value=128} : i8"
    assert evaluate(f"{byte} %9 = zext %1 : i64") == 128
    assert evaluate(f"{byte} %9 = sext %1 : i64") == 2**64 - 128
    assert evaluate("%1 = const {value=258} : i16 %9 = bswap %1 : i16", result="i16") == 0x201
    assert evaluate("%1 = const {value=6} : i64 %9 = trunc %1 : i1", result="i1") == 0


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("%9 = load %0 {off=57} : i64", "bounds"),
        ("%9 = load %0 {off=-1} : i64", "bounds"),
        ("%1 = slot {size=8} : ptr<stack> %9 = load %1 {off=0} : i64", "undefined"),
        (
            "%1 = slot {size=8} : ptr<stack> fill %1 {off=0, size=7} %9 = load %1 {off=0} : i64",
            "undefined",
        ),
        (
            '%1 = map_ptr {map="@"} : ptr<map_object> %2 = slot {size=8} : ptr<stack> '
            "fill %2 {off=0, size=8} "
            '%3 = call %1, %2 {helper="map_lookup_elem"} : ptr<map> %9 = load %3 {off=0} : i64',
            "null",
        ),
        ('%1 = rodata {data=b"ab"} : ptr<rodata> %9 = load %1 {off=0} : i64', "bounds"),
        (
            '%1 = map_ptr {map="@"} : ptr<map_object> %2 = const {value=1} : i64 '
            '%9 = call %2, %2, %2 {helper="get_stackid"} : i64',
            "unmodelled",
        ),
    ],
)
def test_traps(body: str, fault: str) -> None:
    with pytest.raises(Trap) as raised:
        evaluate(body)
    assert raised.value.fault == fault


def test_a_loop_without_end_runs_out_of_budget() -> None:
    function = read_function("func f() { a: jump b b: jump b }")
    with pytest.raises(Trap, match="budget"):
        run(function, Machine(), budget=1000)
    text = "func f() { a: jump b b: %0 = may_continue : i1 branch %0, b, c "
    text += "c: %1 = const {value=5} : i64 return %1 }"
    assert run(read_function(text), Machine(iterations=20)) == 5


def test_recursion_ends() -> None:
    module = read_module('func f() { a: %0 = call_function {function="f"} : i64 return %0 }')
    with pytest.raises(Trap, match="calls deep"):
        run(module.functions[0], Machine(), module)


def test_block_arguments_move_all_at_once() -> None:
    text = """func f() {
    a: %0 = const {value=1} : i64 %1 = const {value=2} : i64 %2 = const {value=1} : i1
       jump b(%0, %1, %2)
    b(%3: i64, %4: i64, %5: i1): %6 = const {value=0} : i1 branch %5, b(%4, %3, %6), c
    c: return %3 }"""
    assert run(read_function(text), Machine()) == 2


def test_map_stores() -> None:
    def store(kind: MapType) -> MapStore:
        return MapStore(MapDef("@", kind, INT64, INT64, 4, 8, 2), cpus=2)

    one, two, three = (n.to_bytes(4, "little") for n in (1, 2, 3))
    value = bytes(range(8))
    hash = store(MapType.HASH)
    assert [hash.update(k, value, 0, 0) for k in (one, two, three)] == [0, 0, -7]
    assert (hash.update(one, value, 1, 0), hash.update(three, value, 2, 0)) == (-17, -2)
    old = hash.lookup(one, 0)
    assert old and hash.update(one, bytes(8), 0, 0) == 0 and bytes(old.data) == value
    assert (hash.delete(one), hash.delete(one), len(hash)) == (0, -2, 1)
    lru = store(MapType.LRU_HASH)
    assert [lru.update(k, value, 0, 0) for k in (one, two)] == [0, 0]
    assert lru.lookup(one, 0) and lru.update(three, value, 0, 0) == 0
    assert lru.entries() == [one, three]
    array = store(MapType.ARRAY)
    assert len(array) == 2 and array.delete(one) == -22 and array.update(two, value, 0, 0) == -7
    percpu = store(MapType.PERCPU_HASH)
    percpu.update(one, value, 0, 1)
    assert percpu.contents() == {one: (bytes(8), value)}


def test_high_map_operations() -> None:
    machine = Machine()
    key = "%1 = const {value=7} : i64 %2 = const {value=5} : i64"
    assert evaluate(f'{key} %9 = map_read %1 {{map="@"}} : i64', machine) == 0
    write = f'{key} map_write %1, %2 {{map="@"}}'
    assert evaluate(f'{write} %9 = map_read %1 {{map="@"}} : i64', machine) == 5
    assert evaluate('%9 = map_length {map="@"} : i64', machine) == 1
    has = f'{key} %9 = map_has %1 {{map="@"}} : i1'
    assert evaluate(has, machine, result="i1") == 1
    delete = f'{key} %9 = map_delete %1 {{map="@"}} : i1'
    assert [evaluate(delete, machine, result="i1") for _ in range(2)] == [1, 0]
    assert evaluate(has, machine, result="i1") == 0


def test_labelled_maps_show_their_labels() -> None:
    machine = Machine()
    index = "%1 = const {value=1} : i32 %2 = const {value=5} : i64"
    has = f'{index} %9 = map_has %1 {{map="@l"}} : i1'
    assert evaluate(has, machine, result="i1") == 0
    assert evaluate(f'{index} map_write %1, %2 {{map="@l"}} %9 = opaque %2 : i64', machine) == 5
    assert evaluate(has, machine, result="i1") == 1
    assert machine.maps["@l"].contents() == {b"\x09" + bytes(7): (b"\x05" + bytes(7),)}
    assert evaluate(f'{index} %9 = map_delete %1 {{map="@l"}} : i1', machine, result="i1") == 1
    assert machine.maps["@l"].contents() == {}
    strings = MapDef("@", MapType.ARRAY, String(4), INT64, 4, 16, 1, labels=("ab",))
    store = MapStore(strings, 1)
    store.update(bytes(4), bytes(8) + b"\1" + bytes(7), 0, 0)
    assert store.contents() == {b"ab\0\0": (bytes(8),)}


def test_aggregates_are_kept_per_cpu_and_read_over_all() -> None:
    machine = Machine()
    add = """%1 = const {value=0} : i32 %2 = const {value=-7} : i64
    aggregate %1 {map="@c"} aggregate %1, %2 {map="@a"}"""
    read_count = '%9 = aggregate_read %1 {map="@c"} : i64'
    assert evaluate(f"{add} {read_count}", machine) == 1
    machine.cpu = 1
    assert evaluate(f"{add} {read_count}", machine) == 2
    more = '%3 = const {value=0} : i64 aggregate %1, %3 {map="@a"}'
    assert evaluate(f'{add} {more} %9 = aggregate_read %1 {{map="@a"}} : i64', machine) == 2**64 - 5
    assert machine.maps["@c"].contents() == {bytes(4): (b"\1" + bytes(7), b"\2" + bytes(7))}


@pytest.mark.parametrize(
    ("name", "params", "values", "words"),
    [
        ("count", (), [0, 0], {0: 2}),
        ("sum", (), [5, -7], {0: -2}),
        ("min", (), [5, -7, 3], {0: -7, 1: 1}),
        ("max", (), [-5, -7], {0: -5, 1: 1}),
        ("avg", (), [4, 6], {0: 10, 1: 2}),
        ("stats", (), [4, 6], {0: 10, 1: 2}),
        ("hist", (0,), [-1, 0, 1, 2, 3, 4, 1 << 62], {0: 1, 1: 1, 2: 1, 3: 2, 4: 1, 64: 1}),
        ("hist", (2,), [3, 4, 7, 8], {4: 1, 5: 1, 8: 1, 9: 1}),
        ("lhist", (0, 10, 5), [-1, 0, 4, 5, 10, 99], {0: 1, 1: 2, 2: 1, 3: 2}),
        ("tseries", (10, 2, 1), [3, 4], {3: 1, 4: 7, 5: 2}),
        ("tseries", (10, 2, 0), [3, 4], {3: 1, 4: 4, 5: 2}),
        ("tseries", (10, 2, 3), [3, -4], {3: 1, 4: -4, 5: 2}),
    ],
)
def test_aggregate_updates(
    name: AggregateName, params: tuple[int, ...], values: list[int], words: dict[int, int]
) -> None:
    assert name in get_args(AggregateName)
    kind = Aggregate(name, params=params)
    found = [0] * (kind.size // 8)
    for value in values:
        interp_aggregates.update(kind, found, [value % 2**64], now_tai=15)
    assert {i: w for i, w in enumerate(found) if w} == {i: w % 2**64 for i, w in words.items()}


def test_memory_that_cannot_be_read_is_zero() -> None:
    machine = Machine(kernel={4096: b"\x01\x02\x03\x04hello\0rest"}, user={4096: b"user"})
    kernel = "%1 = const {value=4096} : i64 %2 = to_ptr %1 : ptr<kernel>"
    word = "%9 = read_int %2 {{off={}}} : i32"
    assert evaluate(f"{kernel} {word.format(0)}", machine, result="i32") == 0x04030201
    assert evaluate(f"{kernel} {word.format(-8)}", machine, result="i32") == 0
    text = "%3 = ptr_add %2, %4 : ptr<kernel> %5 = read_string %3, %6 {size=8} : ptr<stack>"
    for limit, expected in ((8, b"hello\0\0\0"), (4, b"hel\0\0\0\0\0"), (0, bytes(8))):
        values = f"%4 = const {{value=4}} : i64 %6 = const {{value={limit}}} : i64"
        got = evaluate(f"{kernel} {values} {text} %9 = load %5 {{off=0}} : i64", machine)
        assert got.to_bytes(8, "little") == expected
    buffer = "%3 = read_buffer %2, %1 {size=8} : ptr<stack> %9 = load %3 {off=0} : i64"
    got = evaluate(f"{kernel.replace('kernel', 'user')} {buffer}", machine)
    assert got.to_bytes(8, "little") == b"\4\0\0\0user"


def test_probe_reads_say_when_they_fail() -> None:
    body = """%1 = slot {{size=8}} : ptr<stack> %2 = const {{value=4}} : i64
    %3 = const {{value={}}} : i64
    %9 = call %1, %2, %3 {{helper="probe_read_{}"}} : i64"""
    machine = Machine(kernel={64: b"ab\0\0"})
    assert evaluate(body.format(64, "kernel"), machine) == 0
    assert evaluate(body.format(64, "kernel_str"), machine) == 3
    assert evaluate(body.format(64, "user"), machine) == 2**64 - 14


def test_strings() -> None:
    text = '%1 = rodata {data=b"hello\\x00xx"} : ptr<rodata> %2 = rodata {data=b"ll"} : ptr<rodata>'
    assert evaluate(f"{text} %9 = string_length %1 {{size=8}} : i64") == 5
    assert evaluate(f"{text} %9 = string_length %1 {{size=3}} : i64") == 3
    assert evaluate(f"{text} %9 = string_find %1, %2 {{sizes=(8, 2)}} : i64") == 2
    assert evaluate(f"{text} %9 = string_find %2, %1 {{sizes=(2, 8)}} : i64") == 2**64 - 1
    same = "%9 = string_eq %1, %2 {{sizes=(8, 2), limit={}}} : i1"
    assert evaluate(f"{text} {same.format(0)}", result="i1") == 1
    assert evaluate(f"{text} {same.format(2)}", result="i1") == 0


def test_events_have_their_layout() -> None:
    module = program(
        '%1 = const {value=-2} : i64 %2 = rodata {data=b"abcd"} : ptr<rodata> '
        "emit %1, %2 {event=0} return %1"
    )
    machine = Machine(ring_room=1)
    start(module, machine)
    start(module, machine)
    assert machine.events == [bytes(8) + b"\xfe" + b"\xff" * 7 + b"abcd" + bytes(4)]
    assert outcome(module, machine).lost == 1


def test_legal_events_are_the_same_records() -> None:
    module = program(
        """%1 = map_ptr {map=".events"} : ptr<map_object> %2 = const {value=24} : i64
        %3 = const {value=0} : i64
        %4 = call %1, %2, %3 {helper="ringbuf_reserve"} : ptr<ring>
        fill %4 {off=0, size=24}
        %5 = call %4, %3 {helper="ringbuf_submit"} : i64
        return %5"""
    )
    machine = Machine()
    assert start(module, machine) == 0
    assert machine.events == [bytes(24)]
    assert outcome(module, machine).events == (bytes(24),)


def test_runtime_errors_are_counted() -> None:
    module = program(
        "%1 = const {value=9} : i64 %2 = const {value=0} : i64 %3 = bound %1 {count=9} : i64 "
        '%4 = divide %1, %2 {op="urem"} : i64 %5 = add %3, %4 : i64 return %5'
    )
    machine = Machine()
    assert start(module, machine) == 1
    assert outcome(module, machine).errors == 2


def test_registers_reach_high_and_legal_code_alike() -> None:
    machine = Machine(registers={"di": 11, "ax": 13, "orig_rax": 3, "ip": 99, "cs": 0x33})
    high = "%1 = argument {index=0} : i64 return %1"
    legal = "%1 = load %0 {off=112} : i64 return %1"
    assert start(program(high, "uprobe"), machine) == 11
    assert start(program(legal, "uprobe"), machine) == 11
    assert start(program("%1 = user_mode : i64 return %1", "profile"), machine) == 1
    call = ENTRY.format("RAW_TRACEPOINT", "syscall_enter", '"a", "b"') + " syscalls={3: 1}"
    body = "a: %1 = probe_id : i64 %2 = argument {index=0} : i64 %3 = add %1, %2 : i64 return %3"
    module = read_module(f"func f(%0: ptr<ctx>) {call} {{ {body} }}")
    assert start(module, machine) == 12
    assert start(module, Machine(registers={"orig_ax": 4})) == 0
    enter = "%1 = load %0 {off=0} : i64 return %1"
    assert start(program(enter, "syscall_enter"), machine) == REGISTER_FILE
    assert machine.peek("kernel", REGISTER_FILE + 112, 8) == b"\x0b" + bytes(7)


def test_only_programs_know_where_they_run() -> None:
    with pytest.raises(CompilerBug, match="only a program"):
        run(read_function("func f() { a: %0 = probe_id : i64 return %0 }"), Machine())


FOR_EACH = """
func each(%0: ptr<map>, %1: ptr<map>, %2: ptr<stack>) {
a: %3 = load %0 {off=0} : i64 %4 = load %1 {off=0} : i64 %5 = load %2 {off=0} : i64
   %6 = mul %3, %4 : i64 %7 = add %5, %6 : i64 store %2, %7 {off=0}
   %8 = const {value=0} : i64 return %8 }
func each4(%9: ptr<map_object>, %0: ptr<map>, %1: ptr<map>, %2: ptr<stack>) {
a: %3 = call_function %0, %1, %2 {function="each"} : i64 return %3 }
func f() {
a: %0 = slot {size=8} : ptr<stack> fill %0 {off=0, size=8}
   %1 = const {value=3} : i64 %2 = const {value=4} : i64
   map_write %1, %2 {map="@"} map_write %2, %1 {map="@"}
   LOOP
   %6 = load %0 {off=0} : i64 return %6 }
"""


@pytest.mark.parametrize(
    "loop",
    [
        'for_each %0 {map="@", function="each"}',
        """%3 = map_ptr {map="@"} : ptr<map_object> %4 = func_ptr {function="each4"} : i64
        %5 = const {value=0} : i64
        %7 = call %3, %4, %0, %5 {helper="for_each_map_elem"} : i64""",
    ],
)
def test_callbacks(loop: str) -> None:
    module = read_module(MAPS + FOR_EACH.replace("LOOP", loop))
    verify(module)
    assert run(module.functions[2], Machine(), module) == 24
