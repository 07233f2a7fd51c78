"""Events into the ring, and the runtime errors that are events.

emit %v {event=3}  →  %r = call ring_reserve …; branch is_null %r, lost, fill
                      fill: store %r, 3; store %r, %v {off=8}; call ringbuf_submit

What steers the run goes into a ring of its own, see `manifest.Event`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bpfscript.diagnostics import CompilerBug, Span
from bpfscript.ir.core import Instr, Value
from bpfscript.ir.types import I32, I
from bpfscript.manifest import ERRORS, EVENT_HEADER, Event, Internal, MapType, Place
from bpfscript.types import INT32

from .code import Code

RING_SIZE = 1 << 18  # bytes; user space may choose another before it creates the map
CONTROL_SIZE = 1 << 16  # bytes; errors take at most half of it, and exit() always finds room
POSITION = 8  # bytes after a record that steers
UNREAD, PRODUCER_POSITION = 0, 3  # BPF_RB_AVAIL_DATA, BPF_RB_PROD_POS, include/uapi/linux/bpf.h
DIVIDE = (
    "Divide or modulo by 0 detected. This can lead to unexpected results. "
    "1 is being used as the result."
)
BOUND = "Array access out of bounds. This can lead to unexpected results."
MAP_FULL = (
    "Map full; can't update element. Try increasing max_map_keys config or manually setting "
    "the max entries in a map declaration e.g. `let @a = hash(5000)`"
)
MISSING = "Can't lookup map element because it does not exist."
BAD_ADDRESS = "Bad address"


def emit(code: Code, instr: Instr) -> None:
    index = instr.attrs["event"]
    assert isinstance(index, int)
    send(code, index, instr.args)


def send(code: Code, index: int, values: Sequence[Value]) -> None:
    """Reserve a record, fill it, submit it; where there is no room, `.lost` counts."""
    event = code.module.events[index]
    lost, fill, sent = code.block("lost"), code.block("fill"), code.block("sent")
    name, size, position = Internal.EVENTS, RING_SIZE, None
    if event.steers:
        position = _position(code)
        name, size = Internal.CONTROL, CONTROL_SIZE
    code.internal_map(name, MapType.RINGBUF, 0, size)
    ring = code.value("map_ptr", map=name)
    if event.steers and event.kind != "exit":
        limit = size // 2 if event.kind in ERRORS else size - size // 8
        used = code.call("ringbuf_query", ring, code.const(UNREAD))
        room = code.block("room")
        code.branch(code.op("ult", used, limit), room, lost)
        code.at(room)
    length = event.size + POSITION if position else event.size
    record = code.call("ringbuf_reserve", ring, code.const(length), code.const(0))
    code.branch(code.value("is_null", record), lost, fill)
    code.at(lost)
    _count_lost(code)
    code.jump(sent)
    code.cold.update((lost, code.current or lost))
    code.at(fill)
    code.store(record, code.const(index))
    write_fields(code, record, values, event.offsets, _sizes(event), EVENT_HEADER, event.size)
    if position:
        code.store(record, position, event.size)
    code.call("ringbuf_submit", record, code.const(0))
    code.jump(sent)
    code.at(sent)


def _position(code: Code) -> Value:
    """How far the ring of events is filled: all that was sent before lies before it."""
    if all(event.steers for event in code.module.events):
        return code.const(0)
    code.internal_map(Internal.EVENTS, MapType.RINGBUF, 0, RING_SIZE)
    ring = code.value("map_ptr", map=Internal.EVENTS)
    return code.call("ringbuf_query", ring, code.const(PRODUCER_POSITION))


def _program(code: Code) -> str:
    """The program that this function is or belongs to."""
    name = code.function.name
    if code.function.entry:
        return name
    owners = [f.name for f in code.module.functions if f.entry and name.startswith(f.name)]
    return max(owners, key=len, default=name)


def _count_lost(code: Code) -> None:
    code.internal_map(Internal.LOST, MapType.PERCPU_ARRAY, 8)
    map, program = code.module.maps[Internal.LOST], _program(code)
    labels = map.labels or ()
    if program not in labels:
        map.labels = labels = (*labels, program)
        map.max_entries = len(labels)
    counter = code.lookup(Internal.LOST, code.index_key(labels.index(program)))

    def count() -> None:
        code.store(counter, code.add(code.load(counter, I(64)), 1))

    code.when(code.present(counter), count, cold=True)


def _sizes(event: Event) -> tuple[int, ...]:
    return tuple(field.size for field in event.fields)


def write_fields(
    code: Code,
    memory: Value,
    values: Sequence[Value],
    offsets: Sequence[int],
    sizes: Sequence[int],
    start: int,
    end: int,
) -> None:
    """Integers and copies to their offsets, zeros to what lies between in [start, end)."""
    at = start
    for value, offset, size in sorted(
        zip(values, offsets, sizes, strict=True), key=lambda part: part[1]
    ):
        zero(code, memory, at, offset)
        if isinstance(value.type, I):
            size = value.type.bits // 8
            code.store(memory, value, offset)
        elif size:
            code.copy(memory, value, size, offset)
        at = offset + size
    zero(code, memory, at, end)


def zero(code: Code, memory: Value, start: int, end: int) -> None:
    if end > start:
        code.emit("fill", memory, off=start, size=end - start)


# Runtime errors


def place(span: Span | None) -> Place | None:
    return Place.at(span) if span else None


def runtime_error(code: Code, message: str) -> None:
    """Tell user space that the script went wrong at the current instruction's place."""
    event = Event("runtime_error", text=message, place=place(code.span))
    send(code, code.module.event_index(event), [])


def helper_error(code: Code, helper: str, message: str, result: Value | int) -> None:
    """Tell user space that a helper failed with `result`, a negative error number or 0."""
    event = Event(
        "helper_error",
        (INT32,),
        (EVENT_HEADER,),
        16,
        message,
        helper=helper,
        place=place(code.span),
    )
    if isinstance(result, int):
        result = code.const(result)
    send(code, code.module.event_index(event), [code.value("trunc", result, type=I32)])


def report_failure(code: Code, helper: str, message: str, result: Value, level: int) -> None:
    """A `helper_error` if the result is negative and the script wants to hear of such failures."""
    if code.module.warnings >= level:
        failed = code.op("slt", result, 0)
        code.when(failed, lambda: helper_error(code, helper, message, result), cold=True)


def _checked(
    code: Code, good: Value, value: Callable[[], Value], otherwise: int, message: str
) -> Value:
    def failed() -> Value:
        runtime_error(code, message)
        return code.const(otherwise)

    before = len(code.function.blocks)
    result = code.choose(good, value, failed)
    code.cold.update(code.function.blocks[before + 1 : -1])
    return result


def bound(code: Code, instr: Instr) -> Value:
    (index,), count = instr.args, instr.attrs["count"]
    assert isinstance(count, int)
    return _checked(code, code.op("ult", index, count), lambda: index, 0, BOUND)


def divide(code: Code, instr: Instr) -> Value:
    (left, right), op = instr.args, instr.attrs["op"]
    if op not in ("udiv", "urem"):
        raise CompilerBug(f"divide: {op!r}")
    good = code.op("ne", right, 0)
    return _checked(code, good, lambda: code.op(str(op), left, right), 1, DIVIDE)
