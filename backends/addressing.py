"""Legal IR made ready for instruction selection: what an instruction can hold is put into it.

    %q = ptr_add %p, 8; load %q {off=4}   →  load %p {off=12}
    sdiv %a, %b                           →  udiv of absolute values, then the sign (before ISA v4)

`Places` then tells which values need no register at all: constants and fixed addresses (of slots,
maps, constants, functions) are made again at each use, and a comparison that only a branch or a
select asks for is made there. Cost: linear.
"""

from __future__ import annotations

from bpfscript.ir.core import Function, Instr, Value
from bpfscript.ir.ops import ENDS, WRITES
from bpfscript.ir.types import I64, I
from bpfscript.passes.liveness import FREE
from bpfscript.passes.values import definitions, effects, operands

COMPARES = frozenset(("eq", "ne", "ult", "ule", "slt", "sle", "is_null"))
_OFFSETS = dict.fromkeys(("load", "store", "cmpxchg", "fill"), ("off",)) | {"copy": ("off", "from")}
_ASKED = 4  # times that a comparison is made again rather than kept
_REACH = 1 << 14  # offsets kept far inside the 16 bits that an instruction has


def prepare(function: Function, *, signed_division: bool) -> None:
    """Rewrite a function in place; it means the same."""
    if not signed_division:
        _expand_divisions(function)
    made = definitions(function)
    for instr in function.instructions():
        for n, attr in enumerate(_OFFSETS.get(instr.op, ())):
            instr.args[n], instr.attrs[attr] = _fold(made, instr.args[n], number(instr.attrs[attr]))


def _fold(made: dict[Value, Instr], pointer: Value, offset: int) -> tuple[Value, int]:
    while (moved := made.get(pointer)) and moved.op == "ptr_add":
        step = made.get(moved.args[1])
        if step is None or step.op != "const":
            break
        further = offset + number(step.attrs["value"])
        if not -_REACH < further < _REACH:
            break
        pointer, offset = moved.args[0], further
    return pointer, offset


def _expand_divisions(function: Function) -> None:
    for block in function.blocks:
        if any(instr.op == "sdiv" for instr in block.instrs):
            out: list[Instr] = []
            for instr in block.instrs:
                out += _signed_division(instr) if instr.op == "sdiv" else [instr]
            block.instrs = out


def _signed_division(instr: Instr) -> list[Instr]:
    assert instr.result and isinstance(instr.result.type, I)
    type, out = instr.result.type, list[Instr]()

    def op(name: str, a: Value, b: Value, result: Value | None = None) -> Value:
        made = result or Value(type)
        out.append(Instr(name, [a, b], {}, made, span=instr.span))
        return made

    top = Value(type)
    out.append(Instr("const", attrs={"value": type.bits - 1}, result=top))
    a, b = instr.args
    sign_a, sign_b = op("ashr", a, top), op("ashr", b, top)
    size_a, size_b = (op("sub", op("xor", x, s), s) for x, s in ((a, sign_a), (b, sign_b)))
    sign = op("xor", sign_a, sign_b)
    op("sub", op("xor", op("udiv", size_a, size_b), sign), sign, instr.result)
    return out


class Places:
    """Where the values of a prepared function can be had.

    fixed   value → the instruction of its base (a row of FREE), bytes or number to add
    fused   comparisons, by result, that are made where they are used
    dead    instructions without effect whose results nobody needs
    needed  results that somebody needs in a register or a word
    """

    def __init__(self, function: Function) -> None:
        self.made = definitions(function)
        self.fixed: dict[Value, tuple[Instr, int]] = {}
        for instr in function.instructions():
            self._place(instr)
        self.dead = self._find_dead(function)
        self.fused = self._find_fused(function)
        self.needed = {v for i in function.instructions() for v in self.operands(i)}

    def _place(self, instr: Instr) -> None:
        if instr.result and instr.op in FREE:
            self.fixed[instr.result] = instr, 0
        elif instr.op == "ptr_add" and instr.result:
            base, step = (self.fixed.get(a) for a in instr.args)
            known = step and step[0].op == "const"
            if base and step and known and base[0].op in ("slot", "map_value", "rodata"):
                self.fixed[instr.result] = base[0], base[1] + number(step[0].attrs["value"])

    def constant(self, value: Value) -> int | None:
        """A constant as the register holds it: not negative, in the width of its type."""
        found = self.fixed.get(value)
        if found is None or found[0].op != "const":
            return None
        type = value.type
        assert isinstance(type, I)
        return number(found[0].attrs["value"]) & (1 << type.bits) - 1

    def highest(self, value: Value) -> int:
        """How many low bits of a value may not be zero, as far as its instruction tells."""
        made, bits = self.made.get(value), width(value)
        if made and made.op == "zext":
            return width(made.args[0])
        by = self.constant(made.args[1]) if made and made.op in ("lshr", "and") else None
        if made and by is not None:
            return bits - by % bits if made.op == "lshr" else by.bit_length()
        return bits

    def relocated(self, value: Value) -> Instr | None:
        """The `core` operation of a value that an instruction can have as its immediate."""
        base = self.fixed.get(value, (None, 0))[0]
        return base if base and base.op == "core" and not is_wide(base) else None

    def _find_dead(self, function: Function) -> set[Instr]:
        todo = [i for i in function.instructions() if effects(i) & (WRITES | ENDS)]
        needed = set(todo)
        while todo:
            for value in operands(todo.pop()):
                made = self.made.get(value)
                if made and made not in needed:
                    needed.add(made)
                    todo.append(made)
        return {i for i in function.instructions() if i not in needed}

    def _find_fused(self, function: Function) -> set[Value]:
        """Compared where it is asked: by branches and selects only, and not by many.

        may_goto is a branch by itself, if the one that wants to know comes right behind.
        """
        uses: dict[Value, list[Instr]] = {}
        ends = {tuple(block.instrs[-2:]) for block in function.blocks}
        for instr in function.instructions():
            for value in operands(instr):
                uses.setdefault(value, []).append(instr)
        found = set()
        for value, made in self.made.items():
            users = uses.get(value, [])
            if made.op == "may_continue":
                if [u.op for u in users] == ["branch"] and (made, *users) in ends:
                    found.add(value)
                continue
            few = made.op in COMPARES and 0 < len(users) <= _ASKED
            if few and all(_is_condition(value, user) for user in users):
                found.add(value)
        return found

    def operands(self, instr: Instr) -> list[Value]:
        """What an instruction needs in registers or memory when it runs."""
        if instr in self.dead or instr.result in self.fused or instr.result in self.fixed:
            return []
        found: list[Value] = []
        for value in operands(instr):
            found += self.made[value].args if value in self.fused else [value]
        return [v for v in found if v not in self.fixed]


def _is_condition(value: Value, user: Instr) -> bool:
    """Whether a branch or select asks for a value, and for nothing else of it."""
    asks = user.op in ("branch", "select") and user.args[0] is value
    return asks and list(operands(user)).count(value) == 1


def is_wide(core: Instr) -> bool:
    """Whether the number takes all 64 bits, on this kernel or another."""
    return str(core.attrs["of"]).startswith("enumval_value ")


def number(attr: object) -> int:
    assert isinstance(attr, int)
    return attr


def width(value: Value) -> int:
    """Bits of a value: 64 for pointers."""
    return value.type.bits if isinstance(value.type, I) else I64.bits
