"""Maps by short keys, or by the current thread, get an array of slots that a hash of ours chooses.

    aggregate %k {map="@"}, %k = comm     →  map ".slots@" PERCPU_ARRAY within "@"
    map_write %t, %n {map="@s"}, %t = tid →  map ".slots@s" ARRAY within "@s"

What finds its slot taken by another key goes to the map itself. This pass decides, where
`Module.split` allows it; `legal_slots` makes the code. Cost: linear in the module.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Function, Instr, Module, Value
from bpfscript.ir.types import CTX, I32, RING
from bpfscript.manifest import MapDef, MapType
from bpfscript.target import Target
from bpfscript.types import Aggregate, Int, align_up

from .values import definitions

NAME = ".slots"
KEY_MOST = 136  # bytes of a key that is hashed and compared word by word
BYTES_MAX = 1 << 15  # of per-CPU slots, which is the most that an allocation there gives
SLOTS_MAX, THREADS = 256, 8192
KEYS_LEAST = 4096  # who wants fewer counts them
ATOMICS = (5, 12)  # the release that BPF_CMPXCHG came with
Site = tuple[Function, Instr]


def slots(module: Module, target: Target) -> None:
    if not module.split or target.release < ATOMICS:
        return
    sites: dict[str, list[Site]] = {}
    for function in module.functions:
        for instr in function.instructions():
            if "map" in instr.attrs:
                sites.setdefault(str(instr.attrs["map"]), []).append((function, instr))
    zeroed = {event.map for event in module.events if event.kind == "zero"}
    repeats = target.has("may_goto") or target.has("iter_num")
    looped = set() if repeats else _looped(module)
    for name, found in sites.items():
        map = module.maps[name]
        if name in looped or map.declared or map.labels is not None or map.max_entries < KEYS_LEAST:
            continue
        if _adds_up(map, found):
            size = align_up(map.value_size, 8) + align_up(map.key_size, 8) + 8
            count = 1 << min(SLOTS_MAX, BYTES_MAX // size).bit_length() - 1
            if count >= 16:
                _give(module, map, MapType.PERCPU_ARRAY, align_up(map.value_size, 8), size, count)
                how = f"percpu hash behind {count} slots"
                why = "it only adds up, by short keys: most need no call to be found"
                module.chose("map", name, how, why)
        elif name not in zeroed and _threads_own(map, found):
            _give(module, map, MapType.ARRAY, 16, 24, THREADS)
            why = "its keys are tid alone: a thread's entry comes and goes without a lock"
            module.chose("map", name, f"hash behind {THREADS} slots", why)


def _looped(module: Module) -> set[str]:
    """Maps used in loops, of which the verifier of kernels before 6.4 follows every turn."""
    loops = (loop for f in module.functions for loop in Graph(f).loops())
    blocks = (block for loop in loops for block in loop.body)
    return {str(i.attrs["map"]) for b in blocks for i in b.instrs if "map" in i.attrs}


def _adds_up(map: MapDef, sites: list[Site]) -> bool:
    value = map.value
    whole = map.kind is MapType.PERCPU_HASH and map.key_size <= KEY_MOST
    return (
        whole
        and isinstance(value, Aggregate)
        and value.name != "tseries"
        and all(i.op == "aggregate" and i.args[0].type not in (CTX, RING) for _, i in sites)
    )


def _threads_own(map: MapDef, sites: list[Site]) -> bool:
    """Whether no key but `tid` is ever used, so that only its thread changes an entry."""
    whole = map.kind is MapType.HASH and isinstance(map.key, Int) and isinstance(map.value, Int)
    operations = ("map_read", "map_has", "map_write", "map_delete")
    made: dict[Function, dict[Value, Instr]] = {}
    return whole and all(
        i.op in operations and _is_tid(i.args[0], made.setdefault(function, definitions(function)))
        for function, i in sites
    )


def _is_tid(key: Value, made: dict[Value, Instr]) -> bool:
    narrow = made.get(key)
    if narrow is None or (narrow.op, key.type) != ("trunc", I32):
        return False
    ids = made.get(narrow.args[0])
    return ids is not None and ids.attrs.get("helper") == "get_current_pid_tgid"


def _give(module: Module, map: MapDef, kind: MapType, key_at: int, size: int, count: int) -> None:
    name = NAME + map.name
    module.maps[name] = MapDef(
        name, kind, map.key, map.value, 4, size, count, within=map.name, key_at=key_at
    )  # fmt: skip
