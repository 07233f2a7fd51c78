"""Pieces of random IR of high operations: strings, keys, aggregates, reads, what a probe is told.

Left out: what no test run of a raw tracepoint has (registers, a user's stack), events, and time.
"""

from __future__ import annotations

from ir_generator import WIDTHS, Maker, Piece, Place
from ir_generator_memory import MAPS, a_place, slot

from bpfscript.ir.builder import Builder
from bpfscript.ir.core import Function, Value
from bpfscript.ir.types import I1, I32, I64, KERNEL, MAP, STACK, USER
from bpfscript.manifest import MapDef, MapType
from bpfscript.types import Aggregate, Int, String
from bpfscript.types import Type as ValueType

_WORD = Int(64, True)
_TEXTS = (b"", b"a", b"ab", b"abc", b"b", b"bc", b"\xff\x80", b"abcabcd")
_NAMED = 8  # bytes of a short string
_READABLE = (Aggregate("count"), Aggregate("sum"), Aggregate("min"), Aggregate("max", False))
_KINDS = (
    *_READABLE, Aggregate("avg"), Aggregate("stats"), Aggregate("sum", False),
    Aggregate("hist", True, (0,)), Aggregate("hist", True, (2,)),
    Aggregate("lhist", True, (-10, 100, 10)),
)  # fmt: skip


def _map(name: str, key: ValueType | None, value: ValueType, entries: int = 64) -> MapDef:
    kind = MapType.PERCPU_HASH if isinstance(value, Aggregate) else MapType.HASH
    return MapDef(name, kind, key, value, key.size if key else 4, value.size, entries)


def maps() -> dict[str, MapDef]:
    """Fresh definitions, of maps that only high operations use."""
    made = [
        _map("@scalar", None, _WORD, 1),
        _map("@int", Int(32, True), Int(32, True)),
        _map("@few", _WORD, _WORD),  # keys are literals
        _map("@text", String(_NAMED), String(16)),
        _map("@label", String(_NAMED), Int(8, True)),  # likewise
        *(_map(f"@{k.name}{n}", _WORD, k, 4096) for n, k in enumerate(_KINDS)),
        _map("@total", None, Aggregate("sum"), 1),
        _map("@named", String(_NAMED), Aggregate("count")),
    ]
    return MAPS | {map.name: map for map in made}


# Keys and values of maps


def _key(m: Maker, map: MapDef) -> Value:
    if map.key is None:
        return m.const(0, I32)
    literal = map.name in ("@few", "@label")
    if isinstance(map.key, String):
        return _text(m, map.key.size, literal=literal)
    if literal:
        return m.const(m.r.choice((-1, 0, 1, 7, 1 << 40)))
    if map.key_size == 4:
        return m.builder.value("trunc", m.below(16), type=I32)
    # some keys are near ones (see passes.near_keys), some are not
    return m.builder.value("mul", m.below(8), m.const(m.r.choice((1, 1, 90, -1))))


def _text(m: Maker, size: int, *, literal: bool = False) -> Value:
    """A string padded with NULs."""
    texts = [m.r.choice(_TEXTS)[: size - 1].ljust(size, b"\0") for _ in range(2)]
    made = [m.builder.value("rodata", data=text) for text in texts]
    if literal or m.r.randrange(2):
        return made[0]
    place = m.builder.value("slot", size=size)
    m.builder.copy(place, made[0], size)
    if m.r.randrange(2):
        return place
    return m.builder.value("select", m.pick(I1), place, _slot_of(m, made[1], size))


def _slot_of(m: Maker, data: Value, size: int) -> Value:
    place = m.builder.value("slot", size=size)
    m.builder.copy(place, data, size)
    return place


def _plain(m: Maker) -> MapDef:
    assert m.module
    return m.module.maps[m.r.choice(("@scalar", "@int", "@few", "@text", "@label"))]


def map_write(m: Maker) -> None:
    map = _plain(m)
    if m.frozen:
        return
    if isinstance(map.value, String):
        value = _text(m, map.value.size)
    else:
        value = m.pick(next(t for t in WIDTHS if t.bits == 8 * map.value_size))
    m.builder.emit("map_write", _key(m, map), value, map=map.name)


def map_read(m: Maker) -> None:
    map = _plain(m)
    key = _key(m, map)
    if isinstance(map.value, String):
        read = m.builder.value("map_read_mem", key, map=map.name)
        m.places.append(Place(read, map.value.size, read, writable=False))
    else:
        type = next(t for t in WIDTHS if t.bits == 8 * map.value_size)
        m.keep(m.builder.value("map_read", key, type=type, map=map.name))


def map_other(m: Maker) -> None:
    map = _plain(m)
    match m.r.randrange(4):
        case 0:
            m.keep(m.builder.value("map_has", _key(m, map), map=map.name))
        case 1 if not m.frozen:
            m.keep(m.builder.value("map_delete", _key(m, map), map=map.name))
        case 2 if not m.frozen:
            m.builder.emit("map_clear", map="@scalar")
        case 3:
            m.keep(m.builder.value("map_length", map=m.r.choice(("@int", "@text"))))


def aggregate(m: Maker) -> None:
    assert m.module
    known = [d for d in m.module.maps.values() if isinstance(d.value, Aggregate)]
    map = m.r.choice(known)
    assert isinstance(map.value, Aggregate)
    if map.value.readable and not m.r.randrange(4):
        m.keep(m.builder.value("aggregate_read", _key(m, map), map=map.name))
    elif not m.frozen:
        args = () if map.value.name == "count" else (m.pick(I64),)
        m.builder.emit("aggregate", _key(m, map), *args, map=map.name)


def each(m: Maker) -> None:
    """Adds up a map; in which order the kernel goes over it, nobody knows."""
    assert m.module
    name = m.r.choice(("@int", "@few"))
    function = f"each_of_{name[1:]}"
    if m.frozen or m.depth > 1:
        return
    if function not in (f.name for f in m.callees):
        m.callees.append(_adding(function, I32 if name == "@int" else I64))
    frame = slot(m, 16)
    m.builder.emit("for_each", frame.pointer, map=name, function=function)


def _adding(name: str, type: object) -> Function:
    function = Function(name, [Value(MAP), Value(MAP), Value(STACK)])
    b, (key, value, frame) = Builder(function), function.params
    b.at(b.block("start"))
    wide = [b.load(p, type) for p in (key, value)]  # type: ignore[arg-type]  # an integer
    if type == I32:
        wide = [b.value("sext", v, type=I64) for v in wide]
    b.store(frame, b.value("add", b.load(frame, I64), b.value("mul", *wide)))
    b.store(frame, b.value("xor", b.load(frame, I64, 8), wide[0]), 8)
    b.ret(b.const(0))
    return function


# Strings and memory


def strings(m: Maker) -> None:
    left, right = (a_place(m, _NAMED) for _ in range(2))
    sizes = (min(left.size, 16), min(right.size, 16))
    if m.r.randrange(2):
        left, sizes = Place(_text(m, _NAMED), _NAMED, None), (_NAMED, sizes[1])
    if m.r.randrange(2):
        right, sizes = Place(_text(m, _NAMED), _NAMED, None), (sizes[0], _NAMED)
    a, b = left.pointer, right.pointer
    match m.r.randrange(4):
        case 0:
            limit = m.r.randint(1, min(sizes))
            m.keep(m.builder.value("string_eq", a, b, sizes=sizes, limit=limit))
        case 1:
            m.keep(m.builder.value("string_find", a, b, sizes=sizes))
        case 2:
            m.keep(m.builder.value("string_length", a, size=sizes[0]))
        case _:
            m.keep(m.builder.value("memory_eq", a, b, size=m.r.randint(1, min(sizes))))


def pack(m: Maker) -> None:
    operands, offsets, sizes, at = list[Value](), list[int](), list[int](), 0
    for _ in range(m.r.randint(1, 4)):
        if m.places and not m.r.randrange(3):
            place = m.r.choice(m.places)
            size, operand = m.r.randint(1, min(place.size, 16)), place.pointer
        else:
            operand = m.pick(m.type())
            size = operand.type.bits // 8  # type: ignore[union-attr]  # an integer
        at = -(-at // 8) * 8 + 8 * m.r.randrange(2)
        operands.append(operand)
        offsets.append(at)
        sizes.append(size)
        at += size
    total = -(-at // 8) * 8
    made = m.builder.value(
        "pack", *operands, offsets=tuple(offsets), sizes=tuple(sizes), size=total
    )
    m.places.append(Place(made, total, made, writable=False))


def checked(m: Maker) -> None:
    if m.r.randrange(2):
        m.keep(m.builder.value("bound", m.below(16), count=m.r.randint(1, 16)))
    else:
        divisor = m.below(4) if m.r.randrange(2) else m.pick(I64)
        m.keep(m.builder.value("divide", m.pick(I64), divisor, op=m.r.choice(("udiv", "urem"))))


def read(m: Maker) -> None:
    """Of addresses near 0, where nothing is."""
    pointer = m.builder.value("to_ptr", m.below(1 << 8), type=m.r.choice((KERNEL, USER)))
    size, memory = m.r.choice((8, 16, 24)), None
    match m.r.randrange(5):
        case 0:
            m.keep(m.builder.value("read_int", pointer, type=m.type(), off=8))
        case 1:
            m.keep(m.builder.value("read_sized", pointer, m.below(8)))
        case 2:
            memory = m.builder.value("read_mem", pointer, off=4, size=size)
        case 3:
            memory = m.builder.value("read_string", pointer, m.below(8), size=size)
        case _:
            memory = m.builder.value("read_buffer", pointer, m.below(8), size=size)
            size = 4  # the length; the rest is zeros
    if memory:
        m.places.append(Place(memory, size, memory, writable=False))


def probe(m: Maker) -> None:
    """Who and where: the task, the arguments."""
    match m.r.randrange(6):
        case 0:
            memory, size = m.builder.value("comm"), 16
        case 1:
            memory, size = m.builder.value("probe_name", size=24), 24
        case 2:
            m.keep(m.builder.value("is_null", m.builder.value("current_task")))
            return
        case 3:
            m.keep(m.builder.value("probe_id"))
            return
        case 4:
            stack = m.builder.value("stack_trace", kind="kernel", limit=4)
            count = m.builder.value("frame_count", stack, size=8 + 4 * 8)
            m.keep(m.builder.value("ule", count, m.const(4)))
            return
        case _:
            m.keep(m.builder.value("argument", index=m.r.randrange(8)))
            return
    m.places.append(Place(memory, size, memory, writable=False))


HIGH: tuple[Piece, ...] = (
    *(map_write,) * 3, *(map_read,) * 2, map_other, *(aggregate,) * 3, each, *(strings,) * 3,
    pack, pack, checked, checked, read, probe,
)  # fmt: skip
