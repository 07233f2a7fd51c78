"""What is left out of machine code, and what has to stay."""

from __future__ import annotations

import pytest

from bpfscript.backends.emitter import Label
from bpfscript.backends.isa import (
    ALU64,
    CALL,
    EXIT,
    JA,
    JMP,
    LD_IMM64,
    LDX,
    MAY_GOTO,
    MOV64_IMM,
    R0,
    R1,
    R2,
    R6,
    R7,
    STX,
    Insn,
    X,
    text,
)
from bpfscript.backends.peephole import shorten
from bpfscript.backends.registers import MOV64

Item = Insn | str | tuple[Insn, str]
"""An instruction, a label, an instruction that jumps to one."""

_JEQ, _JNE, _LOAD, _STORE = JMP | 0x10, JMP | 0x50, LDX | 0x78, STX | 0x78
_LEAVE, _CALL = Insn(EXIT), Insn(CALL, imm=14)
_ADD, _SHIFT = ALU64, ALU64 | 0x70


def move(to: int, source: int) -> Insn:
    return Insn(MOV64, to, source)


def shortened(*items: Item) -> list[str]:
    """Instructions as text, labels by name, jumps with theirs behind them."""
    names = {item: Label() for item in items if isinstance(item, str)}
    code: list[Insn | Label | None] = []
    targets: dict[int, Label] = {}
    for item in items:
        if isinstance(item, tuple):
            item, label = item
            targets[len(code)] = names[label]
        code.append(names[item] if isinstance(item, str) else item)
    shorten(code, targets, {})
    back = {label: name for name, label in names.items()}
    out = []
    for at, left in enumerate(code):
        if isinstance(left, Label):
            out.append(back[left])
        elif left:
            out.append(text(left) + (f" {back[targets[at]]}" if at in targets else ""))
    return out


def test_a_copy_of_a_result_is_not_made() -> None:
    found = shortened(
        _CALL, move(R1, R0), (Insn(_JEQ, R1), "end"), Insn(_LOAD, R2, R1, 8),
        Insn(_STORE, R0, R2), "end", Insn(MOV64_IMM, R0), _LEAVE,
    )  # fmt: skip
    assert found[1] == "if r0 == 0x0 goto pc+0 end"
    assert "r1 = r0" not in found


def test_a_copy_that_outlives_a_call_stays() -> None:
    found = shortened(_CALL, move(R6, R0), _CALL, Insn(ALU64 | X, R0, R6), _LEAVE)
    assert found[1] == "r6 = r0"


def test_a_copy_stays_where_another_way_comes_in() -> None:
    found = shortened(
        Insn(MOV64_IMM, R6, imm=1), _CALL, (Insn(_JEQ, R0), "end"), move(R6, R0),
        "end", _CALL, move(R0, R6), _LEAVE,
    )  # fmt: skip
    assert "r6 = r0" in found
    assert found[-2:] == ["r0 = r6", "exit"]


@pytest.mark.parametrize("again", [True, False])
def test_what_a_register_has_is_not_made_again(again: bool) -> None:
    address = Insn(LD_IMM64, R6, imm=1 << 40)
    between = [] if again else [Insn(_ADD, R6, imm=1), Insn(_STORE, R6, R6)]
    found = shortened(
        address, Insn(_STORE, R6, R1), *between, address, Insn(_STORE, R6, R2), _LEAVE
    )
    assert sum("ll" in line for line in found) == (1 if again else 2)


def test_a_result_is_worked_on_where_it_is() -> None:
    found = shortened(
        _CALL, move(R1, R0), Insn(_SHIFT, R1, imm=32), (Insn(_JNE, R1), "end"),
        "end", Insn(MOV64_IMM, R0), _LEAVE,
    )  # fmt: skip
    assert found[1:3] == ["r0 >>= 32", "if r0 != 0x0 goto pc+0 end"]


def test_a_sum_is_made_where_it_goes() -> None:
    found = shortened(
        move(R0, R6), Insn(ALU64 | X, R0, R2), move(R7, R0), _CALL, Insn(ALU64 | X, R0, R7),
        Insn(ALU64 | X, R0, R6), _LEAVE,
    )  # fmt: skip
    assert found[:3] == ["r7 = r6", "r7 += r2", "call get_current_pid_tgid#14"]


def test_jumps_over_jumps() -> None:
    found = shortened(
        (Insn(_JEQ, R1), "a"), (Insn(JA), "b"), "a", Insn(MOV64_IMM, R0, imm=1), _LEAVE,
        "b", (Insn(JA), "c"), "c", Insn(MOV64_IMM, R0), _LEAVE,
    )  # fmt: skip
    assert found[0] == "if r1 != 0x0 goto pc+0 c"
    assert not any(line.startswith("goto") for line in found)


def test_a_loop_without_end_stays() -> None:
    asked = (Insn(MAY_GOTO), "end")
    found = shortened("a", asked, (Insn(JA), "a"), "end", Insn(MOV64_IMM, R0), _LEAVE)
    assert len(found) == 6
    assert shortened("a", (Insn(JA), "a")) == ["a", "goto pc+0 a"]


def test_what_an_exchange_compares_with_stays() -> None:
    exchange = Insn(STX | 0xD8, R1, R2, imm=0xF1)
    found = shortened(Insn(MOV64_IMM, R0, imm=7), Insn(MOV64_IMM, R2, imm=9), exchange, _LEAVE)
    assert found[:2] == ["r0 = 7", "r2 = 9"]
    found = shortened(move(R6, R0), exchange, Insn(ALU64 | X, R0, R6), _LEAVE)
    assert found[0] == "r6 = r0"
