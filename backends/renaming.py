"""Moves between registers that go by naming the register otherwise, before or behind them.

    call f; r1 = r0; r1 >>= 32; if r1 == 0 …  →  call f; r0 >>= 32; if r0 == 0 …
    r0 = r6; r0 += r2; r7 = r0                →  r7 = r6; r7 += r2

Only inside straight code, and not where the ISA prescribes the register. Cost: linear.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bpfscript.backends.isa import (
    CALL,
    EXIT,
    JA,
    MAY_GOTO,
    R10,
    Insn,
)  # fmt: skip
from bpfscript.backends.registers import MOV64, is_atomic, made_by, reads_source, used_by

if TYPE_CHECKING:
    from bpfscript.backends.emitter import Label

    Code = list[Insn | Label | None]

_FAR = 40  # instructions between a move and the last one that is changed


def rename(code: Code, live: list[int]) -> None:
    """Take out moves, in place. live: registers needed behind each instruction, as bits."""
    for at, item in enumerate(code):
        if not isinstance(item, Insn) or item.code != MOV64 or item.src == R10:
            continue
        copy, of = item.dst, item.src
        if live[at] >> of & 1:
            continue
        if (range := _behind(code, live, at, copy, of)) is not None:
            _change(code, live, at, range, copy, of)
        elif (range := _before(code, live, at, copy, of)) is not None:
            _change(code, live, at, range, of, copy)


def _change(
    code: Code, live: list[int], at: int, places: Iterable[int], old: int, new: int
) -> None:
    code[at] = None
    for place in (*places, at):
        insn = code[place]
        if isinstance(insn, Insn):
            dst = new if insn.dst == old else insn.dst
            src = new if insn.src == old and reads_source(insn) else insn.src
            same = insn.code == MOV64 and dst == src
            code[place] = None if same else Insn(insn.code, dst, src, insn.off, insn.imm)
        if live[place] >> old & 1:
            live[place] = live[place] & ~(1 << old) | 1 << new


def _prescribes(insn: Insn) -> bool:
    """Whether registers of an instruction have no other name, or code goes on elsewhere."""
    return insn.code in (JA, EXIT, CALL, MAY_GOTO) or is_atomic(insn)


def _behind(code: Code, live: list[int], move: int, copy: int, of: int) -> range | None:
    """Up to where the copy is used, if the original is free so far."""
    for at in range(move + 1, min(move + _FAR, len(code))):
        insn = code[at]
        if insn is None:
            continue
        if not isinstance(insn, Insn) or _prescribes(insn):
            return None
        if (used_by(insn) | made_by(insn)) >> of & 1:
            return None
        if not live[at] >> copy & 1:
            return range(move + 1, at + 1)
        if insn.jumps:
            return None
    return None


def _before(code: Code, live: list[int], move: int, copy: int, of: int) -> range | None:
    """From where the original is made, if the register of the copy is free since."""
    for at in range(move - 1, max(move - _FAR, -1), -1):
        insn = code[at]
        if insn is None:
            continue
        if not isinstance(insn, Insn) or insn.jumps or _prescribes(insn):
            return None
        if (live[at] | made_by(insn)) >> copy & 1:
            return None
        if made_by(insn) >> of & 1 and not used_by(insn) >> of & 1:
            return range(at, move)
        if used_by(insn) >> copy & 1:
            return None
    return None
