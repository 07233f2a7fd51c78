"""Which registers an instruction reads and changes, as bits: 1 << n for rn."""

from __future__ import annotations

from bpfscript.backends.isa import (
    ALU,
    ALU64,
    CALL,
    EXIT,
    JA,
    LD_IMM64,
    LDX,
    MAY_GOTO,
    R0,
    ST,
    STX,
    Insn,
    X,
)  # fmt: skip

MOV = 0xB0
MOV64 = ALU64 | MOV | X
_NEG, _END = 0x80, 0xD0
_ARITHMETIC = (ALU, ALU64)
_ATOMIC, _FETCH, _COMPARES = 0xC0, 0x01, 0xF0  # a mode; in imm: BPF_FETCH, BPF_CMPXCHG
_PASSED = 0x3E  # r1–r5
_CALLED = 0x3F  # what a call leaves undefined, and its result


def made_by(insn: Insn) -> int:
    """Registers that change."""
    if insn.code == CALL:
        return _CALLED
    if is_atomic(insn):  # which register takes what was there
        taken = R0 if insn.imm & _COMPARES == _COMPARES else insn.src
        return 1 << taken if insn.imm & _FETCH else 0
    changes = insn.code & 7 in (ALU, ALU64, LDX) or insn.code == LD_IMM64
    return 1 << insn.dst if changes else 0


def used_by(insn: Insn) -> int:
    """Registers that are read; by a call, all in which something may be passed."""
    if insn.code == CALL:
        return _PASSED
    if insn.code == EXIT:
        return 1 << R0
    if is_atomic(insn):
        compared = 1 << R0 if insn.imm & _COMPARES == _COMPARES else 0
        return 1 << insn.dst | 1 << insn.src | compared
    source = 1 << insn.src if reads_source(insn) else 0
    if insn.code in (JA, MAY_GOTO, LD_IMM64) or insn.code & 7 == LDX:
        return source
    only_made = insn.code & 7 in _ARITHMETIC and insn.code & 0xF0 == MOV
    return source if only_made else source | 1 << insn.dst


def is_atomic(insn: Insn) -> bool:
    return insn.code & 0xE7 == STX | _ATOMIC


def reads_source(insn: Insn) -> bool:
    """Whether the field `src` names a register that is read, and no more than that."""
    cls, operation = insn.code & 7, insn.code & 0xF0
    if insn.code in (CALL, EXIT, JA, MAY_GOTO, LD_IMM64) or cls == ST or is_atomic(insn):
        return False
    if cls in (LDX, STX):
        return True
    swaps = cls in _ARITHMETIC and operation in (_NEG, _END)
    return bool(insn.code & X) and not swaps
