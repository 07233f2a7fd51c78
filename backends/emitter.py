"""Instructions of one function as they are appended: labels, registers in passing, moves, lines.

r0 and r5 belong to whatever instruction is being selected. Integers narrower than a register are
kept filled with zeros.
"""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.backends.addressing import Places, is_wide, number
from bpfscript.backends.isa import (
    ALU,
    ALU64,
    JA,
    LD_IMM64,
    LDX,
    MOV64_IMM,
    R0,
    R10,
    ST,
    STX,
    Insn,
    X,
    encode,
)
from bpfscript.backends.regalloc import Allocation, Home, Spilled
from bpfscript.diagnostics import CompilerBug, Span
from bpfscript.ir.core import Instr, Value
from bpfscript.manifest import CodeFunction, Internal, Line, Relocation

MOV, MEM = 0xB0, 0x60
SIZE = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}  # bytes → size field of loads and stores
MOV64, MOV32, MOV32_IMM, ADD64_IMM = ALU64 | MOV | X, ALU | MOV | X, ALU | MOV, ALU64
_MAX_COLUMN = 1023  # struct bpf_line_info has 10 bits for it

Source = Home | Value  # a value stands for what is made again, such as a constant


def fits(value: int) -> bool:
    """Whether a 32-bit immediate gives this 64-bit pattern by sign extension."""
    return -(1 << 31) <= signed(value) < 1 << 31


def signed(value: int, bits: int = 64) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


class Label:
    """A place to jump to."""


class Emitter:
    def __init__(
        self,
        places: Places,
        allocation: Allocation,
        constants: dict[bytes, int],
        place: Callable[[Span | None], tuple[int, int] | None],
    ) -> None:
        self.places, self.allocation, self.constants = places, allocation, constants
        self._place = place
        self.out: list[Insn | Label | None] = []  # None: taken out again
        self.targets: dict[int, Label] = {}  # index in out → where its jump goes
        self.relocated: dict[int, tuple[str, str, int]] = {}
        self.lines: list[tuple[int, tuple[int, int]]] = []
        self.slots: dict[Instr, int] = {}  # offset from r10
        self.depth = 0  # bytes of stack for slots

    # Instructions

    def add(self, code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> None:
        self.out.append(Insn(code, dst, src, off, imm))

    def jump(self, label: Label, code: int = JA, dst: int = 0, src: int = 0, imm: int = 0) -> None:
        self.targets[len(self.out)] = label
        self.add(code, dst, src, 0, imm)

    def mark(self, label: Label) -> None:
        self.out.append(label)

    def relocate(self, kind: str, name: str, addend: int = 0) -> None:
        """The next instruction refers to something by name."""
        self.relocated[len(self.out)] = kind, name, addend

    def at(self, span: Span | None) -> None:
        """What follows comes from this place of the script."""
        if (found := self._place(span)) and (not self.lines or self.lines[-1][1] != found):
            self.lines.append((len(self.out), (found[0], min(found[1], _MAX_COLUMN))))

    # Values

    def home(self, value: Value) -> Source:
        return value if value in self.places.fixed else self.allocation.home[value]

    def word(self, spilled: Spilled) -> int:
        return -self.depth - 8 * (spilled.word + 1)

    def register(self, value: Value, temporary: int) -> int:
        """A register that has the value: its own, or the temporary one."""
        home = self.home(value)
        if isinstance(home, int):
            return home
        self.move(temporary, home)
        return temporary

    def target(self, value: Value) -> int:
        """Where to make a result: its register, or r0 on the way to its word."""
        home = self.allocation.home.get(value)
        return home if isinstance(home, int) else R0

    def finish(self, value: Value | None, register: int) -> None:
        """The result is in this register."""
        if value and (home := self.allocation.home.get(value)) is not None:
            self.move(home, register)

    def move(self, to: Home, source: Source, temporary: int = R0) -> None:
        if isinstance(to, Spilled):
            register = source if isinstance(source, int) else temporary
            if register is temporary and source != temporary:
                self.move(temporary, source)
            self.add(STX | MEM | SIZE[8], R10, register, self.word(to))
        elif isinstance(source, Spilled):
            self.add(LDX | MEM | SIZE[8], to, R10, self.word(source))
        elif isinstance(source, int):
            if to != source:
                self.add(MOV64, to, source)
        else:
            self._make(to, *self.places.fixed[source], source)

    def _make(self, to: int, base: Instr, addend: int, value: Value) -> None:
        match base.op:
            case "const":
                constant = self.places.constant(value)
                assert constant is not None
                self.integer(to, constant)
            case "core":
                self.core(LD_IMM64 if is_wide(base) else MOV64_IMM, to, base)
            case "slot":
                self.add(MOV64, to, R10)
                self.add(ADD64_IMM, to, imm=self.slots[base] + addend)
            case "map_ptr":
                self._address(to, "map", str(base.attrs["map"]))
            case "map_value":
                self._address(to, "map_value", str(base.attrs["map"]), addend)
            case "rodata":
                data = base.attrs["data"]
                assert isinstance(data, bytes)
                offset = self.constants[data] + addend
                self._address(to, "map_value", Internal.RODATA, offset)
            case "func_ptr":
                self._address(to, "callback", str(base.attrs["function"]))
            case other:
                raise CompilerBug(f"the native backend makes no {other} again")

    def _address(self, to: int, kind: str, name: str, addend: int = 0) -> None:
        self.relocate(kind, name, addend)
        self.add(LD_IMM64, to, imm=addend)

    def core(self, code: int, dst: int, core: Instr) -> None:
        """An instruction whose immediate the loader fills in."""
        self.relocate("core", str(core.attrs["of"]))
        self.add(code, dst, imm=signed(number(core.attrs["value"])))

    def integer(self, to: int, value: int) -> None:
        """A 64-bit pattern, in as few bytes as it takes."""
        if fits(value):
            self.add(MOV64_IMM, to, imm=signed(value))
        elif 0 <= value < 1 << 32:
            self.add(MOV32_IMM, to, imm=signed(value, 32))
        else:
            self.add(LD_IMM64, to, imm=signed(value))

    def moves(self, pairs: list[tuple[Home, Source]], cycle: int, temporary: int = R0) -> None:
        """Moves that happen at once. `cycle` and `temporary` are registers that none of them has;
        the second only matters where words are moved to words."""
        waiting = {to: source for to, source in pairs if to != source}
        while waiting:
            sources = set(waiting.values())
            ready = next((to for to in waiting if to not in sources), None)
            if ready is not None:
                self.move(ready, waiting.pop(ready), temporary)
                continue
            blocked = next(iter(waiting))
            self.move(cycle, blocked)
            waiting = {to: cycle if s == blocked else s for to, s in waiting.items()}

    # Memory

    def base(self, pointer: Value, temporary: int) -> tuple[int, int]:
        """A register and an offset that address the pointer's memory."""
        if (found := self.places.fixed.get(pointer)) and found[0].op == "slot":
            return R10, self.slots[found[0]] + found[1]
        return self.register(pointer, temporary), 0

    def passing(self, pointer: Value) -> bool:
        """Whether `base` takes its temporary register."""
        home = self.home(pointer)
        fixed = self.places.fixed.get(pointer)
        return not isinstance(home, int) and not (fixed and fixed[0].op == "slot")

    def load(self, to: int, base: int, offset: int, size: int) -> None:
        self.add(LDX | MEM | SIZE[size], to, base, offset)

    def store(self, base: int, offset: int, size: int, register: int) -> None:
        self.add(STX | MEM | SIZE[size], base, register, offset)

    def store_constant(self, base: int, offset: int, size: int, value: int) -> None:
        self.add(ST | MEM | SIZE[size], base, 0, offset, signed(value, 32))

    def reserve(self, slot: Instr) -> None:
        self.depth += (number(slot.attrs["size"]) + 7) // 8 * 8
        self.slots[slot] = -self.depth

    # The whole

    def function(self, name: str, fallback: tuple[int, int]) -> CodeFunction:
        positions, slot = [], 0
        labels: dict[Label, int] = {}
        for item in self.out:
            positions.append(slot)
            if isinstance(item, Label):
                labels[item] = slot
            elif item:
                slot += item.slots
        code = []
        for index, item in enumerate(self.out):
            if isinstance(item, Insn):
                if label := self.targets.get(index):
                    off = labels[label] - positions[index] - 1
                    item = Insn(item.code, item.dst, item.src, off, item.imm)
                code.append(item)
        lines = {0: fallback} | {positions[index]: place for index, place in self.lines}
        return CodeFunction(
            name,
            encode(code),
            tuple(
                Relocation(positions[i], *r)
                for i, r in sorted(self.relocated.items())
                if self.out[i]
            ),
            tuple(Line(at, *place) for at, place in sorted(lines.items()) if at < slot),
        )
