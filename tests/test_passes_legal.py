"""Legal operations do what the high ones did: the interpreter before and after."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfscript.ir.builder import Builder
from bpfscript.ir.core import Entry, Function, Module, Value
from bpfscript.ir.interp import run
from bpfscript.ir.interp_machine import Machine, Outcome, outcome
from bpfscript.ir.types import CTX, I8, I32, I64, KERNEL, MAP, STACK, USER
from bpfscript.ir.verify import verify
from bpfscript.manifest import Event, Internal, MapDef, MapType, ProbeInfo, ProgramType
from bpfscript.passes.pipeline import run as run_passes
from bpfscript.target import RecordedTarget
from bpfscript.types import INT64, UINT32, Aggregate, String, Tuple, Type, align_up
from bpfscript.words import AggregateName

TARGET = RecordedTarget()
Write = Callable[[Builder, Module], None]
WORDS = st.one_of(
    st.integers(0, 2**64 - 1),
    st.sampled_from([0, 1, 2, 3, 7, 8, 9, 255, 256, 1000, 2**32, 2**63 - 1, 2**63, 2**64 - 1]),
)


def program(
    write: Write, kind: str = "kprobe", names: tuple[str, ...] = ("p",), **entry: dict[int, int]
) -> Module:
    probe = ProbeInfo("p", (), names)
    function = Function(
        "p", [Value(CTX)], entry=Entry(ProgramType.KPROBE, "kprobe", kind, probe, **entry)
    )
    module = Module([function])
    builder = Builder(function)
    builder.at(builder.block("start"))
    write(builder, module)
    if not builder.ended:
        builder.ret(builder.const(0))
    return module


def hash_map(
    name: str, key: Type | None, value: Type, entries: int = 16, declared: bool = True
) -> MapDef:
    kind = MapType.PERCPU_HASH if isinstance(value, Aggregate) else MapType.HASH
    size = key.size if key else 4
    return MapDef(name, kind, key, value, size, value.size, entries, declared=declared)


def emit(builder: Builder, module: Module, *fields: tuple[Value, Type]) -> None:
    types = tuple(t for _, t in fields)
    layout = Tuple(types)
    size = align_up(8 + layout.size, 8)
    module.events.append(Event("printf", types, tuple(8 + o for o in layout.offsets), size))
    values = [v for v, _ in fields]
    builder.emit("emit", *values, event=len(module.events) - 1)


def show(builder: Builder, module: Module, value: Value) -> None:
    if value.type.bits != 64:  # type: ignore[union-attr]  # an integer
        value = builder.value("zext", value, type=I64)
    emit(builder, module, (value, INT64))


def both(module: Module, machine: Machine, runs: int = 1, optimise: bool = True) -> Outcome:
    """What the program does, which must be the same high and legal."""
    verify(module)
    legal = copy.deepcopy(module)
    run_passes(legal, TARGET, optimise=optimise, verify=True)
    other = copy.deepcopy(machine)
    for _ in range(runs):
        expected = run(module.functions[0], machine, module)
        assert run(legal.functions[0], other, legal) == expected
    seen = outcome(module, machine)
    got = outcome(legal, other)
    assert got.events == seen.events
    assert (got.errors, got.lost, got.effects) == (seen.errors, seen.lost, seen.effects)
    unlabelled = {n for n, m in legal.maps.items() if m.labels is None and n.startswith("@")}
    for name in unlabelled:
        assert got.maps[name] == seen.maps[name]
    return got


@pytest.fixture(params=[True, False], ids=["optimised", "plain"])
def optimise(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def numbers(outcome: Outcome) -> list[int]:
    return [int.from_bytes(e[8:16], "little") for e in outcome.events]


# Context


@pytest.mark.parametrize("kind", ["kprobe", "uretprobe", "profile", "begin", "tracepoint"])
def test_context(kind: str, optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        if kind not in ("begin", "tracepoint"):
            show(b, m, b.value("argument", index=2))
            show(b, m, b.value("return_value"))
            show(b, m, b.value("register", name="sp"))
            show(b, m, b.value("function_address"))
        show(b, m, b.value("user_mode"))
        emit(b, m, (b.value("comm"), String(16)))
        show(b, m, b.value("to_int", b.value("current_task")))
        show(b, m, b.value("probe_id"))
        emit(b, m, (b.value("probe_name", size=8), String(8)))

    registers = {"dx": 7, "ax": 2**64 - 3, "sp": 99, "cs": 0x33, "ip": 5}
    both(program(write, kind), Machine(registers=registers, ctx=bytes(168)), optimise=optimise)


def test_cookie_tells_matches_apart(optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        show(b, m, b.value("probe_id"))
        emit(b, m, (b.value("probe_name", size=16), String(16)))

    for cookie in (0, 1, 2):
        module = program(write, names=("kprobe:a", "kprobe:b", "kprobe:c"))
        got = both(module, Machine(cookie=cookie), optimise=optimise)
        assert numbers(got)[0] == cookie


@pytest.mark.parametrize("kind", ["syscall_enter", "syscall_exit"])
@pytest.mark.parametrize("calls", [{1: 0}, {0: 0, 3: 1}])
def test_system_calls_of_others_are_left_alone(
    kind: str, calls: dict[int, int], optimise: bool
) -> None:
    def write(b: Builder, m: Module) -> None:
        show(b, m, b.value("probe_id"))
        show(b, m, b.value("argument", index=1))
        if kind == "syscall_exit":
            show(b, m, b.value("return_value"))

    names = tuple(f"n{i}" for i in calls)
    for number in (0, 1, 2, 3, 500, 2**64 - 1):
        module = program(write, kind, names, syscalls=calls)
        machine = Machine(registers={"orig_ax": number, "si": 42, "ax": 5})
        got = both(module, machine, optimise=optimise)
        assert bool(got.events) == (number in calls)


@pytest.mark.parametrize("kind", ["kernel", "user"])
def test_stack_trace(kind: str, optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        stack = b.value("stack_trace", kind=kind, limit=127)
        emit(b, m, (stack, String(8 + 127 * 8)))

    machine = Machine(stacks={kind: tuple(range(1, 9))})
    both(program(write), machine, optimise=optimise)


# Memory and strings


@pytest.mark.parametrize("space", [KERNEL, USER])
@pytest.mark.parametrize("address", [0x1000, 0x1003, 0x1018, 0x9999])
@pytest.mark.parametrize("length", [0, 5, 2000])
def test_probe_reads(space: object, address: int, length: int, optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        p = b.value("to_ptr", b.const(address), type=space)  # type: ignore[arg-type]
        limit = b.value("opaque", b.const(length))
        show(b, m, b.value("read_int", p, type=I32, off=2))
        emit(b, m, (b.value("read_mem", p, off=1, size=11), String(11)))
        emit(b, m, (b.value("read_string", p, limit, size=16), String(16)))
        emit(b, m, (b.value("read_buffer", p, limit, size=36), String(36)))

    memory = {0x1000: b"some text\0 and more of it\0 until the end\0"}
    both(program(write), Machine(kernel=memory, user=memory), optimise=optimise)


TEXTS = [
    b"",
    b"a",
    b"abc",
    b"abcdefgh",
    b"abcdefghij",
    b"abd",
    b"bcd",
    b"aab",
    b"aaab",
    b"\xff\x80",
]


def _string(b: Builder, text: bytes, size: int, literal: bool) -> Value:
    data = text.ljust(size, b"\0")[:size]
    rodata = b.value("rodata", data=data)
    if literal:
        return rodata
    slot = b.value("slot", size=size)
    b.copy(slot, rodata, size)
    return slot


@pytest.mark.parametrize("literal", [True, False])
@pytest.mark.parametrize("right", TEXTS)
def test_strings(literal: bool, right: bytes, optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        for left in (b"", b"abc", b"aaab", right):
            one = _string(b, left, 16, False)
            size = len(right) + 1
            other = _string(b, right, size, literal)
            for limit in (1, 3, min(16, size)):
                limit = min(limit, size)
                show(b, m, b.value("string_eq", one, other, sizes=(16, size), limit=limit))
            show(b, m, b.value("string_find", one, other, sizes=(16, size)))
            show(b, m, b.value("string_length", one, size=16))
        same = _string(b, b"x" * 300, 300, False)
        other = _string(b, b"x" * 299 + right[:1], 300, False)
        show(b, m, b.value("memory_eq", same, other, size=300))
        show(b, m, b.value("memory_eq", same, other, size=21))

    both(program(write), Machine(), optimise=optimise)


def test_pack_fills_gaps(optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        text = _string(b, b"hello", 6, False)
        values = [b.const(-1, I8), b.const(7, I64), text]
        packed = b.value("pack", *values, offsets=(0, 8, 17), sizes=(1, 8, 6), size=24)
        emit(b, m, (packed, String(24)))

    got = both(program(write), Machine(), optimise=optimise)
    assert got.events[0][8:] == b"\xff" + bytes(7) + b"\7" + bytes(8) + b"hello\0\0"


@pytest.mark.parametrize("divisor", [0, 1, 7])
def test_division_and_bounds(divisor: int, optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        right = b.value("opaque", b.const(divisor))
        for op in ("udiv", "urem"):
            show(b, m, b.value("divide", b.const(100), right, op=op))
        show(b, m, b.value("bound", right, count=4))

    got = both(program(write), Machine(), optimise=optimise)
    assert got.errors == {0: 2, 1: 0, 7: 1}[divisor]


def test_full_ring_is_counted(optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        for i in range(3):
            show(b, m, b.const(i))

    got = both(program(write), Machine(ring_room=1), optimise=optimise)
    assert got.lost == 2


def test_scratch_memory_is_looked_up_where_it_is_needed(optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        yes, no = b.block("yes"), b.block("no")
        head, body = b.block("head", I64), b.block("body")
        argument = b.value("argument", index=0)
        b.branch(b.value("eq", argument, b.const(7)), yes, no)
        b.at(yes)
        b.jump(head, b.const(0))
        b.at(head)
        b.branch(b.value("ult", head.params[0], b.const(3)), body, no)
        b.at(body)
        p = b.value("to_ptr", argument, type=KERNEL)
        emit(b, m, (b.value("read_mem", p, off=0, size=600), String(600)))
        b.jump(head, b.value("add", head.params[0], b.const(1)))
        b.at(no)

    for value in (7, 8):
        module = program(write)
        got = both(module, Machine(registers={"di": value}), optimise=optimise)
        assert len(got.events) == (3 if value == 7 else 0)
        run_passes(module, TARGET, optimise=optimise)
        (function,) = module.functions
        lookups = [
            block
            for block in function.blocks
            if any(i.attrs.get("map") == Internal.SCRATCH for i in block.instrs)
        ]
        assert [block is function.blocks[0] for block in lookups] == [False]


# Maps


def test_integer_map(optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        m.maps["@"] = hash_map("@", INT64, INT64)
        key = b.value("argument", index=0)
        show(b, m, b.value("map_has", key, map="@"))
        old = b.value("map_read", key, type=I64, map="@")
        b.emit("map_write", key, b.value("add", old, b.const(1)), map="@")
        b.emit("map_write", b.const(5), old, map="@")
        show(b, m, b.value("map_length", map="@"))
        show(b, m, b.value("map_read", key, type=I64, map="@"))
        show(b, m, b.value("map_delete", b.const(5), map="@"))
        show(b, m, b.value("map_delete", b.const(6), map="@"))

    got = both(program(write), Machine(registers={"di": 3}), runs=3, optimise=optimise)
    assert numbers(got)[-4:] == [2, 3, 1, 0]


def test_memory_map(optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        m.maps["@"] = hash_map("@", String(16), String(40))
        key = b.value("comm")
        emit(b, m, (b.value("map_read_mem", key, map="@"), String(40)))
        b.emit("map_write", key, _string(b, b"value", 40, False), map="@")
        emit(b, m, (b.value("map_read_mem", key, map="@"), String(40)))

    both(program(write), Machine(), optimise=optimise)


def test_full_map_is_reported(optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        m.maps["@"] = hash_map("@", INT64, INT64, entries=1)
        m.maps["@c"] = hash_map("@c", INT64, Aggregate("count"), entries=1)
        for i in range(2):
            b.emit("map_write", b.const(i), b.const(i), map="@")
            b.emit("aggregate", b.const(i), map="@c")

    module = program(write)
    legal = copy.deepcopy(module)
    run_passes(legal, TARGET, optimise=optimise, verify=True)
    machine = Machine()
    run(legal.functions[0], machine, legal)
    kinds = [legal.events[int.from_bytes(e[:8], "little")] for e in machine.events]
    assert [e.kind for e in kinds] == ["helper_error"] * 2
    assert kinds[0].text.startswith("Map full; can't update element.")
    results = [int.from_bytes(e[8:12], "little", signed=True) for e in machine.events]
    assert results == [-7, -7]


def test_loop_over_a_map(optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        m.maps["@"] = hash_map("@", INT64, INT64)
        m.maps["@out"] = hash_map("@out", INT64, INT64)
        for i in range(4):
            b.emit("map_write", b.const(i), b.const(10 * i), map="@")
        frame = b.value("slot", size=8)
        b.store(frame, b.const(0))
        b.emit("for_each", frame, map="@", function="body")
        show(b, m, b.load(frame, I64))
        body = Function("body", [Value(MAP), Value(MAP), Value(STACK)])
        m.functions.append(body)
        c = Builder(body)
        c.at(c.block("start"))
        key, value, outer = body.params
        total = c.value("add", c.load(outer, I64), c.load(value, I64))
        c.store(outer, c.value("add", total, c.value("argument", index=1)))
        show(c, m, c.load(key, I64))
        c.ret(c.value("zext", c.value("eq", c.load(key, I64), c.const(2)), type=I64))

    got = both(program(write), Machine(), optimise=optimise)
    assert len(got.events) == 4


def test_argument_in_a_callback_comes_from_the_program(optimise: bool) -> None:
    def write(b: Builder, m: Module) -> None:
        m.maps["@"] = hash_map("@", INT64, INT64)
        b.emit("map_write", b.const(1), b.const(2), map="@")
        frame = b.value("slot", size=8)
        b.emit("fill", frame, off=0, size=8)
        b.emit("for_each", frame, map="@", function="body")
        body = Function("body", [Value(MAP), Value(MAP), Value(STACK)])
        m.functions.append(body)
        c = Builder(body)
        c.at(c.block("start"))
        show(c, m, c.value("argument", index=1))
        c.ret(c.const(0))

    assert numbers(both(program(write), Machine(registers={"si": 77}), optimise=optimise)) == [77]


# Aggregates

KINDS: list[tuple[AggregateName, tuple[int, ...]]] = [
    ("count", ()), ("sum", ()), ("min", ()), ("max", ()), ("avg", ()), ("stats", ()),
    ("hist", (0,)), ("hist", (3,)), ("hist", (5,)), ("lhist", (0, 100, 10)), ("lhist", (3, 10, 4)),
    ("tseries", (1000, 4, 0)), ("tseries", (1000, 4, 1)), ("tseries", (10**9, 4, 2)),
    ("tseries", (10**9, 4, 3)), ("tseries", (10**9, 4, 4)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "params"), KINDS)
@settings(deadline=None, max_examples=6)
@given(values=st.lists(WORDS, min_size=1, max_size=4), signed=st.booleans(), scalar=st.booleans())
def test_aggregates(
    name: AggregateName, params: tuple[int, ...], values: list[int], signed: bool, scalar: bool
) -> None:
    kind = Aggregate(name, signed, params)

    def write(b: Builder, m: Module) -> None:
        m.maps["@"] = hash_map("@", None if scalar else INT64, kind)
        key = b.const(0, I32) if scalar else b.value("argument", index=0)
        for value in values:
            operands = [] if name == "count" else [b.value("opaque", b.const(value))]
            b.emit("aggregate", key, *operands, map="@")
        if kind.readable:
            show(b, m, b.value("aggregate_read", key, map="@"))

    both(program(write), Machine(registers={"di": 1}), optimise=True)


@pytest.mark.parametrize("name", ["count", "sum", "min", "max", "avg"])
def test_aggregates_merge_processors(name: AggregateName) -> None:
    def write(b: Builder, m: Module) -> None:
        m.maps["@"] = hash_map("@", INT64, Aggregate(name))
        key = b.const(1)
        operands = [] if name == "count" else [b.value("argument", index=0)]
        show(b, m, b.value("aggregate_read", key, map="@"))
        b.emit("aggregate", key, *operands, map="@")
        show(b, m, b.value("aggregate_read", key, map="@"))

    module = program(write)
    legal = copy.deepcopy(module)
    run_passes(legal, TARGET, verify=True)
    machine, other = Machine(), Machine()
    for cpu, value in ((0, 5), (1, 2**64 - 9), (1, 3), (0, -7 % 2**64)):
        machine.cpu = other.cpu = cpu
        machine.registers = other.registers = {"di": value}
        run(module.functions[0], machine, module)
        run(legal.functions[0], other, legal)
    assert outcome(legal, other).events == outcome(module, machine).events


# Static keys


def test_scalars_and_literal_keys_become_arrays() -> None:
    def write(b: Builder, m: Module) -> None:
        m.maps["@x"] = hash_map("@x", None, INT64, 1, declared=False)
        m.maps["@n"] = hash_map("@n", String(8), Aggregate("count"), declared=False)
        m.maps["@u"] = hash_map("@u", UINT32, INT64, declared=False)
        zero = b.const(0, I32)
        show(b, m, b.value("map_has", zero, map="@x"))
        old = b.value("map_read", zero, type=I64, map="@x")
        b.emit("map_write", zero, b.value("add", old, b.const(1)), map="@x")
        show(b, m, b.value("map_has", zero, map="@x"))
        for text in (b"one", b"two", b"one"):
            key = b.value("rodata", data=text.ljust(8, b"\0"))
            b.emit("aggregate", key, map="@n")
            show(b, m, b.value("aggregate_read", key, map="@n"))
        b.emit("map_write", b.const(-1, I32), b.const(9), map="@u")
        show(b, m, b.value("map_delete", b.const(-1, I32), map="@u"))
        show(b, m, b.value("map_delete", b.const(-1, I32), map="@u"))
        show(b, m, b.value("map_read", b.const(-1, I32), type=I64, map="@u"))
        b.emit("map_clear", map="@x")
        show(b, m, b.value("map_has", zero, map="@x"))

    module = program(write)
    got = both(module, Machine(), runs=2)
    assert numbers(got) == [0, 1, 1, 1, 2, 1, 0, 0, 0, 0, 1, 3, 2, 4, 1, 0, 0, 0]
    run_passes(module, TARGET)
    maps = module.maps
    assert (maps["@x"].kind, maps["@x"].labels, maps["@x"].value_size) == (MapType.ARRAY, (0,), 16)
    assert (maps["@n"].kind, maps["@n"].labels) == (MapType.PERCPU_ARRAY, ("one", "two"))
    assert (maps["@u"].labels, maps["@u"].key_size) == ((2**32 - 1,), 4)


def test_probe_names_index_by_probe() -> None:
    def write(b: Builder, m: Module) -> None:
        m.maps["@"] = hash_map("@", String(8), Aggregate("count"), declared=False)
        b.emit("aggregate", b.value("rodata", data=b"other\0\0\0"), map="@")
        key = b.value("probe_name", size=8)
        b.emit("aggregate", key, map="@")
        show(b, m, b.value("aggregate_read", key, map="@"))

    for cookie in (0, 1):
        module = program(write, names=("k:a", "k:b"))
        assert numbers(both(module, Machine(cookie=cookie), runs=2)) == [1, 2]
    run_passes(module, TARGET)
    assert module.maps["@"].labels == ("other", "k:a", "k:b")


@pytest.mark.parametrize("reason", ["declared", "for_each", "dynamic", "deleted"])
def test_maps_that_stay_hashes(reason: str) -> None:
    def write(b: Builder, m: Module) -> None:
        kind: Type = Aggregate("count") if reason == "deleted" else INT64
        m.maps["@"] = hash_map("@", INT64, kind, declared=reason == "declared")
        if reason == "deleted":
            b.emit("aggregate", b.const(1), map="@")
            b.emit("map_delete", b.const(1), map="@")
            return
        b.emit("map_write", b.const(1), b.const(2), map="@")
        if reason == "dynamic":
            b.emit("map_write", b.value("argument", index=0), b.const(2), map="@")
        if reason == "for_each":
            show(b, m, b.value("map_length", map="@"))

    module = program(write)
    run_passes(module, TARGET)
    assert module.maps["@"].labels is None
