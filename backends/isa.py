"""eBPF instructions: one table of opcodes, encoder, decoder and disassembler as loops over it.

An instruction is one 8-byte slot, little-endian; `LD_IMM64` takes two, the second holding the high
half of imm:

    byte 0   byte 1            bytes 2–3      bytes 4–7
    opcode   src << 4 | dst    off (signed)   imm (signed)

Source: Documentation/bpf/standardization/instruction-set.rst; may_goto: kernel/bpf/verifier.c.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.helpers import HELPERS
from bpfscript.manifest import CodeFunction, Relocation
from bpfscript.plain import dataclass, replace

SLOT = 8  # bytes
STACK_LIMIT = 512  # bytes below r10, include/linux/filter.h MAX_BPF_STACK

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)

# Classes: the lowest three bits of an opcode
LD, LDX, ST, STX, ALU, JMP, JMP32, ALU64 = range(8)
X = 8  # in ALU and JMP classes: the operand is a register, not imm

LD_IMM64, JA, CALL, EXIT, MAY_GOTO = 0x18, 0x05, 0x85, 0x95, 0xE5
MOV64_IMM = 0xB7
PSEUDO_CALL = 1  # src of CALL: imm is relative, to a function of the program
PSEUDO_KFUNC_CALL = 2  # imm is a function's number in the kernel's BTF

CMPXCHG64, CMPXCHG = 0xDB, 0xF1  # an opcode and its imm: r0 is compared and loaded, since 5.12

_ARITHMETIC = {
    0x00: "+=", 0x10: "-=", 0x20: "*=", 0x30: "/=", 0x40: "|=", 0x50: "&=",
    0x60: "<<=", 0x70: ">>=", 0x90: "%=", 0xA0: "^=", 0xB0: "=", 0xC0: "s>>=",
}  # fmt: skip
_CONDITIONS = {
    0x10: "==", 0x20: ">", 0x30: ">=", 0x40: "&", 0x50: "!=", 0x60: "s>",
    0x70: "s>=", 0xA0: "<", 0xB0: "<=", 0xC0: "s<", 0xD0: "s<=",
}  # fmt: skip
OPPOSITE = {0x10: 0x50, 0x20: 0xB0, 0x30: 0xA0, 0x60: 0xD0, 0x70: 0xC0}
"""Conditions and those that hold exactly where they do not."""
OPPOSITE |= {b: a for a, b in OPPOSITE.items()}
_SIZES = {0x00: "u32", 0x08: "u16", 0x10: "u8", 0x18: "u64"}
_MEM, _MEMSX, _ATOMIC = 0x60, 0x80, 0xC0  # modes of the load and store classes


@dataclass(frozen=True, slots=True)
class Opcode:
    """`text` is a format of an instruction's fields, and of what `text()` makes of them."""

    code: int
    text: str
    jumps: bool = False  # off counts slots from the next instruction


def _table() -> Iterator[Opcode]:
    for cls, r in ((ALU, "w"), (ALU64, "r")):
        for code, sign in _ARITHMETIC.items():
            yield Opcode(cls | code, f"{r}{{dst}} {sign} {{imm}}")
            yield Opcode(cls | code | X, f"{r}{{dst}} {sign} {r}{{src}}")
        yield Opcode(cls | 0x80, f"{r}{{dst}} = -{r}{{dst}}")
    yield Opcode(ALU | 0xD0, "r{dst} = le{imm} r{dst}")
    yield Opcode(ALU | 0xD0 | X, "r{dst} = be{imm} r{dst}")
    yield Opcode(ALU64 | 0xD0, "r{dst} = bswap{imm} r{dst}")
    for cls, r in ((JMP, "r"), (JMP32, "w")):
        for code, sign in _CONDITIONS.items():
            yield Opcode(cls | code, f"if {r}{{dst}} {sign} {{hex}} goto pc{{off:+}}", True)
            yield Opcode(cls | code | X, f"if {r}{{dst}} {sign} {r}{{src}} goto pc{{off:+}}", True)
    yield Opcode(JA, "goto pc{off:+}", True)
    yield Opcode(MAY_GOTO, "may_goto pc{off:+}", True)
    yield Opcode(CALL, "call {callee}")
    yield Opcode(EXIT, "exit")
    yield Opcode(LD_IMM64, "r{dst} = {wide}")
    for size, name in _SIZES.items():
        yield Opcode(LDX | _MEM | size, f"r{{dst}} = *({name} *)(r{{src}} {{off:+}})")
        if size != 0x18:
            yield Opcode(LDX | _MEMSX | size, f"r{{dst}} = *(s{name[1:]} *)(r{{src}} {{off:+}})")
        yield Opcode(ST | _MEM | size, f"*({name} *)(r{{dst}} {{off:+}}) = {{imm}}")
        yield Opcode(STX | _MEM | size, f"*({name} *)(r{{dst}} {{off:+}}) = r{{src}}")
    for size in (0x00, 0x18):
        name = _SIZES[size]
        yield Opcode(
            STX | _ATOMIC | size, f"lock *({name} *)(r{{dst}} {{off:+}}) {{atomic}} r{{src}}"
        )


OPCODES: dict[int, Opcode] = {row.code: row for row in _table()}
_SIGNED = {"/=": "s/=", "%=": "s%="}  # with off = 1
_ATOMICS = {0x00: "+=", 0x40: "|=", 0x50: "&=", 0xA0: "^=", 0xE0: "xchg", 0xF0: "cmpxchg"}


@dataclass(frozen=True, slots=True)
class Insn:
    """One instruction; `imm` of LD_IMM64 has 64 bits, any sign."""

    code: int
    dst: int = 0
    src: int = 0
    off: int = 0
    imm: int = 0

    @property
    def slots(self) -> int:
        return 2 if self.code == LD_IMM64 else 1

    @property
    def jumps(self) -> bool:
        return OPCODES[self.code].jumps


_FORMAT = struct.Struct("<BBhI")


def encode(instructions: Iterable[Insn]) -> bytes:
    """Machine code. Raises CompilerBug for what has no encoding, such as too long a jump."""
    out = bytearray()
    for i in instructions:
        if i.code not in OPCODES or not -(1 << 15) <= i.off < 1 << 15:
            raise CompilerBug(f"no encoding for {i}")
        out += _FORMAT.pack(i.code, i.src << 4 | i.dst, i.off, i.imm & 0xFFFFFFFF)
        if i.slots == 2:
            out += _FORMAT.pack(0, 0, 0, i.imm >> 32 & 0xFFFFFFFF)
    return bytes(out)


def decode(code: bytes) -> list[Insn]:
    """Instructions of machine code. Raises CompilerBug for code that `encode` does not make."""
    if len(code) % SLOT:
        raise CompilerBug(f"{len(code)} bytes of code are no whole instructions")
    slots = _FORMAT.iter_unpack(code)
    out = []
    for op, registers, off, imm in slots:
        if op not in OPCODES:
            raise CompilerBug(f"unknown opcode {op:#04x}")
        if op == LD_IMM64:
            second = next(slots, None)
            if second is None or second[:3] != (0, 0, 0):
                raise CompilerBug("half of a 64-bit load")
            imm |= second[3] << 32
            imm = (imm ^ 1 << 63) - (1 << 63)
        else:
            imm = (imm ^ 1 << 31) - (1 << 31)
        out.append(Insn(op, registers & 15, registers >> 4, off, imm))
    return out


def expand(
    instructions: list[Insn], replacement: Callable[[Insn], list[Insn] | None]
) -> tuple[list[Insn], list[int]]:
    """Put other instructions in the place of some, and let jumps go where they went.

    Jumps inside a replacement are left as they are. The second result gives for each old slot, and
    for the end, the new one.
    """
    new: list[Insn] = []
    owner: list[
        tuple[int, int] | None
    ] = []  # of a new instruction: old slot, new slot if it was kept
    moved: list[int] = []
    at = 0
    for insn in instructions:
        other = replacement(insn)
        start = len(moved)
        moved += [at + k for k in range(insn.slots)]
        for n in [insn] if other is None else other:
            new.append(n)
            owner.append((start, at) if other is None else None)
            at += n.slots
    moved.append(at)
    for k, (n, place) in enumerate(zip(new, owner, strict=True)):
        if n.jumps and place is not None:
            old, here = place
            new[k] = replace(n, off=moved[old + 1 + n.off] - here - 1)
    return new, moved


def stack_use(instructions: Iterable[Insn]) -> int:
    """Bytes of stack the code names by loads and stores at r10, and by adding to copies of r10."""
    deepest = 0
    frame: set[int] = {R10}
    for i in instructions:
        cls = i.code & 7
        if (cls in (ST, STX) and i.dst == R10) or (cls == LDX and i.src == R10):
            deepest = min(deepest, i.off)
        elif i.code == (ALU64 | 0xB0 | X) and i.src == R10:
            frame.add(i.dst)
        elif i.code == (ALU64 | 0x00) and i.dst in frame:
            deepest = min(deepest, i.imm)
            frame.discard(i.dst)
        elif cls in (ALU, ALU64, LDX, LD):
            frame.discard(i.dst)
    return -deepest


_NAMES = {row.number: name for name, row in HELPERS.items() if row.number}


def text(insn: Insn, relocation: Relocation | None = None) -> str:
    """One instruction as `bpftool prog dump xlated` shows it, with the name that it refers to."""
    shown = OPCODES[insn.code].text
    imm = insn.imm
    if insn.off == 1 and insn.code & 7 in (ALU, ALU64):
        for plain, signed in _SIGNED.items():
            shown = shown.replace(plain, signed)
    if insn.off and insn.code & 0xF7 in (ALU | 0xB0, ALU64 | 0xB0):
        shown = shown.replace("= ", f"= (s{insn.off})")
    if relocation:
        where = f"{relocation.kind}[{relocation.name}]"
        wide = callee = where + (f"+{relocation.addend}" if relocation.addend else "")
    else:
        wide = f"{imm:#x} ll"
        callee = f"pc{imm:+}" if insn.src == PSEUDO_CALL else f"{_NAMES.get(imm, 'helper')}#{imm}"
    atomic = _ATOMICS.get(imm & 0xF0, "?")
    line = shown.format(
        dst=insn.dst, src=insn.src, off=insn.off, imm=imm, hex=f"{imm:#x}",
        wide=wide, callee=callee, atomic=atomic,
    )  # fmt: skip
    return line


def disassemble(function: CodeFunction) -> str:
    """The function as text: script lines as comments, then `slot: (opcode) instruction`."""
    relocations = {r.instruction: r for r in function.relocations}
    lines = {line.instruction: line for line in function.lines}
    out = [f"{function.name}:"]
    slot = 0
    for insn in decode(function.code):
        if line := lines.get(slot):
            out.append(f"; {line.line}:{line.column}")
        out.append(f"{slot:4}: ({insn.code:02x}) {text(insn, relocations.get(slot))}")
        slot += insn.slots
    return "\n".join(out) + "\n"
