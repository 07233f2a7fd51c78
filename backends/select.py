"""Instruction selection: each operation of legal IR by the instructions of the eBPF ISA for it.

`SELECT` has one function for each operation. Results are made in their own register where no
operand still needs it, else in r0.
"""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.backends.addressing import Places, width
from bpfscript.backends.emitter import ADD64_IMM, MOV32, Emitter, Label, fits, signed
from bpfscript.backends.isa import (
    ALU,
    ALU64,
    CALL,
    EXIT,
    JMP,
    JMP32,
    LD_IMM64,
    MAY_GOTO,
    OPPOSITE,
    PSEUDO_CALL,
    PSEUDO_KFUNC_CALL,
    R0,
    R1,
    R5,
    X,
)  # fmt: skip
from bpfscript.backends.select_memory import cmpxchg, copy, fill, load, store
from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Block, Edge, Function, Instr, Value
from bpfscript.ir.helpers import HELPERS
from bpfscript.manifest import Internal

_AND, _LSH, _ARSH, _END = 0x50, 0x60, 0xC0, 0xD0
_ARITHMETIC = {
    "add": 0x00, "sub": 0x10, "mul": 0x20, "udiv": 0x30, "or": 0x40, "and": 0x50,
    "shl": 0x60, "lshr": 0x70, "urem": 0x90, "xor": 0xA0, "ashr": 0xC0, "sdiv": 0x30,
}  # fmt: skip
_COMMUTE = frozenset(("add", "mul", "and", "or", "xor"))
_RELOCATED = frozenset(("add", "sub", "mul", "shl", "lshr", "ashr"))  # by what the loader knows
_GROWS = frozenset(("add", "sub", "mul", "shl", "ashr", "sdiv"))  # beyond a narrow type
_SHIFTS, _SIGN_MATTERS = frozenset(("shl", "lshr", "ashr")), frozenset(("ashr", "sdiv"))
_EQ, _GT, _GE, _NE, _SGT, _SGE, _LT, _LE, _SLT, _SLE = (
    0x10, 0x20, 0x30, 0x50, 0x60, 0x70, 0xA0, 0xB0, 0xC0, 0xD0,
)  # fmt: skip
_TESTS = {
    "eq": _EQ, "ne": _NE, "ult": _LT, "ule": _LE, "slt": _SLT, "sle": _SLE, "is_null": _EQ,
}  # fmt: skip
_SWAPPED = {_EQ: _EQ, _NE: _NE, _LT: _GT, _LE: _GE, _SLT: _SGT, _SLE: _SGE}
_SWAPPED |= {b: a for a, b in _SWAPPED.items()}
_SIGNED = (_SGT, _SGE, _SLT, _SLE)

Test = tuple[int, int, int, int]  # class | operation | X, dst, src, imm


class Selector:
    """Selects a function's instructions into an emitter, block by block."""

    def __init__(self, function: Function, emitter: Emitter, alignment: dict[Value, int]) -> None:
        self.function, self.emit, self.alignment = function, emitter, alignment
        self.tested: dict[Value, int] = {}  # registers that have what the last test compares
        self.places: Places = emitter.places
        reachable = emitter.allocation.graph.index
        self.blocks = [b for b in function.blocks if b in reachable]
        self.labels = {b: Label() for b in self.blocks}
        self.next: dict[Block, Block] = dict(zip(self.blocks, self.blocks[1:], strict=False))
        self.stubs: list[tuple[Label, Edge]] = []

    def run(self) -> None:
        emit = self.emit
        for instr in self.function.instructions():
            if instr.op == "slot":
                emit.reserve(instr)
        params = [
            (emit.allocation.home[p], n + 1)
            for n, p in enumerate(self.function.params)
            if p in emit.allocation.home
        ]
        emit.moves(list(params), cycle=R0)
        for block in self.blocks:
            emit.mark(self.labels[block])
            for instr in block.instrs:
                self._instruction(block, instr)
        for label, edge in self.stubs:
            emit.mark(label)
            self._edge_moves(edge)
            emit.jump(self.labels[edge.block])

    def _instruction(self, block: Block, instr: Instr) -> None:
        places = self.places
        if instr in places.dead or instr.result in places.fixed or instr.result in places.fused:
            return
        self.emit.at(instr.span)
        if instr.op in ("jump", "branch"):
            self._leave(block, instr)
        elif select := SELECT.get(instr.op):
            select(self, instr)
        else:
            raise CompilerBug(f"the native backend has no {instr.op}")

    # Ways out of blocks

    def _leave(self, block: Block, instr: Instr) -> None:
        *others, last = instr.targets
        if others and self._asks_kernel(instr.args[0]):
            self.emit.jump(self._way(last), MAY_GOTO)
            (last,) = others
        elif others:
            test = self.test(instr.args[0])
            (first,) = others
            if (self._pairs(first) and not self._pairs(last)) or self._follows(block, first):
                first, last, test = last, first, opposite(test)
            self.jump_if(test, self._way(first))
        self._edge_moves(last)
        if not self._follows(block, last):
            self.emit.jump(self.labels[last.block])

    def _asks_kernel(self, condition: Value) -> bool:
        """Whether a fused condition is may_goto, which jumps where it does not hold."""
        fused = condition in self.places.fused
        return fused and self.places.made[condition].op == "may_continue"

    def _follows(self, block: Block, edge: Edge) -> bool:
        return self.next.get(block) is edge.block

    def _way(self, edge: Edge) -> Label:
        """Where a conditional jump goes for an edge: to code that moves its arguments, if any."""
        if not self._pairs(edge):
            return self.labels[edge.block]
        label = Label()
        self.stubs.append((label, edge))
        return label

    def _pairs(self, edge: Edge) -> bool:
        home = self.emit.allocation.home
        return any(
            home[p] != self.emit.home(a) for p, a in zip(edge.block.params, edge.args, strict=True)
        )

    def _edge_moves(self, edge: Edge) -> None:
        emit = self.emit
        pairs = [
            (emit.allocation.home[p], emit.home(a))
            for p, a in zip(edge.block.params, edge.args, strict=True)
        ]
        emit.moves(list(pairs), cycle=R5)

    def jump_if(self, test: Test, label: Label) -> None:
        code, dst, src, imm = test
        self.emit.jump(label, code, dst, src, imm)

    # Conditions

    def test(self, condition: Value) -> Test:
        """The comparison that an i1 is, or that it is not 0."""
        if condition in self.places.fused:
            return self.compare(self.places.made[condition])
        self.tested = {}
        return JMP | _NE, self.emit.register(condition, R0), 0, 0

    def compare(self, instr: Instr) -> Test:
        op, emit, self.tested = _TESTS[instr.op], self.emit, {}
        a = instr.args[0]
        if instr.op == "is_null":
            return JMP | op, emit.register(a, R0), 0, 0
        b = instr.args[1]
        if self.places.constant(a) is not None and self.places.constant(b) is None:
            a, b, op = b, a, _SWAPPED[op]
        bits = width(a)
        if op in _SIGNED and bits < 32:
            return self._compare_narrow(op, a, b, bits)
        cls = JMP32 if bits == 32 else JMP
        left, constant = emit.register(a, R0), self.places.constant(b)
        self.tested[a] = left
        if constant is not None and (bits < 64 or fits(constant)):
            return cls | op, left, 0, signed(constant, 32)
        self.tested[b] = right = emit.register(b, R5)
        return cls | op | X, left, right, 0

    def _compare_narrow(self, op: int, a: Value, b: Value, bits: int) -> Test:
        """Of values in the high bits of 32, where the sign is."""
        for value, register in ((a, R0), (b, R5)):
            if (constant := self.places.constant(value)) is None:
                self.emit.move(register, self.emit.home(value))
                self.emit.add(ALU | _LSH, register, imm=32 - bits)
            elif value is b:
                return JMP32 | op, R0, 0, signed(constant << 32 - bits, 32)
            else:
                self.emit.integer(R0, constant << 32 - bits)
        return JMP32 | op | X, R0, R5, 0

    def extend(self, register: int, bits: int) -> None:
        """Fill a register's high bits with the sign of its low ones."""
        self.emit.add(ALU64 | _LSH, register, imm=64 - bits)
        self.emit.add(ALU64 | _ARSH, register, imm=64 - bits)

    def narrow(self, register: int, bits: int) -> None:
        """Zeros above the low bits."""
        if bits == 32:
            self.emit.add(MOV32, register, register)
        elif bits < 32:
            self.emit.add(ALU | _AND, register, imm=(1 << bits) - 1)

    # Calls

    def arguments(self, instr: Instr) -> None:
        emit = self.emit
        emit.moves([(R1 + n, emit.home(a)) for n, a in enumerate(instr.args)], cycle=R0)


def opposite(test: Test) -> Test:
    code, dst, src, imm = test
    return code & 0x0F | OPPOSITE[code & 0xF0], dst, src, imm


def _binary(s: Selector, instr: Instr) -> None:
    emit, op = s.emit, instr.op
    assert instr.result
    a, b = instr.args
    if op in _COMMUTE and s.places.constant(a) is not None:
        a, b = b, a
    bits = width(instr.result)
    extends = op in _SIGN_MATTERS and bits < 32
    code = _ARITHMETIC[op] | (ALU if bits <= 32 and not extends else ALU64)
    target, immediate = emit.target(instr.result), _immediate(s, op, b, bits)
    core = s.places.relocated(b) if bits == 64 and op in _RELOCATED else None
    other = R0 if immediate is not None or core else _second(s, op, b, bits)
    if target == other != R0 and emit.home(a) != target:
        if op in _COMMUTE:
            a, other = b, emit.register(a, R5)
        else:
            target = R0
    emit.move(target, emit.home(a))
    if extends:
        s.extend(target, bits)
    by = 1 if op == "sdiv" else 0
    if core:
        emit.core(code, target, core)
    elif immediate is not None:
        emit.add(code, target, 0, by, immediate)
    else:
        emit.add(code | X, target, other, by)
    if op in _GROWS and bits < 32:
        s.narrow(target, bits)
    emit.finish(instr.result, target)


def _immediate(s: Selector, op: str, value: Value, bits: int) -> int | None:
    """The second operand as an immediate, if it can be one."""
    constant = s.places.constant(value)
    if constant is None:
        return None
    if op in _SHIFTS:
        return constant & bits - 1
    if op in ("udiv", "urem", "sdiv") and constant == 0:
        return None  # the kernel refuses it, and takes a register that is 0
    if bits == 64 and not fits(constant):
        return None
    return signed(constant, bits if bits == 32 or op == "sdiv" else 64)


def _second(s: Selector, op: str, value: Value, bits: int) -> int:
    """A register with the second operand."""
    if bits < 32 and (op in _SHIFTS or op == "sdiv"):
        s.emit.move(R5, s.emit.home(value))
        if op == "sdiv":
            s.extend(R5, bits)
        else:
            s.emit.add(ALU | _AND, R5, imm=bits - 1)
        return R5
    return s.emit.register(value, R5)


def _pointer(s: Selector, instr: Instr) -> None:
    emit = s.emit
    assert instr.result
    pointer, by = instr.args
    constant, target = s.places.constant(by), emit.target(instr.result)
    if constant is not None and fits(constant):
        emit.move(target, emit.home(pointer))
        emit.add(ADD64_IMM, target, imm=signed(constant))
    elif core := s.places.relocated(by):
        emit.move(target, emit.home(pointer))
        emit.core(ADD64_IMM, target, core)
    else:
        step = emit.register(by, R5)
        target = R0 if target == step else target
        emit.move(target, emit.home(pointer))
        emit.add(ALU64 | X, target, step)
    emit.finish(instr.result, target)


def _convert(s: Selector, instr: Instr) -> None:
    """`zext`, `to_int`, `to_ptr`: the register is the same."""
    assert instr.result
    s.emit.move(s.emit.allocation.home[instr.result], s.emit.home(instr.args[0]))


def _change(s: Selector, instr: Instr) -> None:
    """`trunc`, `sext`, `bswap`."""
    assert instr.result
    emit, value = s.emit, instr.args[0]
    target, bits = emit.target(instr.result), width(instr.result)
    emit.move(target, emit.home(value))
    if instr.op == "bswap":
        emit.add(ALU | _END | X, target, imm=bits)
    elif instr.op == "sext":
        s.extend(target, width(value))
    if instr.op == "sext" or (instr.op == "trunc" and s.places.highest(value) > bits):
        s.narrow(target, bits)
    emit.finish(instr.result, target)


def _compare(s: Selector, instr: Instr) -> None:
    yes, end = Label(), Label()
    assert instr.result
    target = s.emit.target(instr.result)
    s.jump_if(s.compare(instr), yes)
    s.emit.integer(target, 0)
    s.emit.jump(end)
    s.emit.mark(yes)
    s.emit.integer(target, 1)
    s.emit.mark(end)
    s.emit.finish(instr.result, target)


def _select(s: Selector, instr: Instr) -> None:
    """The test comes first, and what it has looked at is copied from where it did: the kernel knows
    the bounds of that; before 6.9, not those of the word of the stack that it was loaded from."""
    emit = s.emit
    assert instr.result
    condition, yes, no = instr.args
    home, test = emit.allocation.home[instr.result], s.test(condition)
    if emit.home(yes) == home:
        yes, no, test = no, yes, opposite(test)
    first, end = Label(), Label()
    s.jump_if(test, first)
    emit.move(home, s.tested.get(no, emit.home(no)))
    emit.jump(end)
    emit.mark(first)
    emit.move(home, s.tested.get(yes, emit.home(yes)))
    emit.mark(end)


def _opaque(s: Selector, instr: Instr) -> None:
    emit = s.emit
    assert instr.result
    (value,) = instr.args
    target, constant = emit.target(instr.result), s.places.constant(value)
    zero = R0 if emit.home(value) == target else target
    emit.relocate("map_value", Internal.ZERO)
    emit.add(LD_IMM64, zero)
    emit.load(zero, zero, 0, 8)
    if constant is not None and fits(constant):
        if constant:
            emit.add(ADD64_IMM, zero, imm=signed(constant))
    elif zero == target:
        emit.add(ALU64 | X, target, emit.register(value, R5))
    else:
        emit.add(ALU64 | X, target, zero)
    s.narrow(target, width(instr.result))
    emit.finish(instr.result, target)


def _call(s: Selector, instr: Instr) -> None:
    s.arguments(instr)
    helper = HELPERS[str(instr.attrs["helper"])]
    if helper.kfunc:
        s.emit.relocate("kfunc", helper.kfunc)
        s.emit.add(CALL, src=PSEUDO_KFUNC_CALL)
    else:
        s.emit.add(CALL, imm=helper.number)
    s.emit.finish(instr.result, R0)


def _call_function(s: Selector, instr: Instr) -> None:
    _call_code(s, instr, str(instr.attrs["function"]))


def _call_c(s: Selector, instr: Instr) -> None:
    _call_code(s, instr, str(instr.attrs["name"]))


def _call_code(s: Selector, instr: Instr, name: str) -> None:
    s.arguments(instr)
    s.emit.relocate("call", name)
    s.emit.add(CALL, src=PSEUDO_CALL, imm=-1)
    s.emit.finish(instr.result, R0)


def _may_continue(s: Selector, instr: Instr) -> None:
    """may_goto jumps once the kernel has had enough of the loop."""
    end = Label()
    s.emit.integer(R0, 0)
    s.emit.jump(end, MAY_GOTO)
    s.emit.integer(R0, 1)
    s.emit.mark(end)
    s.emit.finish(instr.result, R0)


def _return(s: Selector, instr: Instr) -> None:
    s.emit.move(R0, s.emit.home(instr.args[0]))
    s.emit.add(EXIT)


SELECT: dict[str, Callable[[Selector, Instr], None]] = {
    **dict.fromkeys(_ARITHMETIC, _binary),
    **dict.fromkeys(_TESTS, _compare),
    **dict.fromkeys(("zext", "to_int", "to_ptr"), _convert),
    **dict.fromkeys(("trunc", "sext", "bswap"), _change),
    "ptr_add": _pointer, "select": _select, "opaque": _opaque,
    "load": load, "store": store, "fill": fill, "copy": copy, "cmpxchg": cmpxchg,
    "call": _call, "call_function": _call_function, "call_c": _call_c,
    "may_continue": _may_continue, "return": _return,
}  # fmt: skip
