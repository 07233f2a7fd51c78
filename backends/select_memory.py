"""Selection of what reads and writes memory: widths by alignment, much memory by one call."""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.backends.addressing import number, width
from bpfscript.backends.emitter import ADD64_IMM, fits
from bpfscript.backends.isa import ALU64, CALL, CMPXCHG, CMPXCHG64, R0, R1, R5, X
from bpfscript.backends.memory import INLINE_LIMIT, chunks, divides
from bpfscript.ir.core import Instr, Value
from bpfscript.ir.helpers import HELPERS
from bpfscript.ir.types import CTX, STACK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.backends.select import Selector

_OR, _LSH, _RSH = 0x40, 0x60, 0x70


def is_call(alignment: dict[Value, int]) -> Callable[[Instr], bool]:
    """Whether an operation takes r1–r5: calls, and what clears or copies much memory by one."""

    def test(instr: Instr) -> bool:
        if instr.op in ("fill", "copy"):
            return _by_call(instr, alignment)
        return instr.op in ("call", "call_function", "call_c", "cmpxchg")

    return test


def _by_call(instr: Instr, alignment: dict[Value, int]) -> bool:
    size = number(instr.attrs["size"])
    large = size // _alignment_of(instr, alignment) > INLINE_LIMIT // 8
    return large and not (instr.op == "copy" and instr.args[1].type == CTX)


def _alignment_of(instr: Instr, alignment: dict[Value, int]) -> int:
    """Bytes in which both ends of a `fill` or `copy` may be accessed."""
    attrs = (instr.attrs["off"], instr.attrs.get("from", 0))
    return min(_aligned(alignment, p, number(o)) for p, o in zip(instr.args, attrs, strict=False))


def _aligned(alignment: dict[Value, int], pointer: Value, offset: int) -> int:
    """Off the stack the machine takes any alignment."""
    return min(alignment.get(pointer, 8), divides(offset)) if pointer.type == STACK else 8


def load(s: Selector, instr: Instr) -> None:
    emit, pointer = s.emit, instr.args[0]
    assert instr.result
    offset, bits = number(instr.attrs["off"]), width(instr.result)
    size, target = max(bits // 8, 1), emit.target(instr.result)
    align = min(_aligned(s.alignment, pointer, offset), size)
    if align == size:
        base, start = emit.base(pointer, R5)
        emit.load(target, base, start + offset, size)
    else:
        target = R0
        emit.integer(R0, 0)
        for at in reversed(range(0, size, align)):
            base, start = emit.base(pointer, R5)
            emit.load(R5, base, start + offset + at, align)
            emit.add(ALU64 | _LSH, R0, imm=8 * align)
            emit.add(ALU64 | _OR | X, R0, R5)
    if bits == 1:
        s.narrow(target, 1)
    emit.finish(instr.result, target)


def store(s: Selector, instr: Instr) -> None:
    emit = s.emit
    pointer, value = instr.args
    offset, size = number(instr.attrs["off"]), max(width(value) // 8, 1)
    align = min(_aligned(s.alignment, pointer, offset), size)
    base, start = emit.base(pointer, R5)
    constant = s.places.constant(value)
    if constant is not None:
        _store_constant(s, base, start + offset, size, constant, align)
        return
    for at in range(0, size, align):
        register = emit.register(value, R0)
        if at:
            emit.move(R0, register)
            emit.add(ALU64 | _RSH, R0, imm=8 * at)
            register = R0
        emit.store(base, start + offset + at, align, register)


def _store_constant(
    s: Selector, base: int, offset: int, size: int, constant: int, align: int
) -> None:
    for at in range(0, size, align):
        piece = constant >> 8 * at & (1 << 8 * align) - 1
        if align < 8 or fits(piece):
            s.emit.store_constant(base, offset + at, align, piece)
        else:
            s.emit.integer(R0, piece)
            s.emit.store(base, offset + at, align, R0)


def cmpxchg(s: Selector, instr: Instr) -> None:
    """r0 is what the instruction compares with, and what it finds."""
    emit = s.emit
    assert instr.result
    emit.moves(list(zip((R1, R0, R1 + 2), map(emit.home, instr.args), strict=True)), cycle=R5)
    emit.add(CMPXCHG64, R1, R1 + 2, number(instr.attrs["off"]), CMPXCHG)
    emit.finish(instr.result, R0)


def fill(s: Selector, instr: Instr) -> None:
    emit, pointer = s.emit, instr.args[0]
    offset, size = number(instr.attrs["off"]), number(instr.attrs["size"])
    if _by_call(instr, s.alignment):
        _read_kernel(s, pointer, offset, size, None, 0)
        return
    base, start = emit.base(pointer, R5)
    for at, wide in chunks(size, _alignment_of(instr, s.alignment)):
        emit.store_constant(base, start + offset + at, wide, 0)


def copy(s: Selector, instr: Instr) -> None:
    emit = s.emit
    to, source = instr.args
    offset, begin, size = (number(instr.attrs[name]) for name in ("off", "from", "size"))
    if _by_call(instr, s.alignment):
        _read_kernel(s, to, offset, size, source, begin)
        return
    pieces = chunks(size, _alignment_of(instr, s.alignment))
    if data := _constant_bytes(s, source, begin, size):
        base, start = emit.base(to, R5)
        for at, wide in pieces:
            constant = int.from_bytes(data[at : at + wide], "little")
            _store_constant(s, base, start + offset + at, wide, constant, wide)
        return
    share = emit.passing(to) and emit.passing(source)  # r5 serves one of them at a time
    if not share:
        base, start = emit.base(to, R5)
        origin, first = emit.base(source, R5)
    for at, wide in pieces:
        if share:
            origin, first = emit.base(source, R5)
        emit.load(R0, origin, first + begin + at, wide)
        if share:
            base, start = emit.base(to, R5)
        emit.store(base, start + offset + at, wide, R0)


def _constant_bytes(s: Selector, source: Value, begin: int, size: int) -> bytes:
    base, addend = s.places.fixed.get(source, (None, 0))
    data = base.attrs["data"] if base and base.op == "rodata" else b""
    assert isinstance(data, bytes)
    return data[begin + addend :].ljust(size, b"\0") if data else b""


def _read_kernel(
    s: Selector, to: Value, offset: int, size: int, source: Value | None, begin: int
) -> None:
    """It copies from any kernel memory, and fills with zeros what it cannot read: address 0."""
    emit = s.emit
    pairs = [(R1, to)] + ([(R1 + 2, source)] if source else [])
    emit.moves([(register, emit.home(value)) for register, value in pairs], cycle=R0)
    for register, by in ((R1, offset), (R1 + 2, begin)):
        if by:
            emit.add(ADD64_IMM, register, imm=by)
    if source is None:
        emit.integer(R1 + 2, 0)
    emit.integer(R1 + 1, size)
    emit.add(CALL, imm=HELPERS["probe_read_kernel"].number)
