"""Instructions for one function: an emitter of machine code, and the moves between blocks.

A register holds its value filled with zeros up to 64 bits, whatever the width. r0–r2 are scratch.
Constants, addresses and slots are made where they are used; a comparison that only the branch after
it uses becomes its condition.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.backends import isa
from bpfscript.backends.isa import R0, R1, R2, R10, Insn
from bpfscript.backends.memory import alignments
from bpfscript.backends.regalloc import allocate
from bpfscript.backends.select_operations import CONDITIONS, EFFECTS, calls, compare_and_jump
from bpfscript.diagnostics import CompilerBug, Source
from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Edge, Function, Instr, Value
from bpfscript.ir.types import CTX, I
from bpfscript.manifest import CodeFunction, Internal, Line, Relocation
from bpfscript.passes.liveness import FREE
from bpfscript.passes.values import definitions, operands
from bpfscript.types import align_up

MOV, MOV32 = 0xBF, 0xBC  # register to register
_MOV_IMM, _MOV32_IMM = 0xB7, 0xB4
_LOAD, _STORE = 0x61, 0x63  # of 32 bits; the size is added
_MAX_COLUMN = 1023  # struct bpf_line_info has 10 bits for it
_MEMORY_OPS = ("load", "store", "fill", "copy")


class FunctionCode:
    """Machine code of one function as it grows. Jumps name labels until `compile` resolves them."""

    def __init__(self, function: Function, offsets: dict[bytes, int], source: Source) -> None:
        self.function, self.offsets, self.source = function, offsets, source
        self.made = definitions(function)
        self.blocks = Graph(function).order
        self.aligned = alignments(function)
        self.code: list[Insn] = []
        self.size = 0  # slots of `code`
        self.jumps: list[tuple[int, int, int]] = []  # index in code, slot after it, label
        self.labels: dict[int, int] = {}
        self.relocations: list[Relocation] = []
        self.lines: list[Line] = []
        self.slots, used = self._frame()
        self.folded = self._folded()
        self.used = self._used()
        self.fused = self._fused()
        entry = function.params
        self.places, _ = allocate(self.blocks, entry, self.uses, self.result, self.calls, used)
        self.names = {block: self.label() for block in self.blocks}

    # What is made where it is used

    def _frame(self) -> tuple[dict[Value, int], int]:
        slots, used = {}, 0
        for value, instr in self.made.items():
            if instr.op == "slot":
                size = instr.attrs["size"]
                assert isinstance(size, int)
                used += align_up(size, 8)
                slots[value] = -used
        return slots, used

    def constant(self, value: Value) -> int | None:
        """The number a value is known to be, unsigned in its width."""
        made = self.made.get(value)
        if made is None or made.op != "const":
            return None
        number = made.attrs["value"]
        assert isinstance(number, int) and isinstance(value.type, I)
        return number & ((1 << value.type.bits) - 1)

    def _folded(self) -> dict[Value, tuple[Value, int]]:
        """Pointers that are another one and a constant, to be added by loads and stores."""
        found: dict[Value, tuple[Value, int]] = {}
        plain = {  # those that some instruction needs as values
            a
            for i in self.function.instructions()
            for n, a in enumerate([*i.args, *(v for e in i.targets for v in e.args)])
            if not (i.op == "ptr_add" and n == 0)
            and not (i.op in _MEMORY_OPS and (n == 0 or i.op == "copy"))
        }
        for block in self.blocks:
            for i in block.instrs:
                if i.op != "ptr_add" or i.result is None:
                    continue
                by = self.constant(i.args[1])
                root, before = found.get(i.args[0], (i.args[0], 0))
                if by is None or (i.result in plain and root not in self.slots):
                    continue
                total = before + (by - (1 << 64) if by >> 63 else by)
                if -(1 << 14) < total < 1 << 14 and (root in self.slots or root.type == CTX):
                    found[i.result] = root, total
        return found

    def _fused(self) -> set[Value]:
        """Comparisons that are used once, by the branch that ends their block."""
        out: set[Value] = set()
        for block in self.blocks:
            end = block.terminator
            if end.op == "branch" and self.used[end.args[0]] == 1:
                test = self.made.get(end.args[0])
                if test and test.op in CONDITIONS and test in block.instrs:
                    out.add(end.args[0])
        return out

    def _used(self) -> dict[Value, int]:
        """How many times each value is; some helpers leave nothing in r0 for one that is not."""
        count: dict[Value, int] = {}
        for instr in self.function.instructions():
            for value in operands(instr):
                count[value] = count.get(value, 0) + 1
        return count

    # What the allocator asks

    def uses(self, instr: Instr) -> Iterator[Value]:
        if instr.result is not None and (instr.result in self.fused or instr.result in self.folded):
            return
        for value in (*instr.args, *(v for e in instr.targets for v in e.args)):
            if value in self.fused:
                yield from self._needed(self.made[value].args)
            else:
                yield from self._needed([value])

    def _needed(self, values: list[Value]) -> Iterator[Value]:
        for value in values:
            root = self.folded.get(value, (value, 0))[0]
            made = self.made.get(root)
            if made is None or made.op not in FREE:
                yield root

    def result(self, instr: Instr) -> Value | None:
        value = instr.result
        gone = value in self.fused or value in self.folded or instr.op in FREE
        return None if gone or value not in self.used else value

    def calls(self, instr: Instr) -> bool:
        return calls(self, instr)

    # Emitting

    def add(self, code: int, dst: int = 0, src: int = 0, off: int = 0, imm: int = 0) -> None:
        insn = Insn(code, dst, src, off, imm)
        self.code.append(insn)
        self.size += insn.slots

    def label(self) -> int:
        self.labels[len(self.labels)] = -1
        return len(self.labels) - 1

    def place_label(self, label: int) -> None:
        self.labels[label] = self.size

    def jump(self, code: int, label: int, dst: int = 0, src: int = 0, imm: int = 0) -> None:
        self.add(code, dst, src, 0, imm)
        self.jumps.append((len(self.code) - 1, self.size, label))

    def relocate(self, dst: int, kind: str, name: str, addend: int = 0) -> None:
        self.relocations.append(Relocation(self.size, kind, name, addend))
        self.add(isa.LD_IMM64, dst, imm=addend)

    def set(self, dst: int, number: int) -> None:
        """A register to a number of up to 64 bits, unsigned."""
        signed = number - (1 << 64) if number >> 63 else number
        if -(1 << 31) <= signed < 1 << 31:
            self.add(_MOV_IMM, dst, imm=signed)
        elif number < 1 << 32:
            self.add(_MOV32_IMM, dst, imm=number - (1 << 32))
        else:
            self.add(isa.LD_IMM64, dst, imm=signed)

    def base(self, pointer: Value, scratch: int) -> tuple[int, int]:
        """Register and offset that together are a pointer."""
        root, off = self.folded.get(pointer, (pointer, 0))
        if root in self.slots:
            return R10, self.slots[root] + off
        return self.get(root, scratch), off

    def get(self, value: Value, scratch: int) -> int:
        """The register a value is in, which is `scratch` if it has to be fetched or made."""
        place = self.places.get(value)
        if place is not None and place >= 0:
            return place
        self.fetch(value, scratch)
        return scratch

    def fetch(self, value: Value, dst: int) -> None:
        """Put a value into a register."""
        place = self.places.get(value)
        if place is not None:
            if place < 0:
                self.add(_LOAD | 0x18, dst, R10, place)
            elif place != dst:
                self.add(MOV, dst, place)
            return
        root, off = self.folded.get(value, (value, 0))
        if root in self.slots:
            self.add(MOV, dst, R10)
            self.add(0x07, dst, imm=self.slots[root] + off)
            return
        if value in self.folded:
            self.fetch(root, dst)
            if off:
                self.add(0x07, dst, imm=off)
            return
        self._make(self.made[value], dst)

    def _make(self, made: Instr, dst: int) -> None:
        attrs = made.attrs
        match made.op:
            case "const":
                number = self.constant(made.result) if made.result else None
                assert number is not None
                self.set(dst, number)
            case "map_ptr":
                self.relocate(dst, "map", str(attrs["map"]))
            case "map_value":
                self.relocate(dst, "map_value", str(attrs["map"]))
            case "func_ptr":
                self.relocate(dst, "callback", str(attrs["function"]))
            case "rodata":
                data = attrs["data"]
                assert isinstance(data, bytes)
                self.relocate(dst, "map_value", Internal.RODATA, self.offsets[data])
            case _:
                raise CompilerBug(f"the native backend has no place for {made.op}")

    def target(self, value: Value, *avoid: int) -> int:
        """Where to compute a result: its register, or r0 if that has none or is still needed."""
        place = self.places.get(value, -1)
        return R0 if place < 0 or place in avoid else place

    def put(self, value: Value, src: int) -> None:
        """A result is in a register: take it to where it lives. Nothing, for one never used."""
        place = self.places.get(value)
        if place is None or place == src:
            return
        if place < 0:
            self.add(_STORE | 0x18, R10, src, place)
        else:
            self.add(MOV, place, src)

    # Moves

    def moves(self, wanted: list[tuple[int, Value]]) -> None:
        """Values to places, all at once; a place is a register or an offset in the frame."""
        pending: dict[int, int] = {}
        made: list[tuple[int, Value]] = []
        for to, value in wanted:
            place = self.places.get(value)
            if place is None:
                made.append((to, value))
            elif place != to:
                pending[to] = place
        while pending:
            free = next((to for to in pending if to not in pending.values()), None)
            if free is None:  # only circles are left: break one
                to, source = next(iter(pending.items()))
                self._move(R0, source)
                pending = {t: R0 if s == source else s for t, s in pending.items()}
                continue
            self._move(free, pending.pop(free))
        for to, value in made:
            if to < 0:
                self.fetch(value, R1)
                self._move(to, R1)
            else:
                self.fetch(value, to)

    def _move(self, to: int, source: int) -> None:
        if source < 0:
            into = to if to >= 0 else R2
            self.add(_LOAD | 0x18, into, R10, source)
            source = into
        if to < 0:
            self.add(_STORE | 0x18, R10, source, to)
        elif to != source:
            self.add(MOV, to, source)

    def edge(self, edge: Edge) -> None:
        pairs = zip(edge.block.params, edge.args, strict=True)
        self.moves([(self.places[p], a) for p, a in pairs if p in self.places])

    # The whole

    def compile(self) -> CodeFunction:
        self._arrive()
        for n, block in enumerate(self.blocks):
            self.place_label(self.names[block])
            after = self.blocks[n + 1] if n + 1 < len(self.blocks) else None
            for instr in block.instrs:
                self._locate(instr)
                self._instruction(instr, after)
        for index, slot, label in self.jumps:
            insn = self.code[index]
            off = self.labels[label] - slot
            self.code[index] = Insn(insn.code, insn.dst, insn.src, off, insn.imm)
        lines = tuple({line.instruction: line for line in self.lines}.values())
        encoded = isa.encode(self.code)
        return CodeFunction(self.function.name, encoded, tuple(self.relocations), lines)

    def _arrive(self) -> None:
        """Parameters come in r1–r5; r3–r5 may be wanted by others of them."""
        came = {p: n for n, p in enumerate(self.function.params, 1)}
        lives = self.places
        self.places = dict(came)
        self.moves([(lives[p], p) for p in came if p in lives])
        self.places = lives

    def _instruction(self, instr: Instr, after: Block | None) -> None:
        if instr.op in FREE or instr.result in self.fused or instr.result in self.folded:
            return
        if instr.op == "jump":
            self.edge(instr.targets[0])
            if instr.targets[0].block is not after:
                self.jump(isa.JA, self.names[instr.targets[0].block])
        elif instr.op == "branch":
            self._branch(instr, after)
        elif effect := EFFECTS.get(instr.op):
            effect(self, instr)
        else:
            raise CompilerBug(f"the native backend has no {instr.op}")

    def _branch(self, instr: Instr, after: Block | None) -> None:
        then, otherwise = instr.targets
        condition = instr.args[0]
        negate = then.block is after and not otherwise.args
        first, second = (otherwise, then) if negate else (then, otherwise)
        away = self.label() if first.args else self.names[first.block]
        test = self.made.get(condition) if condition in self.fused else None
        compare_and_jump(self, test, condition, away, negate=negate)
        self.edge(second)
        if first.args or second.block is not after:
            self.jump(isa.JA, self.names[second.block])
        if first.args:
            self.place_label(away)
            self.edge(first)
            if first.block is not after:
                self.jump(isa.JA, self.names[first.block])

    def _locate(self, instr: Instr) -> None:
        span = instr.span
        if span is not None and span.source.text == self.source.text:
            line, column = span.source.position(span.start)
            column = min(column, _MAX_COLUMN)
        elif self.size == 0:
            line, column = 1, 1
        else:
            return
        last = self.lines[-1] if self.lines else None
        if last is None or (last.line, last.column) != (line, column):
            where = self.size if self.lines else 0
            self.lines.append(Line(where, line, column))
