"""Memory that only probe reads reach, and values built in memory.

%v = read_int %p {off=8} : i32  →  %s = slot; call probe_read_kernel %s, 4, %p + 8; %v = load %s
"""

from __future__ import annotations

from collections.abc import Sequence

from bpfscript.ir.core import Instr, Value
from bpfscript.ir.types import I1, I8, I16, I32, I64, KERNEL, STACK, USER, I

from . import legal_typed
from .code import Code
from .legal_events import BAD_ADDRESS, report_failure, write_fields, zero
from .values import place

ERRORS = 2  # Module.warnings from which on failed reads are reported
INLINE = 128  # bytes that a comparison reads without a loop


def _reader(pointer: Value, string: bool = False) -> str:
    space = "user" if pointer.type == USER else "kernel"
    return f"probe_read_{space}{'_str' if string else ''}"


def probe_read(code: Code, to: Value, size: Value, pointer: Value, string: bool = False) -> None:
    """The helpers clear `size` bytes when they fail."""
    helper = _reader(pointer, string)
    user = pointer.type == USER
    why = "user memory may be missing" if user else "nothing is known of where it points"
    code.chose("read", helper, why)
    result = code.call(helper, to, size, pointer)
    report_failure(code, helper, BAD_ADDRESS, result, ERRORS)


def read_int(code: Code, instr: Instr) -> Value:
    (pointer,), off = instr.args, instr.attrs["off"]
    assert instr.result and isinstance(instr.result.type, I) and isinstance(off, int)
    if pointer.type == KERNEL and code.module.warnings < ERRORS:
        value = legal_typed.load(code, pointer, instr)
        if value is not None:
            code.chose("read", "load", "the verifier knows the type of what it is in")
            return value
    slot = code.slot(8)
    size = code.const(instr.result.type.bits // 8)
    probe_read(code, slot, size, code.at_offset(pointer, off))
    return code.load(slot, instr.result.type)


def read_sized(code: Code, instr: Instr) -> Value:
    pointer, size = instr.args
    slot = code.slot(8)
    code.store(slot, code.const(0))
    probe_read(code, slot, size, pointer)
    return code.load(slot, I64)


def read_mem(code: Code, instr: Instr) -> Value:
    (pointer,), off, size = instr.args, instr.attrs["off"], instr.attrs["size"]
    assert isinstance(off, int) and isinstance(size, int)
    slot = code.slot(size)
    if size:
        probe_read(code, slot, code.const(size), code.at_offset(pointer, off))
    return slot


def read_string(code: Code, instr: Instr) -> Value:
    """The helper pads nothing, so the memory is cleared first."""
    (pointer, limit), size = instr.args, instr.attrs["size"]
    assert isinstance(size, int)
    slot = code.slot(size)
    zero(code, slot, 0, size)
    probe_read(code, slot, at_most(code, limit, size), pointer, string=True)
    return slot


def read_buffer(code: Code, instr: Instr) -> Value:
    (pointer, length), size = instr.args, instr.attrs["size"]
    assert isinstance(size, int)
    slot = code.slot(size)
    zero(code, slot, 4, size)
    length = at_most(code, length, size - 4)
    code.store(slot, code.resize(length, 32))
    probe_read(code, code.at_offset(slot, 4), length, pointer)
    return slot


def at_most(code: Code, value: Value, limit: int) -> Value:
    """min(value, limit), unsigned. The verifier wants to see that a size fits its memory."""
    return code.value("select", code.op("ult", value, limit), value, code.const(limit))


def pack(code: Code, instr: Instr) -> Value:
    offsets, sizes, size = (instr.attrs[name] for name in ("offsets", "sizes", "size"))
    assert isinstance(offsets, tuple) and isinstance(sizes, tuple) and isinstance(size, int)
    slot = code.slot(size)
    write_fields(code, slot, instr.args, offsets, sizes, 0, size)
    return slot


def memory_eq(code: Code, instr: Instr) -> Value:
    (left, right), size = instr.args, instr.attrs["size"]
    assert isinstance(size, int)
    if size <= INLINE:
        return same_bytes(code, left, right, size)
    # One byte at a time: how either pointer is aligned is not known here.
    (different,) = code.loop(
        size,
        [code.const(0, I8)],
        lambda i, values: [code.op("or", values[0], _difference(code, left, right, i))],
    )
    return code.op("eq", different, 0)


def _difference(code: Code, left: Value, right: Value, index: Value) -> Value:
    return code.op("xor", byte_at(code, left, index), byte_at(code, right, index))


def byte_at(code: Code, pointer: Value, index: Value) -> Value:
    return code.load(code.value("ptr_add", pointer, index), I8)


def same_bytes(code: Code, left: Value, right: Value, size: int) -> Value:
    """Whether `size` bytes agree, without branches."""
    different: Value | None = None
    for offset, type in chunks(size, aligned(code, left) and aligned(code, right)):
        a, b = code.load(left, type, offset), code.load(right, type, offset)
        part = code.resize(code.op("xor", a, b), 64)
        different = part if different is None else code.op("or", different, part)
    return code.const(1, I1) if different is None else code.op("eq", different, 0)


def chunks(size: int, wide: bool) -> Sequence[tuple[int, I]]:
    """(offset, type) of the loads that cover `size` bytes."""
    found: list[tuple[int, I]] = []
    at = 0
    for type in (I64, I32, I16, I8) if wide else (I8,):
        while size - at >= type.bits // 8:
            found.append((at, type))
            at += type.bits // 8
    return found


def aligned(code: Code, pointer: Value) -> bool:
    """Whether words may be loaded from a pointer: the verifier refuses unaligned ones on the stack.

    Slots are aligned to 8; other direct memory need not be aligned.
    """
    if pointer.type != STACK:
        return True
    made = code.definitions
    root, offset = place(pointer, made)
    return root in made and made[root].op == "slot" and offset is not None and offset % 8 == 0
