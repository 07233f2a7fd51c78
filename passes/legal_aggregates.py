"""Aggregates: one value per CPU, so that updates need no atomics, merged when read.

    aggregate %k, %n {map="@h"}  →  %p = call map_lookup_elem …; null: insert zeros, look up again
                                    add 1 to the bucket of %n at %p

All zeros is the start of every aggregate (min and max have `is_set`), so a new entry is a constant.
Layouts: types.Aggregate. Bucket arithmetic: LANGUAGE §6.2.
"""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Instr, Value
from bpfscript.ir.types import I64
from bpfscript.manifest import MapDef
from bpfscript.target import MachineError
from bpfscript.types import TSERIES_AGGREGATES, Aggregate

from .code import Code
from .legal_events import MAP_FULL, helper_error
from .legal_maps import NOEXIST, find, key_pointer, map_of, mark_present, presence, update
from .legal_slots import in_slot, slots_of


def kind_of(map: MapDef) -> Aggregate:
    if not isinstance(map.value, Aggregate):
        raise CompilerBug(f"{map.name} holds no aggregates")
    return map.value


def aggregate(code: Code, instr: Instr) -> None:
    map = map_of(code, instr)
    key, *values = instr.args
    kind = kind_of(map)

    def change(entry: Value) -> None:
        UPDATES[kind.name](code, kind, entry, *values)

    if map.labels is not None:
        _update_label(code, map, key, change)
    elif slots := slots_of(code, map):
        in_slot(code, slots, key, change, lambda: _update_entry(code, map, key, change))
    else:
        _update_entry(code, map, key, change)


def _update_label(code: Code, map: MapDef, key: Value, change: Callable[[Value], None]) -> None:
    entry = find(code, map, key)

    def there() -> None:
        change(entry)
        mark_present(code, map, entry)

    code.when(code.present(entry), there)


def _update_entry(code: Code, map: MapDef, key: Value, change: Callable[[Value], None]) -> None:
    pointer = key_pointer(code, map, key)
    entry = code.lookup(map.name, pointer)

    def insert() -> Value:
        zeros = code.value("rodata", data=bytes(map.value_size))
        result = update(code, map, pointer, zeros, NOEXIST)
        again = code.lookup(map.name, pointer)
        if code.module.warnings:  # not there in spite of the update, so that must have failed
            lost = code.value("is_null", again)
            code.when(
                lost, lambda: helper_error(code, "map_update_elem", MAP_FULL, result), cold=True
            )
        return again

    entry = code.choose(code.present(entry), lambda: entry, insert)
    code.when(code.present(entry), lambda: change(entry))


# Updates


def _step(code: Code, entry: Value, offset: Value | int, by: Value | int) -> None:
    """Add to a word of the entry."""
    if isinstance(offset, int):
        code.store(entry, code.add(code.load(entry, I64, offset), by), offset)
    else:
        _step(code, code.value("ptr_add", entry, offset), 0, by)


def _count(code: Code, kind: Aggregate, entry: Value) -> None:
    _step(code, entry, 0, 1)


def _sum(code: Code, kind: Aggregate, entry: Value, value: Value) -> None:
    _step(code, entry, 0, value)


def _average(code: Code, kind: Aggregate, entry: Value, value: Value) -> None:
    _step(code, entry, 0, value)
    _step(code, entry, 8, 1)


def _extreme(code: Code, kind: Aggregate, entry: Value, value: Value) -> None:
    """Store the value if it is the first one or beyond the one there."""
    unset = code.op("eq", code.load(entry, I64, 8), 0)
    beyond = better(code, kind.name, kind.signed, value, code.load(entry, I64))

    def store() -> None:
        code.store(entry, value)
        code.store(entry, code.const(1), 8)

    code.when(code.op("or", unset, beyond), store)


def better(code: Code, name: str, signed: bool, value: Value, than: Value) -> Value:
    """i1: whether `value` is the new minimum or maximum."""
    less = "slt" if signed else "ult"
    return code.op(less, value, than) if name == "min" else code.op(less, than, value)


def _hist(code: Code, kind: Aggregate, entry: Value, value: Value) -> None:
    _bucket(code, kind, entry, hist_index(code, value, kind.params[0], kind.signed))


def _lhist(code: Code, kind: Aggregate, entry: Value, value: Value) -> None:
    _bucket(code, kind, entry, lhist_index(code, value, *kind.params, signed=kind.signed))


def _bucket(code: Code, kind: Aggregate, entry: Value, index: Value) -> None:
    index = code.clamp(index, kind.size // 8)
    _step(code, entry, code.op("shl", index, 3), 1)


def hist_index(code: Code, value: Value, bits: int, signed: bool) -> Value:
    """Index in a log2 histogram with 2^bits buckets for each power of two."""
    top = log2(code, value)
    level = code.op("sub", top, bits)
    part = code.op("and", code.value("lshr", value, level), (1 << bits) - 1)
    big = code.add(code.add(code.op("shl", code.add(level, 1), bits), part), 1)
    small = code.op("ult", value, 1 << bits)
    index = code.value("select", small, code.add(value, 1), big)
    if not signed:
        return index
    return code.value("select", code.op("slt", value, 0), code.const(0), index)


def log2(code: Code, value: Value) -> Value:
    """Position of the highest bit, 0 for 0: binary search by halves, without a loop."""
    position = code.const(0)
    for shift in (32, 16, 8, 4, 2, 1):
        above = code.op("ule", code.const(1 << shift), value)
        half = code.op("shl", code.resize(above, 64), shift.bit_length() - 1)
        value = code.value("lshr", value, half)
        position = code.op("or", position, half)
    return position


def lhist_index(code: Code, value: Value, low: int, high: int, step: int, *, signed: bool) -> Value:
    less = "slt" if signed else "ult"
    inner = code.add(code.op("udiv", code.op("sub", value, low), step), 1)
    above = code.op(less, code.const(high), value)
    over = code.const(1 + (high - low) // step)
    index = code.value("select", above, over, inner)
    return code.value("select", code.op(less, value, low), code.const(0), index)


def _tseries(code: Code, kind: Aggregate, entry: Value, value: Value) -> None:
    """(epoch, value, count) of the interval that TAI time is in; a new epoch starts afresh."""
    interval, number, index = kind.params
    epoch = code.op("udiv", code.call("ktime_get_tai_ns"), interval)
    row = code.op("mul", code.clamp(code.op("urem", epoch, number), number), 24)
    entry = code.value("ptr_add", entry, row)
    same = code.op("eq", code.load(entry, I64), epoch)
    count = code.value("select", same, code.load(entry, I64, 16), code.const(0))
    first = code.op("eq", count, 0)
    old = code.load(entry, I64, 8)
    match TSERIES_AGGREGATES[index]:
        case "avg" | "sum":
            merged = code.value("add", old, value)
        case "min" | "max" as name:
            merged = code.value("select", better(code, name, kind.signed, value, old), value, old)
        case _:
            merged = value
    code.store(entry, epoch)
    code.store(entry, code.value("select", first, value, merged), 8)
    code.store(entry, code.add(count, 1), 16)


UPDATES: dict[str, Callable[..., None]] = {
    "count": _count,
    "sum": _sum,
    "min": _extreme,
    "max": _extreme,
    "avg": _average,
    "stats": _average,
    "hist": _hist,
    "lhist": _lhist,
    "tseries": _tseries,
}


# Reading


def aggregate_read(code: Code, instr: Instr) -> Value:
    """Merge the values of all CPUs: sums add up, extremes compete, an average is total / count."""
    if not code.target.has("lookup_percpu_elem"):
        raise MachineError(
            "reading an aggregate in a script needs bpf_map_lookup_percpu_elem", "Linux 5.19"
        )
    map = map_of(code, instr)
    kind = kind_of(map)
    key = key_pointer(code, map, instr.args[0])
    zero = code.const(0)

    def cpu(i: Value, values: list[Value]) -> list[Value]:
        object = code.value("map_ptr", map=map.name)
        entry = code.call("map_lookup_percpu_elem", object, key, code.resize(i, 32))
        return _if_present(code, map, entry, values, lambda: _merge(code, kind, entry, values))

    start = [zero] if kind.name in ("count", "sum") else [zero, zero]
    total, *rest = code.loop(code.target.cpus, start, cpu)
    return _quotient(code, total, rest[0], kind.signed) if kind.name == "avg" else total


def _if_present(
    code: Code, map: MapDef, entry: Value, values: list[Value], merged: Callable[[], list[Value]]
) -> list[Value]:
    yes, done = code.block("here"), code.block("merged", *(v.type for v in values))
    code.branch(code.value("is_null", entry), done, yes, then_args=tuple(values))
    code.at(yes)
    offset = presence(map)
    if offset is not None:
        exists = code.block("exists")
        there = code.op("ne", code.load(entry, I64, offset), 0)
        code.branch(there, exists, done, else_args=tuple(values))
        code.at(exists)
    code.jump(done, *merged())
    code.at(done)
    return done.params


def _merge(code: Code, kind: Aggregate, entry: Value, values: list[Value]) -> list[Value]:
    own = code.load(entry, I64)
    match kind.name:
        case "count" | "sum":
            return [code.value("add", values[0], own)]
        case "avg":
            count = code.load(entry, I64, 8)
            return [code.value("add", values[0], own), code.value("add", values[1], count)]
        case "min" | "max":
            best, seen = values
            own_set = code.op("ne", code.load(entry, I64, 8), 0)
            wins = better(code, kind.name, kind.signed, own, best)
            wins = code.op("or", wins, code.op("eq", seen, 0))
            takes = code.op("and", wins, own_set)
            return [
                code.value("select", takes, own, best),
                code.op("or", seen, code.resize(own_set, 64)),
            ]
    raise CompilerBug(f"{kind.name} cannot be read as an integer")


def _quotient(code: Code, total: Value, count: Value, signed: bool) -> Value:
    """total / count towards zero, by an unsigned division: BPF has signed ones only since 6.6."""
    if not signed:
        return code.op("udiv", total, count)
    negative = code.op("slt", total, 0)
    zero = code.const(0)
    magnitude = code.value("select", negative, code.op("sub", zero, total), total)
    quotient = code.op("udiv", magnitude, count)
    return code.value("select", negative, code.op("sub", zero, quotient), quotient)
