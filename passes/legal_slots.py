"""Entries in slots of an array, chosen by a hash of the key: see `slots`.

For aggregates, on each CPU: value, key, state. A slot belongs to the first key that comes, which
claims it in one step, since an interrupt may come with another; whatever finds another key there
goes to the map.

For threads: value, spilled, tid. A thread claims its slot when it writes, and gives it back when it
deletes. Where it finds another thread's, the entry goes to the map and `spilled` says for ever that
the map must be asked, so that no key is in both. A thread is never two at a time, and changes no
entry but its own; tid 0, of which there is one on each CPU, always goes to the map. Clearing from
user space takes the slots first and the map then, and `spilled` is set after the map has the entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bpfscript.ir.core import Block, Value
from bpfscript.ir.types import I64, I
from bpfscript.manifest import MapDef

from .code import Code
from .legal_memory import aligned, chunks
from .slots import NAME

CLAIMING = 1 << 32  # of which the low half, that says whether an entry exists, is 0
SPILLED, OWNER = 8, 16  # offsets in a thread's slot
_MASK = (1 << 64) - 1


def slots_of(code: Code, map: MapDef) -> MapDef | None:
    return code.module.maps.get(NAME + map.name)


def _blocks(code: Code, names: str) -> list[Block]:
    return [code.block(name) for name in names.split()]


def _slot(code: Code, slots: MapDef, words: list[Value], otherwise: Block) -> Value:
    """The slot for a key: multiply, add, and take the high bits (multilinear hashing).

    There is no index without a slot, but the verifier wants to see what is done then.
    """
    total = None
    for word, factor in zip(words, _factors(), strict=False):
        part = code.op("mul", word, factor)
        total = part if total is None else code.value("add", total, part)
    assert total
    index = code.op("lshr", total, 65 - slots.max_entries.bit_length())
    slot, here = code.lookup(slots.name, code.index_key(code.resize(index, 32))), code.block("slot")
    code.branch(code.value("is_null", slot), otherwise, here)
    code.at(here)
    return slot


def _factors() -> Iterator[int]:
    """Odd numbers without pattern: SplitMix64 (Steele, Lea, Flood, 2014)."""
    state = 0
    while True:
        state = state + 0x9E3779B97F4A7C15 & _MASK
        mixed = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
        yield mixed ^ mixed >> 31 | 1


# Aggregates


def in_slot(
    code: Code,
    slots: MapDef,
    key: Value,
    change: Callable[[Value], None],
    elsewhere: Callable[[], None],
) -> None:
    """`change` the entry of a slot, or do what is to be done where another key has it."""
    parts = list(_parts(code, key, code.module.maps[slots.within].key_size))
    other, free, claim, hit, far, done = _blocks(code, "other free claim hit far done")
    slot = _slot(code, slots, [code.resize(part, 64) for _, part in parts], far)
    state = slots.value_size - 8
    different = code.op("xor", code.load(slot, I64, state), 1)
    for at, part in parts:
        assert isinstance(part.type, I)
        there = code.load(slot, part.type, slots.key_at + at)
        differs = code.resize(code.value("xor", there, part), 64)
        different = code.value("or", different, differs)
    code.branch(code.op("eq", different, 0), hit, other)
    code.at(other)
    code.branch(code.op("eq", code.load(slot, I64, state), 0), free, far)
    code.at(free)
    before = code.value("cmpxchg", slot, code.const(0), code.const(CLAIMING), off=state)
    code.branch(code.op("eq", before, 0), claim, far)
    code.at(claim)
    for at, part in parts:
        code.store(slot, part, slots.key_at + at)
    code.store(slot, code.const(1), state)
    code.jump(hit)
    code.cold.update((free, claim))
    code.at(hit)
    change(slot)
    code.jump(done)
    code.at(far)
    elsewhere()
    code.jump(done)
    code.at(done)


def _parts(code: Code, key: Value, size: int) -> Iterator[tuple[int, Value]]:
    """(offset, integer) that a key consists of."""
    if isinstance(key.type, I):
        yield 0, key
        return
    for at, type in chunks(size, aligned(code, key)):
        yield at, code.load(key, type, at)


# Threads


def _asked(
    code: Code, slots: MapDef, tid: Value, owned: Block, unspilled: Block, map: Block, none: Block
) -> tuple[Value, Value]:
    """The slot and the word of a thread, and on to `owned` if it has the slot, to the map if that
    may have the entry; else to `unspilled`, or to `none` where there is no slot."""
    thread, other = _blocks(code, "thread other")
    word = code.resize(tid, 64)
    slot = _slot(code, slots, [word], none)
    code.branch(code.op("eq", word, 0), map, thread)
    code.at(thread)
    code.branch(code.value("eq", code.load(slot, I64, OWNER), word), owned, other)
    code.at(other)
    code.branch(code.op("eq", code.load(slot, I64, SPILLED), 0), unspilled, map)
    return slot, word


def find(
    code: Code,
    slots: MapDef,
    tid: Value,
    near: Callable[[Value, Value], Value],
    far: Callable[[], Value],
    absent: Callable[[], Value],
) -> Value:
    """`near` its slot and its word; `far` where the map may have the entry; or `absent`."""
    owned, map, none = _blocks(code, "owned map none")
    slot, word = _asked(code, slots, tid, owned, none, map, none)
    ends = []
    there: Callable[[], Value] = lambda: near(slot, word)  # noqa: E731
    for block, value in ((owned, there), (map, far), (none, absent)):
        code.at(block)
        ends.append((value(), code.current))
    found = code.block("found", ends[0][0].type)
    for result, end in ends:
        assert end
        code.at(end)
        code.jump(found, result)
    code.at(found)
    return found.params[0]


def give_back(code: Code, slot: Value, word: Value) -> Value:
    """i1: whether the thread had it, which is so unless an interrupt came with the same."""
    before = code.value("cmpxchg", slot, word, code.const(0), off=OWNER)
    return code.value("eq", before, word)


def write(
    code: Code, slots: MapDef, tid: Value, value: Value, elsewhere: Callable[[], None]
) -> None:
    """Into the thread's slot, or, where another thread has it, `elsewhere`."""
    claim, owned, map, done = _blocks(code, "claim owned map done")
    slot, word = _asked(code, slots, tid, owned, claim, map, done)
    code.at(claim)
    before = code.value("cmpxchg", slot, code.const(0), word, off=OWNER)
    ours = code.value("or", code.op("eq", before, 0), code.value("eq", before, word))
    code.branch(ours, owned, map)
    code.at(owned)
    code.store(slot, value)
    code.jump(done)
    code.at(map)
    elsewhere()
    code.store(slot, code.const(1), SPILLED)
    code.jump(done)
    code.at(done)
