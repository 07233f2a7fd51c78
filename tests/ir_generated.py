"""Whole functions and modules of random IR, from the pieces that the other `ir_generator*` have."""

from __future__ import annotations

from random import Random

from ir_generator import CONTROL, INTEGERS, WIDTHS, Maker, Place, final
from ir_generator_high import HIGH, maps
from ir_generator_memory import (
    INNER_ONLY,
    MAPPED,
    MAPS,
    MEMORY,
    OUT,
    TABLE,
    context,
    slot,
)

from bpfscript.ir.core import Entry, Function, Module, Value
from bpfscript.ir.types import CTX, I64, MAP, STACK, Type
from bpfscript.manifest import ProbeInfo, ProgramType

STANDALONE = (*INTEGERS, *CONTROL, *MEMORY)
"""For functions without a module."""

INNER = (*INTEGERS, *INTEGERS, *CONTROL, *MEMORY, *INNER_ONLY)
PROGRAM = (*INNER, *MEMORY, *MAPPED)


def function(r: Random, size: int, depth: int = 2, name: str = "f") -> Function:
    """A function of ctx that returns an i64, and needs no module; `depth` as that of nesting."""
    m = Maker(r, Function(name, [Value(CTX)]), STANDALONE, room=3 * size, depth=2 - depth)
    context(m)
    m.keep(m.builder.load(m.function.params[0], I64, 0))
    slot(m, 64)
    m.code(size)
    m.builder.ret(m.mixed(4))
    return m.function


def module(r: Random, size: int = 30, *, may_goto: bool = True, high: bool = False) -> Module:
    """A program of ctx, and functions that it calls; `high`: with high operations.

    It leaves in `.out` what it returns, and some of what it computed.
    """
    made = Module(maps=maps() if high else dict(MAPS))
    if high:
        made.warnings, made.split = r.randrange(3), r.randrange(2) == 1
    callees: list[Function] = []
    shapes: list[tuple[str, list[Type]]] = [
        ("callback_of_loop", [I64, STACK]),
        ("callback_of_map", [I64, MAP, MAP, STACK]),
    ]
    for n in range(r.randrange(3)):
        params: list[Type] = [r.choice((I64, I64, *WIDTHS)) for _ in range(r.randint(1, 4))]
        shapes.append((f"sub{n}", [*params, STACK] if r.randrange(2) else params))
    for name, params in r.sample(shapes, r.randrange(len(shapes))):
        m = Maker(r, Function(name, [Value(t) for t in params]), INNER, size // 3, made)
        if name == "callback_of_map":
            _, key, value, _ = m.function.params
            m.places += [Place(key, 4, key, writable=False), Place(value, 24, TABLE)]
            m.values.clear()  # the first is the map
        if params[-1] == STACK:
            m.places.append(Place(m.function.params[-1], 16, m.function))
        m.code(size // 3)
        final(m, m.mixed(4))
        callees.append(m.function)
    probe = ProbeInfo("f", (), ("rawtracepoint:sched_switch",))
    entry = Entry(ProgramType.RAW_TRACEPOINT, "raw_tp/sched_switch", "rawtracepoint", probe)
    program = Function("f", [Value(CTX)], entry=entry)
    pieces = (*PROGRAM, *HIGH, *HIGH) if high else PROGRAM
    m = Maker(r, program, pieces, size, made, callees, may_goto=may_goto)
    for _ in range(r.randint(1, 6)):
        context(m)
    m.keep(m.builder.load(program.params[0], I64, 0))
    for _ in range(r.randint(1, 3)):
        slot(m)
    while m.room > 0:
        m.code(m.room)
    _report(m)
    called = _named([program], "function")
    made.functions = [program, *(f for f in callees if f.name in called)]
    used = _named(made.functions, "map")
    made.maps = {name: map for name, map in made.maps.items() if name in used}
    return made


def _report(m: Maker) -> None:
    out = m.builder.value("map_value", map=OUT)
    known = [v for values in m.values.values() for v in values]
    for n, value in enumerate(m.r.sample(known, min(6, len(known)))):
        m.builder.store(out, m.wide(value), 8 * n + 8)
    result = m.mixed(6)
    m.builder.store(out, result)
    m.builder.ret(result)


def _named(functions: list[Function], attr: str) -> set[object]:
    return {i.attrs[attr] for f in functions for i in f.instructions() if attr in i.attrs}
