"""Maps whose keys are all known at compile time become arrays: no hashing, no helper call.

    map @ PERCPU_HASH key String(16); aggregate %k {map="@"} with %k = probe_name, rodata "x"
    →  map @ PERCPU_ARRAY labels ("begin", "x"); aggregate const i32 0 {map="@"}

A slot stands for each key. Each value is followed by a uint64 that says whether the entry exists,
since an array's slots always do. Cost: linear in the module.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.ir.core import Attr, Block, Function, Instr, Module, Value
from bpfscript.ir.types import I32, I64, RODATA, I, Type
from bpfscript.manifest import MapDef, MapType
from bpfscript.target import Target
from bpfscript.types import Aggregate, Int, String, align_up

from .legal_maps import PRESENT
from .values import definitions

LABELS_MAX = 1024
BYTES_MAX = 1 << 20  # of a map, for each CPU
VALUE_MAX = 32 << 10  # bytes; a per-CPU value is no larger (PCPU_MIN_UNIT_SIZE)
_ARRAY = {MapType.HASH: MapType.ARRAY, MapType.PERCPU_HASH: MapType.PERCPU_ARRAY}
_KEYED = ("map_read", "map_read_mem", "map_has", "map_write", "map_delete", "map_clear")
_AGGREGATE = ("aggregate", "aggregate_read")
Label = str | int
Use = tuple[Block, Instr, tuple[Label, ...]]


def static_keys(module: Module, target: Target) -> None:
    made = {f.name: definitions(f) for f in module.functions}
    uses: dict[str, list[Use]] = {}
    dynamic = {m.name for m in module.maps.values() if not _eligible(m)}
    for function, block, instr in _map_instructions(module):
        map = module.maps[str(instr.attrs["map"])]
        found = _labels(function, instr, map, made[function.name])
        if found is None:
            dynamic.add(map.name)
        else:
            uses.setdefault(map.name, []).append((block, instr, found))
    for map in module.maps.values():
        if map.name not in uses or map.name in dynamic:
            kind = map.kind.name.lower().replace("_", " ")
            why = "declared" if map.declared else "its keys are known only when it runs"
            module.chose("map", map.name, kind, why)
    for name, sites in uses.items():
        map = module.maps[name]
        labels = tuple(dict.fromkeys(label for *_, found in sites for label in found))
        if name not in dynamic and _affordable(map, labels):
            for block, instr, found in sites:
                _index_key(block, instr, found, labels)
            _to_array(map, labels)
            why = "its only key is constant" if len(labels) == 1 else "its keys are constants"
            kind = map.kind.name.lower().replace("_", " ")
            module.chose("map", name, f"{kind} of {len(labels)}", why)
        elif name not in dynamic:
            kind = map.kind.name.lower().replace("_", " ")
            module.chose("map", name, kind, "as an array it would be too large")


def _eligible(map: MapDef) -> bool:
    return map.kind in _ARRAY and not map.declared and isinstance(map.key, Int | String | None)


def _map_instructions(module: Module) -> Iterator[tuple[Function, Block, Instr]]:
    for function in module.functions:
        for block in function.blocks:
            for instr in block.instrs:
                if "map" in instr.attrs and str(instr.attrs["map"]) in module.maps:
                    yield function, block, instr


def _labels(
    function: Function, instr: Instr, map: MapDef, made: dict[Value, Instr]
) -> tuple[Label, ...] | None:
    """The keys that an instruction may use, by probe id if there are several; None if not known."""
    if instr.op not in _KEYED + _AGGREGATE:
        return None
    if isinstance(map.value, Aggregate) and instr.op not in _AGGREGATE:
        return None  # an entry exists on each CPU by itself, so that nothing can remove it from all
    if instr.op == "map_clear":
        return (0,)
    key = made.get(instr.args[0])
    if key is None:
        return None
    if key.op == "const" and not isinstance(map.key, String):
        return (_number(key, map),)
    if key.op == "rodata" and isinstance(map.key, String):
        text = _text(key.attrs["data"])
        return None if text is None else (text,)
    if key.op == "probe_name" and isinstance(map.key, String) and function.entry:
        size = map.key_size
        names = tuple(n for n in function.entry.probe.names if len(n.encode()) < size)
        return names if len(names) == len(function.entry.probe.names) else None
    return None


def _number(key: Instr, map: MapDef) -> int:
    number = key.attrs["value"]
    assert isinstance(number, int) and key.result and isinstance(key.result.type, I)
    bits = key.result.type.bits
    wrapped = number % (1 << bits)
    signed = isinstance(map.key, Int) and map.key.signed
    return wrapped - (1 << bits) if signed and wrapped >> (bits - 1) else wrapped


def _text(data: object) -> str | None:
    """The string in a key, if it is one that ends within it."""
    assert isinstance(data, bytes)
    text, end, rest = data.partition(b"\0")
    if not end or rest.strip(b"\0"):
        return None
    try:
        return text.decode()
    except UnicodeDecodeError:
        return None


def _affordable(map: MapDef, labels: tuple[Label, ...]) -> bool:
    size = align_up(map.value_size, 8) + PRESENT
    fits = len(labels) <= min(LABELS_MAX, map.max_entries)
    return fits and size <= VALUE_MAX and len(labels) * size <= BYTES_MAX


def _index_key(
    block: Block,
    instr: Instr,
    found: tuple[Label, ...],
    labels: tuple[Label, ...],
) -> None:
    """Put the index of the label in the place of the key."""
    if instr.op == "map_clear":
        return
    indexes = [labels.index(label) for label in found]
    made: list[Instr] = []

    def add(op: str, type: Type, *args: Value, **attrs: Attr) -> Value:
        result = Value(type)
        made.append(Instr(op, list(args), attrs, result, span=instr.span))
        return result

    if len(set(indexes)) == 1:
        instr.args[0] = add("const", I32, value=indexes[0])
    elif indexes == list(range(len(indexes))):
        instr.args[0] = add("trunc", I32, add("probe_id", I64))
    else:
        data = b"".join(i.to_bytes(4, "little") for i in indexes)
        offset = add("mul", I64, add("probe_id", I64), add("const", I64, value=4))
        row = add("ptr_add", RODATA, add("rodata", RODATA, data=data), offset)
        instr.args[0] = add("load", I32, row, off=0)
    at = block.instrs.index(instr)
    block.instrs[at:at] = made


def _to_array(map: MapDef, labels: tuple[Label, ...]) -> None:
    map.kind = _ARRAY[map.kind]
    map.labels = labels
    map.key_size = 4
    map.value_size = align_up(map.value_size, 8) + PRESENT
    map.max_entries = len(labels)
