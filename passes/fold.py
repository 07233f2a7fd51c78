"""Constant folding, algebraic identities, branches that are decided.

    %2 = add %0, %1 (2 and 3)   →  %2 = const 5
    %3 = add %x, const 0        →  uses of %3 use %x
    branch const 1, a, b        →  jump a
    %4 = eq sext %0, sext %1    →  %4 = eq %0, %1

One walk in reverse postorder, so that most operands are folded before their uses. Cost: linear.
"""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Function, Instr, Value
from bpfscript.ir.ops import OPS
from bpfscript.ir.types import I

from .values import place, replace


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) & 1 else value


def _sdiv(a: int, b: int, bits: int) -> int:
    a, b = _signed(a, bits), _signed(b, bits)
    quotient = abs(a) // abs(b) if b else 0
    return -quotient if (a < 0) != (b < 0) else quotient


FOLD: dict[str, Callable[[int, int, int], int]] = {
    "add": lambda a, b, bits: a + b,
    "sub": lambda a, b, bits: a - b,
    "mul": lambda a, b, bits: a * b,
    "udiv": lambda a, b, bits: a // b if b else 0,
    "urem": lambda a, b, bits: a % b if b else a,
    "sdiv": _sdiv,
    "and": lambda a, b, bits: a & b,
    "or": lambda a, b, bits: a | b,
    "xor": lambda a, b, bits: a ^ b,
    "shl": lambda a, b, bits: a << b % bits,
    "lshr": lambda a, b, bits: a >> b % bits,
    "ashr": lambda a, b, bits: _signed(a, bits) >> b % bits,
    "eq": lambda a, b, bits: int(a == b),
    "ne": lambda a, b, bits: int(a != b),
    "ult": lambda a, b, bits: int(a < b),
    "ule": lambda a, b, bits: int(a <= b),
    "slt": lambda a, b, bits: int(_signed(a, bits) < _signed(b, bits)),
    "sle": lambda a, b, bits: int(_signed(a, bits) <= _signed(b, bits)),
}
"""Result of each operation of two integers that are unsigned in `bits`; to be wrapped."""


def fold(function: Function) -> None:
    """Fold what constants decide. Leaves unused instructions and unreachable blocks behind."""
    folder = _Folder()
    for block in Graph(function).order:
        for instr in block.instrs:
            folder.visit(instr)
    replace(function, folder.stands_for)


class _Folder:
    def __init__(self) -> None:
        self.made: dict[Value, Instr] = {}
        self.stands_for: dict[Value, Value] = {}

    def visit(self, instr: Instr) -> None:
        instr.args = [self._final(a) for a in instr.args]
        for edge in instr.targets:
            edge.args = [self._final(a) for a in edge.args]
        if OPS[instr.op].commutes and self.constant(instr.args[0]) is not None:
            instr.args.reverse()
        same = self._simplify(instr)
        if instr.result and same is not None:
            self.stands_for[instr.result] = same
        if instr.result:
            self.made[instr.result] = instr

    def _final(self, value: Value) -> Value:
        while value in self.stands_for:
            value = self.stands_for[value]
        return value

    def constant(self, value: Value) -> int | None:
        """Its value, unsigned in its width."""
        instr = self.made.get(value)
        if instr is None or instr.op != "const":
            return None
        number = instr.attrs["value"]
        assert isinstance(number, int) and isinstance(value.type, I)
        return number % (1 << value.type.bits)

    def _simplify(self, instr: Instr) -> Value | None:
        """Change the instruction to a simpler one, or give the value that it always has."""
        if instr.op in FOLD:
            return self._binary(instr)
        match instr.op:
            case "zext" | "sext" | "trunc":
                return self._convert(instr)
            case "select":
                return self._select(instr)
            case "ptr_add" if self.constant(instr.args[1]) == 0:
                return instr.args[0]
            case "is_null" if self._is_object(instr.args[0]):
                self._become_const(instr, 0)
            case "branch":
                self._branch(instr)
            case "divide" if self.constant(instr.args[1]):
                self._become(instr, str(instr.attrs["op"]))
            case "bound":
                index, count = self.constant(instr.args[0]), instr.attrs["count"]
                assert isinstance(count, int)
                if index is not None and index < count:
                    return instr.args[0]
        return None

    def _is_object(self, pointer: Value) -> bool:
        """Whether a pointer leads into memory that is always there."""
        made = self.made.get(place(pointer, self.made)[0])
        return made is not None and made.op in ("slot", "rodata", "map_value")

    def _binary(self, instr: Instr) -> Value | None:
        left, right = (self.constant(a) for a in instr.args)
        type = instr.args[0].type
        assert isinstance(type, I)
        if right is None:
            self._narrow(instr)
            return self._same_operands(instr)
        if left is not None:
            self._become_const(instr, FOLD[instr.op](left, right, type.bits))
            return None
        if right == 0:
            if instr.op in ("add", "sub", "or", "xor", "shl", "lshr", "ashr", "urem"):
                return instr.args[0]
            if instr.op in ("and", "mul", "udiv", "sdiv", "ult"):
                self._become_const(instr, 0)
        neutral = {"mul": 1, "udiv": 1, "and": (1 << type.bits) - 1}
        if right == neutral.get(instr.op):
            return instr.args[0]
        return None

    def _narrow(self, instr: Instr) -> None:
        """Compare two integers as they were before both were extended in the same way."""
        left, right = (self.made.get(a) for a in instr.args)
        if left and right and left.op == right.op and left.op in ("sext", "zext"):
            fit = instr.op in ("eq", "ne") or (instr.op in ("ult", "ule") and left.op == "zext")
            if fit and left.args[0].type == right.args[0].type:
                instr.args = [left.args[0], right.args[0]]

    def _same_operands(self, instr: Instr) -> Value | None:
        if instr.args[0] is instr.args[1]:
            if instr.op in ("and", "or"):
                return instr.args[0]
            if instr.op in ("sub", "xor", "ne", "ult", "slt"):
                self._become_const(instr, 0)
            elif instr.op in ("eq", "ule", "sle"):
                self._become_const(instr, 1)
        return None

    def _convert(self, instr: Instr) -> Value | None:
        value, source = self.constant(instr.args[0]), instr.args[0].type
        assert instr.result and isinstance(source, I) and isinstance(instr.result.type, I)
        if value is not None:
            self._become_const(instr, _signed(value, source.bits) if instr.op == "sext" else value)
            return None
        inner = self.made.get(instr.args[0])
        if inner and instr.op == "trunc" and inner.op in ("zext", "sext"):
            if inner.args[0].type == instr.result.type:
                return inner.args[0]
        elif inner and inner.op == instr.op:
            instr.args = [inner.args[0]]
        return None

    def _select(self, instr: Instr) -> Value | None:
        condition, yes, no = instr.args
        known = self.constant(condition)
        if known is not None:
            return yes if known else no
        return yes if yes is no else None

    def _branch(self, instr: Instr) -> None:
        condition = self.made.get(instr.args[0])
        known = self.constant(instr.args[0])
        if known is not None:
            instr.op, instr.args = "jump", []
            instr.targets = [instr.targets[0 if known else 1]]
        elif condition and condition.op == "xor" and self.constant(condition.args[1]) == 1:
            instr.args = [condition.args[0]]
            instr.targets.reverse()

    def _become(self, instr: Instr, op: str) -> None:
        instr.op, instr.attrs = op, {}
        self.visit(instr)

    def _become_const(self, instr: Instr, value: int) -> None:
        assert instr.result and isinstance(instr.result.type, I)
        bits = instr.result.type.bits
        wrapped = value % (1 << bits)
        instr.op, instr.args = "const", []
        instr.attrs = {"value": wrapped if bits == 1 else _signed(wrapped, bits)}
