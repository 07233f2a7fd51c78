"""Machine code of each operation. Results are filled with zeros up to 64 bits (see `select`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfscript.backends import isa
from bpfscript.backends.isa import R0, R1, R2
from bpfscript.backends.memory import INLINE_LIMIT, chunks, divides
from bpfscript.ir.core import Instr, Value
from bpfscript.ir.helpers import HELPERS
from bpfscript.ir.types import CTX, STACK, I
from bpfscript.manifest import Internal, Relocation

if TYPE_CHECKING:
    from bpfscript.backends.select import FunctionCode

_X = isa.X
_SIZE = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}  # bytes → size bits of an opcode
_LOAD, _STORE_IMM, _STORE = 0x61, 0x62, 0x63
_ALU = {
    "add": 0x00, "sub": 0x10, "mul": 0x20, "udiv": 0x30, "or": 0x40, "and": 0x50,
    "shl": 0x60, "lshr": 0x70, "urem": 0x90, "xor": 0xA0, "ashr": 0xC0,
}  # fmt: skip
_MOV, _NEG, _END = 0xB0, 0x80, 0xD0
_JUMPS = {  # if so, if not
    "eq": (0x10, 0x50), "ne": (0x50, 0x10), "ult": (0xA0, 0x30), "ule": (0xB0, 0x20),
    "slt": (0xC0, 0x70), "sle": (0xD0, 0x60), "is_null": (0x10, 0x50),
}  # fmt: skip
_NE, _SGE = 0x50, 0x70
CONDITIONS = frozenset(_JUMPS)


def _bits(value: Value) -> int:
    return value.type.bits if isinstance(value.type, I) else 64


def _attr(instr: Instr, name: str) -> int:
    found = instr.attrs[name]
    assert isinstance(found, int)
    return found


def _small(number: int | None, bits: int) -> int | None:
    """A number as imm of an operation of `bits`, if it fits: sign-extended to that width."""
    if number is None:
        return None
    signed = number - (1 << bits) if number >> (bits - 1) else number
    return signed if -(1 << 31) <= signed < 1 << 31 else None


def _narrow(f: FunctionCode, reg: int, bits: int) -> None:
    """Clear what is above an integer; 32-bit operations did it themselves."""
    if bits < 32:
        f.add(isa.ALU | _ALU["and"], reg, imm=(1 << bits) - 1)


def _sign(f: FunctionCode, reg: int, bits: int) -> None:
    """Fill a register with the sign of the integer in it."""
    if bits < 64:
        f.add(isa.ALU64 | _ALU["shl"], reg, imm=64 - bits)
        f.add(isa.ALU64 | _ALU["ashr"], reg, imm=64 - bits)


def binary(f: FunctionCode, instr: Instr) -> None:
    assert instr.result
    a, b = instr.args
    bits = _bits(a)
    cls = isa.ALU64 if bits == 64 else isa.ALU
    code = cls | _ALU[instr.op]
    imm = _small(f.constant(b), max(bits, 32))
    if imm == 0 and instr.op in ("udiv", "urem"):
        imm = None  # the kernel refuses it as imm, and defines it for registers
    other = f.get(b, R2) if imm is None else -1
    dst = f.target(instr.result, other)
    f.fetch(a, dst)
    if imm is None:
        f.add(code | _X, dst, other)
    else:
        f.add(code, dst, imm=imm)
    if instr.op in ("add", "sub", "mul"):
        _narrow(f, dst, bits)
    f.put(instr.result, dst)


def shift(f: FunctionCode, instr: Instr) -> None:
    assert instr.result
    a, b = instr.args
    bits = _bits(a)
    cls = isa.ALU64 if bits == 64 else isa.ALU
    code = cls | _ALU[instr.op]
    by = f.constant(b)
    other = -1
    if by is None:
        other = f.get(b, R2)
        if bits < 32:  # the machine takes amounts modulo 32 and 64
            f.fetch(b, R2)
            f.add(isa.ALU | _ALU["and"], R2, imm=bits - 1)
            other = R2
    dst = f.target(instr.result, other)
    f.fetch(a, dst)
    if instr.op == "ashr" and bits < 32:
        _sign(f, dst, bits)
    if by is None:
        f.add(code | _X, dst, other)
    elif by & (bits - 1):
        f.add(code, dst, imm=by & (bits - 1))
    if instr.op != "lshr":
        _narrow(f, dst, bits)
    f.put(instr.result, dst)


def signed_divide(f: FunctionCode, instr: Instr) -> None:
    """By unsigned division, for the instruction for it came with ISA level 4."""
    assert instr.result
    bits = _bits(instr.args[0])
    for value, reg in zip(instr.args, (R0, R1), strict=True):
        f.fetch(value, reg)
        _sign(f, reg, bits)
    f.add(isa.ALU64 | _MOV | _X, R2, R0)
    f.add(isa.ALU64 | _ALU["xor"] | _X, R2, R1)
    for reg in (R0, R1):
        _negate_unless(f, reg, reg)
    f.add(isa.ALU64 | _ALU["udiv"] | _X, R0, R1)
    _negate_unless(f, R2, R0)
    if bits == 32:
        f.add(isa.ALU | _MOV | _X, R0, R0)
    _narrow(f, R0, bits)
    f.put(instr.result, R0)


def _negate_unless(f: FunctionCode, sign: int, reg: int) -> None:
    done = f.label()
    f.jump(isa.JMP | _SGE, done, sign)
    f.add(isa.ALU64 | _NEG, reg)
    f.place_label(done)


def swap(f: FunctionCode, instr: Instr) -> None:
    assert instr.result
    dst = f.target(instr.result)
    f.fetch(instr.args[0], dst)
    f.add(isa.ALU | _END | _X, dst, imm=_bits(instr.args[0]))
    f.put(instr.result, dst)


def convert(f: FunctionCode, instr: Instr) -> None:
    """zext, sext, trunc, and pointers as integers."""
    assert instr.result
    value, bits = instr.args[0], _bits(instr.args[0])
    dst = f.target(instr.result)
    to = _bits(instr.result)
    if instr.op == "trunc" and to == 32:
        f.add(isa.ALU | _MOV | _X, dst, f.get(value, dst))
    else:
        f.fetch(value, dst)
    if instr.op == "trunc":
        _narrow(f, dst, to)
    elif instr.op == "sext":
        _sign(f, dst, bits)
        if to == 32:
            f.add(isa.ALU | _MOV | _X, dst, dst)
        _narrow(f, dst, to)
    f.put(instr.result, dst)


def move(f: FunctionCode, instr: Instr) -> None:
    assert instr.result
    pointer, by = instr.args
    imm = _small(f.constant(by), 64)
    other = f.get(by, R2) if imm is None else -1
    dst = f.target(instr.result, other)
    f.fetch(pointer, dst)
    if imm is None:
        f.add(isa.ALU64 | _X, dst, other)
    else:
        f.add(isa.ALU64, dst, imm=imm)
    f.put(instr.result, dst)


def opaque(f: FunctionCode, instr: Instr) -> None:
    assert instr.result
    bits = _bits(instr.result)
    f.relocate(R0, "map_value", Internal.ZERO)
    f.add(_LOAD | 0x18, R0, R0)
    cls = isa.ALU64 if bits == 64 else isa.ALU
    f.add(cls | _X, R0, f.get(instr.args[0], R1))
    _narrow(f, R0, bits)
    f.put(instr.result, R0)


def compare(f: FunctionCode, instr: Instr) -> None:
    assert instr.result
    done = f.label()
    yes = f.label()
    compare_and_jump(f, instr, instr.result, yes)
    f.set(R0, 0)
    f.jump(isa.JA, done)
    f.place_label(yes)
    f.set(R0, 1)
    f.place_label(done)
    f.put(instr.result, R0)


def compare_and_jump(
    f: FunctionCode, test: Instr | None, condition: Value, to: int, *, negate: bool = False
) -> None:
    """Jump if a comparison holds, or if `condition`, which is 0 or 1, is 1; or the opposite."""
    if test is None:
        f.jump(isa.JMP | (0x10 if negate else _NE), to, f.get(condition, R1))
        return
    code = isa.JMP | _JUMPS[test.op][negate]
    if test.op == "is_null":
        f.jump(code, to, f.get(test.args[0], R1))
        return
    a, b = test.args
    bits, signed = _bits(a), test.op in ("slt", "sle")
    number = f.constant(b)
    if signed and bits < 64:
        f.fetch(a, R1)
        _sign(f, R1, bits)
        left, imm = R1, _small(number, bits)
        if imm is None:
            f.fetch(b, R2)
            _sign(f, R2, bits)
    else:
        left, imm = f.get(a, R1), _small(number, 64)
    if imm is not None:
        f.jump(code, to, left, imm=imm)
        return
    right = R2 if signed and bits < 64 else f.get(b, R2)
    f.jump(code | _X, to, left, right)


def select(f: FunctionCode, instr: Instr) -> None:
    assert instr.result
    condition, a, b = instr.args
    done = f.label()
    f.fetch(a, R0)
    f.jump(isa.JMP | _NE, done, f.get(condition, R1))
    f.fetch(b, R0)
    f.place_label(done)
    f.put(instr.result, R0)


# Memory


def _align(f: FunctionCode, pointer: Value, off: int) -> int:
    return min(f.aligned.get(pointer, 8), divides(off)) if pointer.type == STACK else 8


def load(f: FunctionCode, instr: Instr) -> None:
    assert instr.result
    pointer, off = instr.args[0], _attr(instr, "off")
    size = max(_bits(instr.result) // 8, 1)
    base, more = f.base(pointer, R1)
    width = min(size, _align(f, pointer, off))
    if width == size:
        dst = f.target(instr.result)
        f.add(_LOAD | _SIZE[size], dst, base, off + more)
        f.put(instr.result, dst)
        return
    for at in range(size - width, -1, -width):  # the last bytes are the highest
        part = R0 if at == size - width else R2
        f.add(_LOAD | _SIZE[width], part, base, off + more + at)
        if part == R2:
            f.add(isa.ALU64 | _ALU["shl"], R0, imm=8 * width)
            f.add(isa.ALU64 | _ALU["or"] | _X, R0, R2)
    f.put(instr.result, R0)


def store(f: FunctionCode, instr: Instr) -> None:
    pointer, value = instr.args
    off, bits = _attr(instr, "off"), _bits(value)
    size = max(bits // 8, 1)
    base, more = f.base(pointer, R1)
    width = min(size, _align(f, pointer, off))
    imm = _small(f.constant(value), bits)
    if width == size and imm is not None:
        f.add(_STORE_IMM | _SIZE[size], base, 0, off + more, imm)
        return
    if width == size:
        f.add(_STORE | _SIZE[size], base, f.get(value, R2), off + more)
        return
    f.fetch(value, R2)
    for at in range(0, size, width):
        f.add(_STORE | _SIZE[width], base, R2, off + more + at)
        if at + width < size:
            f.add(isa.ALU64 | _ALU["lshr"], R2, imm=8 * width)


def _big(f: FunctionCode, instr: Instr) -> bool:
    """Whether a fill or copy is a call."""
    align = _align(f, instr.args[0], _attr(instr, "off"))
    if instr.op == "copy":
        align = min(align, _align(f, instr.args[1], _attr(instr, "from")))
        if instr.args[1].type == CTX:
            return False
    return _attr(instr, "size") // align > INLINE_LIMIT // 8


def fill(f: FunctionCode, instr: Instr) -> None:
    to, start, size = instr.args[0], _attr(instr, "off"), _attr(instr, "size")
    if _big(f, instr):
        _address(f, to, start, R1)
        f.set(R2, size)
        f.set(isa.R3, 0)
        f.add(isa.CALL, imm=HELPERS["probe_read_kernel"].number)
        return
    base, more = f.base(to, R1)
    for at, width in chunks(size, _align(f, to, start)):
        f.add(_STORE_IMM | _SIZE[width], base, 0, start + more + at)


def copy(f: FunctionCode, instr: Instr) -> None:
    to, source = instr.args
    start, begin, size = (_attr(instr, a) for a in ("off", "from", "size"))
    if _big(f, instr):
        _address(f, source, begin, R0)
        _address(f, to, start, R1)
        f.add(isa.ALU64 | _MOV | _X, isa.R3, R0)
        f.set(R2, size)
        f.add(isa.CALL, imm=HELPERS["probe_read_kernel"].number)
        return
    base, more = f.base(to, R1)
    origin, further = f.base(source, R2)
    align = min(_align(f, to, start), _align(f, source, begin))
    for at, width in chunks(size, align):
        f.add(_LOAD | _SIZE[width], R0, origin, begin + further + at)
        f.add(_STORE | _SIZE[width], base, R0, start + more + at)


def _address(f: FunctionCode, pointer: Value, off: int, dst: int) -> None:
    base, more = f.base(pointer, dst)
    if base != dst:
        f.add(isa.ALU64 | _MOV | _X, dst, base)
    if off + more:
        f.add(isa.ALU64, dst, imm=off + more)


# Calls and ends


def calls(f: FunctionCode, instr: Instr) -> bool:
    """Whether r1–r5 die at an instruction."""
    return instr.op in ("call", "call_function") or (
        instr.op in ("fill", "copy") and _big(f, instr)
    )


def call(f: FunctionCode, instr: Instr) -> None:
    f.moves(list(enumerate(instr.args, 1)))
    f.add(isa.CALL, imm=HELPERS[str(instr.attrs["helper"])].number)
    if instr.result:
        f.put(instr.result, R0)


def call_function(f: FunctionCode, instr: Instr) -> None:
    f.moves(list(enumerate(instr.args, 1)))
    f.relocations.append(Relocation(f.size, "call", str(instr.attrs["function"])))
    f.add(isa.CALL, src=isa.PSEUDO_CALL, imm=-1)
    if instr.result:
        f.put(instr.result, R0)


def may_continue(f: FunctionCode, instr: Instr) -> None:
    done = f.label()
    f.set(R0, 0)
    f.jump(isa.MAY_GOTO, done)
    f.set(R0, 1)
    f.place_label(done)
    if instr.result:
        f.put(instr.result, R0)


def leave(f: FunctionCode, instr: Instr) -> None:
    f.fetch(instr.args[0], R0)
    f.add(isa.EXIT)


EFFECTS: dict[str, Callable[[FunctionCode, Instr], None]] = {
    **dict.fromkeys(("add", "sub", "mul", "and", "or", "xor", "udiv", "urem"), binary),
    **dict.fromkeys(("shl", "lshr", "ashr"), shift),
    **dict.fromkeys(CONDITIONS, compare),
    **dict.fromkeys(("zext", "sext", "trunc", "to_int", "to_ptr"), convert),
    "sdiv": signed_divide, "bswap": swap, "select": select, "opaque": opaque, "ptr_add": move,
    "load": load, "store": store, "fill": fill, "copy": copy, "call": call,
    "call_function": call_function, "may_continue": may_continue, "return": leave,
}  # fmt: skip
