"""Map operations: lookups, updates, deletions, loops over entries.

%v = map_read %k {map="@x"} : i64  →  %p = call map_lookup_elem …; null: 0, else load %p
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Function, Instr, Value
from bpfscript.ir.types import CTX, I1, I64, MAP, MAP_OBJECT, RING, STACK, I
from bpfscript.manifest import MapDef, MapType

from .code import Code
from .legal_events import MAP_FULL, MISSING, helper_error, report_failure
from .legal_slots import find as find_thread
from .legal_slots import give_back, slots_of
from .legal_slots import write as write_thread

PRESENT = 8  # bytes after the value of a labelled map: non-zero once the entry exists
LOOKUPS = 2  # Module.warnings from which on missing entries are reported
ANY, NOEXIST = 0, 1  # BPF_ANY, BPF_NOEXIST
LENGTH_CALLBACK = ".entry"


def map_of(code: Code, instr: Instr) -> MapDef:
    return code.module.maps[str(instr.attrs["map"])]


def key_pointer(code: Code, map: MapDef, key: Value) -> Value:
    """The key in memory that helpers read keys from."""
    return in_memory(code, key, map.key_size)


def in_memory(code: Code, value: Value, size: int) -> Value:
    if value.type not in (CTX, RING) and not isinstance(value.type, I):
        return value
    slot = code.slot(size)
    if isinstance(value.type, I):
        code.store(slot, value)
    else:
        code.copy(slot, value, size)
    return slot


def find(code: Code, map: MapDef, key: Value) -> Value:
    """Pointer to the value of a key, or null. The one value of an array needs no helper."""
    if map.kind is MapType.ARRAY and map.max_entries == 1:
        return code.value("map_value", map=map.name)
    return code.lookup(map.name, key_pointer(code, map, key))


def presence(map: MapDef) -> int | None:
    """Offset of the word that says whether an array's entry exists; None: a lookup says it."""
    return map.value_size - PRESENT if map.labels is not None else None


def mark_present(code: Code, map: MapDef, entry: Value) -> None:
    offset = presence(map)
    if offset is not None:
        code.store(entry, code.const(1), offset)


def _exists(code: Code, map: MapDef, entry: Value) -> Value:
    """i1: whether what `find` gave is an entry."""
    offset = presence(map)
    found = code.present(entry)
    if offset is None:
        return found
    return code.choose(
        found,
        lambda: code.op("ne", code.load(entry, I64, offset), 0),
        lambda: code.const(0, I1),
    )


def value_size(map: MapDef) -> int:
    """Bytes of the value proper."""
    if map.labels is None or map.value is None:
        return map.value_size
    return map.value.size


def _missing(code: Code) -> None:
    if code.module.warnings >= LOOKUPS:
        helper_error(code, "map_lookup_elem", MISSING, 0)


def map_read(code: Code, instr: Instr) -> Value:
    """An array's entry that does not exist is all zeros, so that its presence need not be asked."""
    assert instr.result and isinstance(instr.result.type, I)
    type, map, key = instr.result.type, map_of(code, instr), instr.args[0]

    def absent() -> Value:
        _missing(code)
        return code.const(0, type)

    def read() -> Value:
        entry = find(code, map, key)
        told = code.module.warnings >= LOOKUPS
        there = _exists(code, map, entry) if told else code.present(entry)
        return code.choose(there, lambda: code.load(entry, type), absent)

    if slots := slots_of(code, map):
        return find_thread(code, slots, key, lambda slot, _: code.load(slot, type), read, absent)
    return read()


def map_read_mem(code: Code, instr: Instr) -> Value:
    map = map_of(code, instr)
    size = value_size(map)
    slot = code.slot(size)
    entry = find(code, map, instr.args[0])

    def absent() -> Value:
        _missing(code)
        code.emit("fill", slot, off=0, size=size)
        return slot

    def present() -> Value:
        code.copy(slot, entry, size)
        return slot

    code.choose(code.present(entry), present, absent)
    return slot


def map_has(code: Code, instr: Instr) -> Value:
    map, key = map_of(code, instr), instr.args[0]

    def exists() -> Value:
        return _exists(code, map, find(code, map, key))

    if slots := slots_of(code, map):
        yes, no = code.const(1, I1), code.const(0, I1)
        return find_thread(code, slots, key, lambda *_: yes, exists, lambda: no)
    return exists()


def map_write(code: Code, instr: Instr) -> None:
    map, (key, value) = map_of(code, instr), instr.args
    if map.labels is not None:
        entry = find(code, map, key)
        code.when(code.present(entry), lambda: _write_entry(code, map, entry, value))
        return

    def insert() -> None:
        pointer = key_pointer(code, map, key)
        update(code, map, pointer, in_memory(code, value, map.value_size), ANY)

    if slots := slots_of(code, map):
        write_thread(code, slots, key, value, insert)
    else:
        insert()


def _write_entry(code: Code, map: MapDef, entry: Value, value: Value) -> None:
    if isinstance(value.type, I):
        code.store(entry, value)
    else:
        code.copy(entry, value, value_size(map))
    mark_present(code, map, entry)


def update(code: Code, map: MapDef, key: Value, value: Value, flags: int) -> Value:
    """Put a value into a hash map; a failure is reported to user space."""
    object = code.value("map_ptr", map=map.name)
    result = code.call("map_update_elem", object, key, value, code.const(flags))
    if flags == ANY:
        report_failure(code, "map_update_elem", MAP_FULL, result, 1)
    return result


def map_delete(code: Code, instr: Instr) -> Value:
    return _delete(code, map_of(code, instr), instr.args[0])


def map_clear(code: Code, instr: Instr) -> None:
    map = map_of(code, instr)
    _delete(code, map, code.const(0, I(8 * map.key_size)))


def _delete(code: Code, map: MapDef, key: Value) -> Value:
    def remove() -> Value:
        object = code.value("map_ptr", map=map.name)
        result = code.call("map_delete_elem", object, key_pointer(code, map, key))
        return code.op("eq", result, 0)

    if slots := slots_of(code, map):
        no = code.const(0, I1)
        return find_thread(code, slots, key, partial(give_back, code), remove, lambda: no)
    if map.labels is None:
        return remove()
    entry = find(code, map, key)
    existed = _exists(code, map, entry)
    code.when(
        code.present(entry), lambda: _do(code.emit("fill", entry, off=0, size=map.value_size))
    )
    return existed


def _do(_: object) -> None:
    """For a lambda whose value does not matter."""


def map_length(code: Code, instr: Instr) -> Value:
    """bpf_for_each_map_elem gives the number of entries that it went through."""
    map = map_of(code, instr)
    if map.labels is not None:
        raise CompilerBug(f"{map.name}: a labelled map has no length")
    _length_callback(code)
    return _for_each(code, map, LENGTH_CALLBACK, code.const(0))


def for_each(code: Code, instr: Instr) -> None:
    _for_each(code, map_of(code, instr), str(instr.attrs["function"]), instr.args[0])


def _for_each(code: Code, map: MapDef, function: str, frame: Value) -> Value:
    object = code.value("map_ptr", map=map.name)
    callback = code.value("func_ptr", function=function)
    return code.call("for_each_map_elem", object, callback, frame, code.const(0))


def _length_callback(code: Code) -> None:
    if any(f.name == LENGTH_CALLBACK for f in code.module.functions):
        return
    function = Function(LENGTH_CALLBACK, [Value(t) for t in (MAP_OBJECT, MAP, MAP, STACK)])
    code.module.functions.append(function)
    body = Code(code.module, code.target, function)
    body.at(body.block("start"))
    body.ret(body.const(0))


def convention(function: Function, callbacks: set[str]) -> None:
    """The kernel hands callbacks of for_each the map itself before key, value and frame."""
    if function.name in callbacks:
        object = Value(MAP_OBJECT)
        function.params.insert(0, object)
        if function.blocks[0].params is not function.params:
            function.blocks[0].params.insert(0, object)


Expand = Callable[[Code, Instr], Value | None]
