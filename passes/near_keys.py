"""Aggregates by keys that are mostly small get a second map, where those are cheaper to find.

    aggregate %k {map="@"}                     %k = i64
    →  branch %k < 256, near, far
    near: aggregate (trunc %k) {map=".near@"}  an array: no hashing, no helper call
    far:  aggregate %k {map="@"}

A string, or a stack, at the end of a key is near if it ends early: the key is then a prefix of what
is in memory, and the kernel hashes and compares some words in place of a kilobyte. One that is only
read to be a key is read short first. Every use of a map decides alike, and alone by the key, so
that no key is in both; `MapDef.within` tells the runtime what belongs together.

Only where `Module.split` allows it, and all that programs do with the map is to aggregate. Cost:
linear in the module.
"""

from __future__ import annotations

from bpfscript.ir.builder import Builder
from bpfscript.ir.core import Block, Function, Instr, Module, Value
from bpfscript.ir.types import CTX, I8, I64, RING, I
from bpfscript.manifest import MapDef, MapType
from bpfscript.plain import dataclass
from bpfscript.target import Target
from bpfscript.types import Aggregate, Stack, String, Tuple
from bpfscript.types import Type as ValueType

from .values import definitions, operands

TEXT = 64  # bytes, NUL included and one more to tell
FRAMES = 15  # of a stack, and one more
KEYS_LEAST = 4096  # who wants fewer counts them


@dataclass(frozen=True, slots=True)
class Near:
    """The map of near keys. In memory a key is near if the `type` at `off` is zero."""

    map: MapDef
    off: int = 0
    type: I = I8
    text: int = 0  # bytes of a key that is all string


def near_keys(module: Module, target: Target) -> None:
    if not module.split:
        return
    sites: dict[str, list[tuple[Function, Instr]]] = {}
    for function in module.functions:
        for instr in function.instructions():
            if "map" in instr.attrs:
                sites.setdefault(str(instr.attrs["map"]), []).append((function, instr))
    for name, found in sites.items():
        map = module.maps[name]
        if not _eligible(map) or not all(_adds_up(i) for _, i in found):
            continue
        near = _near(map)
        if near is None:
            continue
        module.maps[near.map.name] = near.map
        for function, instr in found:
            _split(function, instr, near)
        how = f"percpu hash, and {_described(near)}"
        module.chose("map", name, how, "it only adds up, by keys that are mostly short")


def _eligible(map: MapDef) -> bool:
    whole = map.kind is MapType.PERCPU_HASH and not map.declared and map.labels is None
    return whole and isinstance(map.value, Aggregate) and map.max_entries >= KEYS_LEAST


def _adds_up(instr: Instr) -> bool:
    return instr.op == "aggregate" and instr.args[0].type not in (CTX, RING)


def _near(map: MapDef) -> Near | None:
    name = f".near{map.name}"
    tail, start = _tail(map.key)
    if isinstance(tail, String):
        size, off, type = TEXT, TEXT - 2, I8
    elif isinstance(tail, Stack):
        size, off, type = 8 + 8 * FRAMES, 8 * FRAMES, I64
    else:
        return None
    if map.key_size < start + 2 * size:
        return None
    near = MapDef(
        name, map.kind, map.key, map.value, start + size, map.value_size, map.max_entries,
        within=map.name,
    )  # fmt: skip
    return Near(near, start + off, type, TEXT if isinstance(map.key, String) else 0)


def _tail(type: ValueType | None, start: int = 0) -> tuple[ValueType | None, int]:
    """What a key ends in, and at which byte that begins."""
    if isinstance(type, Tuple) and type.of:
        return _tail(type.of[-1], start + type.offsets[-1])
    return type, start


def _described(near: Near) -> str:
    return f"one for keys of at most {near.map.key_size} bytes"


def _split(function: Function, instr: Instr, near: Near) -> None:
    """Two aggregates in the place of one, behind a branch that the key decides."""
    block = next(b for b in function.blocks if instr in b.instrs)
    at = block.instrs.index(instr)
    rest = Block("added", [], block.instrs[at + 1 :])
    del block.instrs[at:]
    build = Builder(function)
    build.span = instr.span
    build.at(block)
    close, far = build.block("near"), build.block("far")
    function.blocks.append(rest)
    key = near_key = instr.args[0]
    if read := _only_read_for(function, block, instr, near):
        near_key = _read_short(build, block, read, near, close, far)
    else:
        build.branch(_ends(build, key, near), close, far)
    for place, map, by in ((close, near.map.name, near_key), (far, instr.attrs["map"], key)):
        build.at(place)
        build.emit("aggregate", by, *instr.args[1:], map=map)
        build.jump(rest)


def _ends(build: Builder, key: Value, near: Near) -> Value:
    """i1: whether a key in memory ends before the bytes that only far ones have."""
    found = build.load(key, near.type, near.off)
    return build.value("eq", found, build.const(0, near.type))


def _only_read_for(
    function: Function, block: Block, instr: Instr, near: Near
) -> tuple[Instr, int] | None:
    """What reads the key, if nothing else wants it; and at most how many bytes."""
    made, key = definitions(function), instr.args[0]
    read = made.get(key)
    if read is None or read.op != "read_string" or not near.text or read not in block.instrs:
        return None
    uses = [i for i in function.instructions() for value in operands(i) if value is key]
    limit = made.get(read.args[1])
    if uses or limit is None or limit.op != "const":  # `instr` itself is out already
        return None
    length = limit.attrs["value"]
    assert isinstance(length, int)
    return read, length


def _read_short(
    build: Builder, block: Block, read: tuple[Instr, int], near: Near, close: Block, far: Block
) -> Value:
    """Read the whole string only if its beginning does not end; the near key.

    Should it have become shorter in between, its beginning stands for it.
    """
    whole, length = read
    block.instrs.remove(whole)
    pointer, limit = whole.args[0], build.const(min(length, near.text))
    short = build.value("read_string", pointer, limit, size=near.text)
    long = build.block("long")
    build.branch(_ends(build, short, near), close, long)
    build.at(long)
    long.instrs.append(whole)
    assert whole.result
    build.branch(_ends(build, whole.result, near), close, far)
    return short
