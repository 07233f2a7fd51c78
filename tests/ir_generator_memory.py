"""Pieces of random IR that use memory, maps, helpers and other functions."""

from __future__ import annotations

from ir_generator import CTX_SIZE, WIDTHS, Maker, Piece, Place

from bpfscript.ir.core import Value
from bpfscript.ir.types import I1, I32, I64, KERNEL, MAP, STACK, USER
from bpfscript.manifest import MapDef, MapType
from bpfscript.types import Int

OUT, HASH, TABLE, CPU, LARGE, SMALL = ".out", "@hash", "@table", "@cpu", "@large", "@small"
OUT_SIZE, LARGE_SIZE = 128, 640
KEYS, ENTRIES = 8, 6  # of HASH: more keys than it has room for
_WORD = Int(64, True)
MAPS = {
    OUT: MapDef(OUT, MapType.ARRAY, None, None, 4, OUT_SIZE, 1),
    HASH: MapDef(HASH, MapType.HASH, _WORD, _WORD, 8, 8, ENTRIES),
    TABLE: MapDef(TABLE, MapType.ARRAY, None, None, 4, 24, 4),
    CPU: MapDef(CPU, MapType.PERCPU_ARRAY, None, None, 4, 16, 2),
    LARGE: MapDef(LARGE, MapType.ARRAY, None, None, 4, LARGE_SIZE, 1),
    SMALL: MapDef(SMALL, MapType.ARRAY, None, None, 4, 24, 1),
}
_EXACT = ("get_smp_processor_id", "get_current_pid_tgid", "get_numa_node_id", "get_current_uid_gid")


def slot(m: Maker, size: int = 0) -> Place:
    """A new slot, all of it defined."""
    size = size or m.r.choice((8, 8, 13, 16, 24, 40))
    pointer = m.builder.value("slot", size=size)
    m.builder.emit("fill", pointer, off=0, size=size)
    place = Place(pointer, size, pointer)
    m.places.append(place)
    return place


def a_place(m: Maker, size: int, *, write: bool = False) -> Place:
    fitting = [p for p in m.places if p.size >= size and (p.writable or not write)]
    return m.r.choice(fitting) if fitting else slot(m, max(size, 8))


def _offset(m: Maker, place: Place, size: int) -> int:
    """Where `size` bytes are inside a place; aligned more often than not."""
    last = place.size - size
    return m.r.randint(0, last) if not m.r.randrange(3) else m.r.randint(0, last // 8) * 8


def load(m: Maker) -> None:
    type = m.type()
    place = a_place(m, type.bits // 8)
    m.keep(m.builder.load(place.pointer, type, _offset(m, place, type.bits // 8)))


def store(m: Maker) -> None:
    value = m.pick(m.type())
    size = value.type.bits // 8  # type: ignore[union-attr]  # an integer
    place = a_place(m, size, write=True)
    m.builder.store(place.pointer, value, _offset(m, place, size))


def exchange(m: Maker) -> None:
    """One that is what is there now, or another: both ways are taken."""
    place = next((p for p in m.places if p.pointer is p.root and p.writable and p.size >= 8), None)
    pointer, off = (place or slot(m, 8)).pointer, 0
    if m.r.randrange(2):
        pointer, off = m.builder.value("map_value", map=LARGE), 8 * m.r.randrange(LARGE_SIZE // 8)
    expected = m.builder.load(pointer, I64, off) if m.r.randrange(2) else m.pick(I64)
    m.keep(m.builder.value("cmpxchg", pointer, expected, m.pick(I64), off=off))


def fill(m: Maker) -> None:
    place = a_place(m, 1, write=True)
    size = m.r.randint(1, place.size)
    m.builder.emit("fill", place.pointer, off=_offset(m, place, size), size=size)


def copy(m: Maker) -> None:
    """From memory that is not the same: `copy` says nothing of what overlaps."""
    to = a_place(m, 1, write=True)
    sources = [p for p in m.places if p.root is not to.root]
    if m.ctx and (not sources or not m.r.randrange(4)):
        begin = m.r.randrange(0, CTX_SIZE, 8)
        size = m.r.randint(1, min(to.size, CTX_SIZE - begin))
        m.builder.copy(to.pointer, m.ctx, size, _offset(m, to, size), begin)
    elif sources:
        source = m.r.choice(sources)
        size = m.r.randint(1, min(to.size, source.size))
        begin = _offset(m, source, size)
        m.builder.copy(to.pointer, source.pointer, size, _offset(m, to, size), begin)


def constant_data(m: Maker) -> None:
    size = m.r.choice((1, 5, 8, 16, 33))
    pointer = m.builder.value("rodata", data=m.r.randbytes(size))
    m.places.append(Place(pointer, size, pointer, writable=False))


def context(m: Maker) -> None:
    if m.ctx is None:
        return
    type = m.type()
    pointer, off = m.ctx, m.r.randrange(0, CTX_SIZE, type.bits // 8)
    if off >= 8 and not m.r.randrange(3):
        pointer, off = m.builder.value("ptr_add", pointer, m.const(8)), off - 8
    m.keep(m.builder.load(pointer, type, off))


def part(m: Maker) -> None:
    """A pointer into a place, by a number or an index that is computed."""
    place = m.r.choice(m.places) if m.places else slot(m)
    if m.r.randrange(2):
        by = m.r.randrange(place.size)
        step, left = m.const(by), place.size - by
    elif place.size > 8:
        step, left = m.below(8), place.size - 7
    else:
        return
    pointer = m.builder.value("ptr_add", place.pointer, step)
    m.places.append(Place(pointer, left, place.root, place.writable))


def either_place(m: Maker) -> None:
    """One of two pointers into the same kind of memory, chosen by a value or by the way taken."""
    first = a_place(m, 1)
    others = [p for p in m.places if p.pointer.type == first.pointer.type]
    second = m.r.choice(others)
    if first.pointer.type == MAP and first.root is not second.root:
        return  # the kernel does not follow pointers to different maps
    if m.r.randrange(2):
        chosen = m.builder.value("select", m.pick(I1), first.pointer, second.pointer)
    else:
        join = m.builder.block("place", first.pointer.type)
        m.builder.branch(m.pick(I1), join, join, (first.pointer,), (second.pointer,))
        m.builder.at(join)
        (chosen,) = join.params
    # what both are part of overlaps with either
    root = first.root if first.root is second.root else None
    if root is not None:
        size, writable = min(first.size, second.size), first.writable and second.writable
        m.places.append(Place(chosen, size, root, writable))
    else:
        m.keep(m.builder.load(chosen, WIDTHS[0]))


def addresses(m: Maker) -> None:
    """Addresses differ from run to run, whether they are the same does not."""
    place = a_place(m, 1)
    moved = m.builder.value("ptr_add", place.pointer, m.const(m.r.randrange(place.size)))
    ends = [m.builder.value("to_int", p) for p in (moved, place.pointer)]
    m.keep(m.builder.value("eq", *ends))
    pointer = m.builder.value("to_ptr", m.below(2), type=m.r.choice((KERNEL, USER)))
    m.keep(m.builder.value("is_null", pointer))


# Maps and helpers


def direct_map(m: Maker) -> None:
    name, size = m.r.choice(((LARGE, LARGE_SIZE), (SMALL, 24)))
    m.places.append(Place(m.builder.value("map_value", map=name), size, name))


def _key(m: Maker, value: Value) -> Value:
    size = value.type.bits // 8  # type: ignore[union-attr]  # an integer
    place = m.builder.value("slot", size=8)
    m.builder.store(place, value)
    return m.builder.value("ptr_add", place, m.const(0)) if size == 4 else place


def entry(m: Maker) -> None:
    """The value of a key, used where it is there."""
    name, size = m.r.choice(((HASH, 8), (TABLE, 24), (CPU, 16)))
    index = m.below(KEYS)
    key = index if name == HASH else m.builder.value("trunc", index, type=I32)
    map = m.builder.value("map_ptr", map=name)
    found = m.builder.call("map_lookup_elem", map, _key(m, key))
    there, on = m.builder.block("there"), m.builder.block("on", I64)
    nowhere = m.builder.value("is_null", found)
    m.builder.branch(nowhere, on, there, (m.pick(I64),))
    with m.scope():
        m.frozen = True
        m.places.append(Place(found, size, name))
        m.builder.at(there)
        load(m)
        m.builder.store(found, m.pick(I64))
        if m.depth < 3:
            m.code(3)
        m.builder.jump(on, m.builder.load(found, I64))
    m.builder.at(on)
    m.keep(on.params[0])


def change(m: Maker) -> None:
    """An entry comes, changes or goes."""
    if m.frozen:
        return
    map, key = m.builder.value("map_ptr", map=HASH), _key(m, m.below(KEYS))
    if m.r.randrange(3):
        value, flags = a_place(m, 8), m.const(m.r.choice((0, 0, 1, 2)))
        m.keep(m.builder.call("map_update_elem", map, key, value.pointer, flags))
    else:
        m.keep(m.builder.call("map_delete_elem", map, key))


def helper(m: Maker) -> None:
    """Helpers that give the same here and there."""
    match m.r.randrange(4):
        case 0 | 1:
            m.keep(m.builder.call(m.r.choice(_EXACT)))
        case 2:
            to = a_place(m, 1, write=True)
            size = m.r.randint(1, to.size)
            others = [p for p in m.places if p.root is not to.root and p.size >= size]
            if others and m.r.randrange(2):
                source = m.r.choice(others).pointer
            else:
                source = m.builder.value("to_ptr", m.below(1 << 8), type=KERNEL)
            failed = m.builder.call("probe_read_kernel", to.pointer, m.const(size), source)
            m.keep(m.builder.value("slt", failed, m.const(0)))  # which error it is, kernels differ
        case _:
            text = m.builder.value("rodata", data=m.r.choice((b"a\0", b"\0", b"xyz\0\0\0")))
            left = a_place(m, 6)
            same = m.builder.call("strncmp", left.pointer, m.const(6), text)
            m.keep(m.builder.value("eq", same, m.const(0)))


# Functions


def _frame(m: Maker) -> Value:
    """16 bytes on the stack for another function, aligned as it expects."""
    own = [p for p in m.places if p.pointer is p.root and p.writable and p.size >= 16]
    large = [p.pointer for p in own if p.pointer.type == STACK]
    return m.r.choice(large) if large else slot(m, 16).pointer


def subprogram(m: Maker) -> None:
    known = [f for f in m.callees if f.name.startswith("sub")]
    if not known or m.frozen:
        return
    callee = m.r.choice(known)
    args = [
        _frame(m) if p.type == STACK else m.pick(p.type)  # type: ignore[arg-type]
        for p in callee.params
    ]
    m.keep(m.builder.value("call_function", *args, function=callee.name))


def callback(m: Maker) -> None:
    known = [f for f in m.callees if f.name.startswith("callback")]
    if not known or m.frozen or m.depth > 1:
        return
    callee = m.r.choice(known)
    function = m.builder.value("func_ptr", function=callee.name)
    frame = _frame(m)
    if len(callee.params) == 2:
        # once at least: 6.18 fails on a callback that it finds no way into
        times = m.builder.value("add", m.below(8), m.const(1))
        m.keep(m.builder.call("loop", times, function, frame, m.const(0)))
    else:
        map = m.builder.value("map_ptr", map=TABLE)
        m.keep(m.builder.call("for_each_map_elem", map, function, frame, m.const(0)))


MEMORY: tuple[Piece, ...] = (
    *(load,) * 3, *(store,) * 4, fill, copy, copy, constant_data, context, part, part,
)  # fmt: skip
INNER_ONLY: tuple[Piece, ...] = (either_place, addresses, direct_map, exchange)
MAPPED: tuple[Piece, ...] = (entry, entry, change, change, helper, helper, subprogram, callback)
