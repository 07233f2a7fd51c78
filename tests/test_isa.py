from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfscript.backends import isa
from bpfscript.backends.isa import OPCODES, Insn, decode, disassemble, encode, expand
from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import CodeFunction, Line, Relocation


@st.composite
def instructions(draw: st.DrawFn) -> Insn:
    code = draw(st.sampled_from(sorted(OPCODES)))
    bits = 63 if code == isa.LD_IMM64 else 31
    register = st.integers(0, 10)
    return Insn(
        code,
        draw(register),
        draw(register),
        draw(st.integers(-(1 << 15), (1 << 15) - 1)),
        draw(st.integers(-(1 << bits), (1 << bits) - 1)),
    )


@given(st.lists(instructions()))
def test_decode_undoes_encode(code: list[Insn]) -> None:
    data = encode(code)
    assert len(data) == 8 * sum(i.slots for i in code)
    assert decode(data) == code


@given(instructions())
def test_every_opcode_has_a_text(insn: Insn) -> None:
    text = isa.text(insn)
    assert text and "{" not in text


@pytest.mark.parametrize(
    ("insn", "text"),
    [
        (Insn(0xBF, 6, 1), "r6 = r1"),
        (Insn(0xB4, 1, imm=-1), "w1 = -1"),
        (Insn(0xC7, 2, imm=63), "r2 s>>= 63"),
        (Insn(0x87, 3), "r3 = -r3"),
        (Insn(0xDC, 1, imm=32), "r1 = be32 r1"),
        (Insn(0xD7, 1, imm=16), "r1 = bswap16 r1"),
        (Insn(0x3F, 0, 1, off=1), "r0 s/= r1"),
        (Insn(0xBF, 0, 1, off=8), "r0 = (s8)r1"),
        (Insn(0x65, 1, off=3, imm=5), "if r1 s> 0x5 goto pc+3"),
        (Insn(0x1E, 1, 2, off=-3), "if w1 == w2 goto pc-3"),
        (Insn(0xE5, off=1), "may_goto pc+1"),
        (Insn(0x79, 1, 10, off=-8), "r1 = *(u64 *)(r10 -8)"),
        (Insn(0x91, 1, 2, off=4), "r1 = *(s8 *)(r2 +4)"),
        (Insn(0x62, 10, off=-4, imm=7), "*(u32 *)(r10 -4) = 7"),
        (Insn(0x73, 1, 2), "*(u8 *)(r1 +0) = r2"),
        (Insn(0xDB, 1, 2, imm=0), "lock *(u64 *)(r1 +0) += r2"),
        (Insn(0x18, 1, imm=1 << 40), "r1 = 0x10000000000 ll"),
        (Insn(0x85, imm=1), "call map_lookup_elem#1"),
        (Insn(0x85, src=1, imm=-2), "call pc-2"),
        (Insn(0x95), "exit"),
    ],
)
def test_text(insn: Insn, text: str) -> None:
    assert isa.text(insn) == text


def test_disassemble_names_what_is_relocated() -> None:
    code = encode([Insn(0x18, 1), Insn(0x85, imm=1), Insn(0x95)])
    shown = disassemble(
        CodeFunction("f", code, (Relocation(0, "map", "@x"),), (Line(0, 3, 7), Line(3, 4, 1)))
    )
    assert shown == (
        "f:\n; 3:7\n   0: (18) r1 = map[@x]\n   2: (85) call map_lookup_elem#1\n"
        "; 4:1\n   3: (95) exit\n"
    )


def test_expand_keeps_jumps_and_tells_where_slots_went() -> None:
    marker = Insn(0x85, imm=99)
    code = [
        Insn(0x15, 1, off=3),  # to the exit
        Insn(0x18, 2, imm=5),
        marker,
        Insn(0x05, off=-5),  # to the start... of the loop
    ]
    code.insert(3, Insn(0x95))
    other = [Insn(0xB7), Insn(0xE5, off=1), Insn(0xB7, imm=1)]
    new, moved = expand(code, lambda i: other if i == marker else None)
    assert [i.code for i in new] == [0x15, 0x18, 0xB7, 0xE5, 0xB7, 0x95, 0x05]
    assert new[0].off == 5
    assert new[3].off == 1
    assert new[-1].off == -7
    assert moved == [0, 1, 2, 3, 6, 7, 8]


@pytest.mark.parametrize(
    "data", [b"\x95", b"\xff" + bytes(7), b"\x18" + bytes(7), b"\x18" + bytes(7) + b"\x95" * 8]
)
def test_decode_refuses(data: bytes) -> None:
    with pytest.raises(CompilerBug):
        decode(data)


def test_encode_refuses_too_long_a_jump() -> None:
    with pytest.raises(CompilerBug, match="no encoding"):
        encode([Insn(0x05, off=1 << 15)])


def test_stack_use() -> None:
    code = [Insn(0xBF, 2, 10), Insn(0x07, 2, imm=-40), Insn(0x7B, 10, 1, off=-24), Insn(0x95)]
    assert isa.stack_use(code) == 40
    assert isa.stack_use([Insn(0x07, 2, imm=-400)]) == 0
