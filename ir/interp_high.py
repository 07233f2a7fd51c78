"""High operations on the interpreter's machine: what `legalise` must keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bpfscript.arch import ARCHES
from bpfscript.ir import interp_aggregates as aggregates
from bpfscript.ir.core import Instr
from bpfscript.ir.interp_machine import FUNCTIONS, RAW, SAMPLED, SYSCALLS
from bpfscript.ir.interp_maps import MapStore
from bpfscript.ir.interp_memory import Address, Region, constant, read
from bpfscript.ir.types import I, Ptr
from bpfscript.manifest import PRESENT
from bpfscript.types import Aggregate

if TYPE_CHECKING:
    from bpfscript.ir.interp import Interpreter

Args = list[Any]


def _int(instr: Instr, name: str) -> int:
    value = instr.attrs[name]
    assert isinstance(value, int)
    return value


def _ints(instr: Instr, name: str) -> tuple[int, ...]:
    value = instr.attrs[name]
    assert isinstance(value, tuple)
    return value


def _size(type: object) -> int:
    assert isinstance(type, I)
    return type.bits // 8


def _space(instr: Instr) -> str:
    type = instr.args[0].type
    assert isinstance(type, Ptr)
    return type.space


def _result(instr: Instr, data: bytes) -> Address:
    return constant(instr.op, data)


# Where the program runs


def _probe_id(run: Interpreter, instr: Instr, args: Args) -> int:
    entry = run.entry
    if len(entry.probe.names) == 1:
        return 0
    if entry.syscalls:
        return entry.syscalls[run.machine.register(ARCHES[run.machine.arch].syscall_number)]
    return run.machine.cookie if run.machine.cookie < len(entry.probe.names) else 0


def _probe_name(run: Interpreter, instr: Instr, args: Args) -> Address:
    size = _int(instr, "size")
    name = run.entry.probe.names[_probe_id(run, instr, args)]
    return _result(instr, name.encode()[:size].ljust(size, b"\0"))


def _argument(run: Interpreter, instr: Instr, args: Args) -> int:
    machine, kind, index = run.machine, run.entry.kind, _int(instr, "index")
    if kind in RAW:
        return machine.arguments[index] if index < len(machine.arguments) else 0
    arch = ARCHES[machine.arch]
    return machine.register((arch.syscall_arguments if kind in SYSCALLS else arch.arguments)[index])


def _return_value(run: Interpreter, instr: Instr, args: Args) -> int:
    return run.machine.register(ARCHES[run.machine.arch].return_value)


def _register(run: Interpreter, instr: Instr, args: Args) -> int:
    return run.machine.register(str(instr.attrs["name"]))


def _function_address(run: Interpreter, instr: Instr, args: Args) -> int:
    machine = run.machine
    if run.entry.kind in ("kretprobe", "uretprobe"):
        return machine.function_address
    return machine.register(ARCHES[machine.arch].instruction_pointer)


def _user_mode(run: Interpreter, instr: Instr, args: Args) -> int:
    kind = run.entry.kind
    if kind in SAMPLED or kind in FUNCTIONS:
        return int(run.machine.register("cs") & 3 == 3)  # x86: the privilege level
    return int(kind in ("begin", "end", "self"))


def _comm(run: Interpreter, instr: Instr, args: Args) -> Address:
    return _result(instr, run.machine.comm[:15].ljust(16, b"\0"))


def _stack_trace(run: Interpreter, instr: Instr, args: Args) -> Address:
    kind, limit = str(instr.attrs["kind"]), _int(instr, "limit")
    pid = 0 if kind == "kernel" else run.machine.pid_tgid >> 32
    frames = [pid, *run.machine.stacks.get(kind, ())[:limit]]
    data = b"".join(f.to_bytes(8, "little") for f in frames)
    return _result(instr, data.ljust(8 + 8 * limit, b"\0"))


# Memory


def _read_int(run: Interpreter, instr: Instr, args: Args) -> int:
    assert instr.result
    size, address = _size(instr.result.type), args[0] + _int(instr, "off")
    return int.from_bytes(run.machine.peek(_space(instr), address, size) or b"", "little")


def _read_sized(run: Interpreter, instr: Instr, args: Args) -> int:
    address, size = args
    return int.from_bytes(run.machine.peek(_space(instr), address, size) or b"", "little")


def _read_mem(run: Interpreter, instr: Instr, args: Args) -> Address:
    size, address = _int(instr, "size"), args[0] + _int(instr, "off")
    return _result(instr, run.machine.peek(_space(instr), address, size) or bytes(size))


def _read_string(run: Interpreter, instr: Instr, args: Args) -> Address:
    size = _int(instr, "size")
    text = run.machine.peek_string(_space(instr), args[0], min(args[1], size))
    return _result(instr, (text or b"").ljust(size, b"\0"))


def _read_buffer(run: Interpreter, instr: Instr, args: Args) -> Address:
    size = _int(instr, "size")
    length = min(args[1], size - 4)
    data = run.machine.peek(_space(instr), args[0], length) or b""
    return _result(instr, (length.to_bytes(4, "little") + data).ljust(size, b"\0"))


def _packed(
    instr: Instr, args: Args, offsets: tuple[int, ...], sizes: tuple[int, ...], total: int
) -> bytes:
    data = bytearray(total)
    for operand, arg, offset, size in zip(instr.args, args, offsets, sizes, strict=True):
        if isinstance(arg, Address):
            data[offset : offset + size] = read(arg, 0, size)
        else:
            size = _size(operand.type)
            data[offset : offset + size] = arg.to_bytes(size, "little")
    return bytes(data)


def _pack(run: Interpreter, instr: Instr, args: Args) -> Address:
    offsets, sizes = _ints(instr, "offsets"), _ints(instr, "sizes")
    return _result(instr, _packed(instr, args, offsets, sizes, _int(instr, "size")))


def _bound(run: Interpreter, instr: Instr, args: Args) -> int:
    if args[0] < _int(instr, "count"):
        return int(args[0])
    run.machine.errors += 1
    return 0


def _divide(run: Interpreter, instr: Instr, args: Args) -> int:
    left, right = args
    if right:
        return int(left // right if instr.attrs["op"] == "udiv" else left % right)
    run.machine.errors += 1
    return 1


# Strings


def _text(address: Address, size: int) -> bytes:
    """Up to NUL or the capacity; what lies behind the NUL may be undefined."""
    text = b""
    while len(text) < size and (byte := read(address, len(text), 1)) != b"\0":
        text += byte
    return text


def _string_eq(run: Interpreter, instr: Instr, args: Args) -> int:
    limit = _int(instr, "limit")
    left, right = (
        _text(arg, min(size, limit)) for arg, size in zip(args, _ints(instr, "sizes"), strict=True)
    )
    return int(left == right)


def _string_find(run: Interpreter, instr: Instr, args: Args) -> int:
    whole, part = map(_text, args, _ints(instr, "sizes"))
    return whole.find(part)


def _string_length(run: Interpreter, instr: Instr, args: Args) -> int:
    return len(_text(args[0], _int(instr, "size")))


def _frame_count(run: Interpreter, instr: Instr, args: Args) -> int:
    data = read(args[0], 8, _int(instr, "size") - 8)
    frames = [data[i : i + 8] for i in range(0, len(data), 8)]
    return next((i for i, frame in enumerate(frames) if not any(frame)), len(frames))


def _memory_eq(run: Interpreter, instr: Instr, args: Args) -> int:
    size = _int(instr, "size")
    return int(read(args[0], 0, size) == read(args[1], 0, size))


# Maps


def _map(run: Interpreter, instr: Instr) -> MapStore:
    return run.machine.maps[str(instr.attrs["map"])]


def _bytes(arg: int | Address, size: int) -> bytes:
    return read(arg, 0, size) if isinstance(arg, Address) else arg.to_bytes(size, "little")


def _value_size(map: MapStore) -> int:
    return map.definition.value_size - (PRESENT if map.definition.labels is not None else 0)


def _entry(run: Interpreter, instr: Instr, args: Args) -> Region | None:
    """Memory of an entry that exists."""
    map = _map(run, instr)
    region = map.lookup(_bytes(args[0], map.definition.key_size), run.machine.cpu)
    if region and map.definition.labels is not None and not any(region.data[-PRESENT:]):
        return None
    return region


def _read_entry(run: Interpreter, instr: Instr, args: Args, size: int) -> bytes:
    region = _entry(run, instr, args)
    return bytes(region.data[:size]) if region else bytes(size)


def _map_read(run: Interpreter, instr: Instr, args: Args) -> int:
    assert instr.result
    return int.from_bytes(_read_entry(run, instr, args, _size(instr.result.type)), "little")


def _map_read_mem(run: Interpreter, instr: Instr, args: Args) -> Address:
    return _result(instr, _read_entry(run, instr, args, _value_size(_map(run, instr))))


def _map_has(run: Interpreter, instr: Instr, args: Args) -> int:
    return int(_entry(run, instr, args) is not None)


def _map_write(run: Interpreter, instr: Instr, args: Args) -> None:
    map = _map(run, instr)
    size = _value_size(map)
    _put(run, map, _bytes(args[0], map.definition.key_size), _bytes(args[1], size))


def _put(run: Interpreter, map: MapStore, key: bytes, value: bytes) -> None:
    if map.definition.labels is not None:
        value += (1).to_bytes(PRESENT, "little")
    map.update(key, value, 0, run.machine.cpu)


def _map_delete(run: Interpreter, instr: Instr, args: Args) -> int:
    map = _map(run, instr)
    region = _entry(run, instr, args)
    if region and map.definition.labels is not None:
        region.data[:] = bytes(len(region.data))
    elif region:
        map.delete(_bytes(args[0], map.definition.key_size))
    return int(region is not None)


def _map_clear(run: Interpreter, instr: Instr, args: Args) -> None:
    _map_delete(run, instr, [0])


def _map_length(run: Interpreter, instr: Instr, args: Args) -> int:
    return len(_map(run, instr).contents())


def _for_each(run: Interpreter, instr: Instr, args: Args) -> None:
    map, function = _map(run, instr), run.functions[str(instr.attrs["function"])]
    for key in map.entries():
        region = map.lookup(key, run.machine.cpu)
        pointer = Address(Region("key", bytearray(key), writable=False))
        if region and run.call(function, [pointer, Address(region), args[0]]):
            return


# Aggregates and events


def _kind(map: MapStore) -> Aggregate:
    kind = map.definition.value
    assert isinstance(kind, Aggregate)
    return kind


def _words(region: Region, kind: Aggregate) -> list[int]:
    data = region.data
    return [int.from_bytes(data[i : i + 8], "little") for i in range(0, kind.size, 8)]


def _aggregate(run: Interpreter, instr: Instr, args: Args) -> None:
    map = _map(run, instr)
    kind = _kind(map)
    region = _entry(run, instr, args)
    words = _words(region, kind) if region else [0] * (kind.size // 8)
    aggregates.update(kind, words, args[1:], run.machine.clocks["ktime_get_tai_ns"])
    data = b"".join(w.to_bytes(8, "little") for w in words)
    _put(run, map, _bytes(args[0], map.definition.key_size), data)


def _aggregate_read(run: Interpreter, instr: Instr, args: Args) -> int:
    map = _map(run, instr)
    kind = _kind(map)
    regions = map.values(_bytes(args[0], map.definition.key_size))
    return aggregates.merged(kind, [_words(region, kind) for region in regions])


def _emit(run: Interpreter, instr: Instr, args: Args) -> None:
    index = _int(instr, "event")
    event = run.module.events[index]
    sizes = tuple(field.size for field in event.fields)
    record = index.to_bytes(8, "little")
    record += _packed(instr, args, event.offsets, sizes, event.size)[8:]
    if not run.machine.send(record):
        run.machine.lost += 1


HIGH_CODE: dict[str, Callable[[Interpreter, Instr, Args], int | Address | None]] = {
    "probe_id": _probe_id,
    "probe_name": _probe_name,
    "argument": _argument,
    "return_value": _return_value,
    "register": _register,
    "function_address": _function_address,
    "user_mode": _user_mode,
    "comm": _comm,
    "current_task": lambda run, instr, args: run.machine.task,
    "stack_trace": _stack_trace,
    "read_int": _read_int,
    "read_sized": _read_sized,
    "read_mem": _read_mem,
    "read_string": _read_string,
    "read_buffer": _read_buffer,
    "pack": _pack,
    "bound": _bound,
    "divide": _divide,
    "string_eq": _string_eq,
    "string_find": _string_find,
    "string_length": _string_length,
    "frame_count": _frame_count,
    "memory_eq": _memory_eq,
    "map_read": _map_read,
    "map_read_mem": _map_read_mem,
    "map_has": _map_has,
    "map_write": _map_write,
    "map_delete": _map_delete,
    "map_length": _map_length,
    "map_clear": _map_clear,
    "for_each": _for_each,
    "aggregate": _aggregate,
    "aggregate_read": _aggregate_read,
    "emit": _emit,
}
