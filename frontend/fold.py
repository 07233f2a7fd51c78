"""Arithmetic on literals, done while compiling (LANGUAGE §1.13).

Integers are exact: a result outside of [-2^63, 2^64) is a fault, never a wrapped number.
"""

from __future__ import annotations

import operator
from collections.abc import Callable

from .literals import LiteralFault, integer
from .typed import Constant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OVERFLOW = "unable to fold literals due to overflow or underflow"
ALWAYS_EMPTY = "literal string will always be empty"


class FoldError(Exception):
    """These literals do not go together. `str()` is the message of the diagnostic."""


def parse_number(text: str) -> int | None:
    """The integer that a parameter's text stands for, or None: it is a string."""
    try:
        value = integer(text.removeprefix("-"))
    except LiteralFault:
        return None
    value = -value if text.startswith("-") else value
    return value if value >= -(1 << 63) else None


def _in_range(value: int) -> int:
    if not -(1 << 63) <= value < 1 << 64:
        raise FoldError(OVERFLOW)
    return value


def _divide(a: int, b: int) -> int:
    if b == 0:
        raise FoldError(OVERFLOW)
    quotient = abs(a) // abs(b)
    return quotient if (a < 0) == (b < 0) else -quotient


def _shift(shift: Callable[[int, int], int]) -> Callable[[int, int], int]:
    def checked(a: int, b: int) -> int:
        if not 0 <= b < 64:
            raise FoldError(OVERFLOW)
        return shift(a, b)

    return checked


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt,
    "<=": operator.le, ">=": operator.ge,
}  # fmt: skip

ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": _divide,
    "%": lambda a, b: a - b * _divide(a, b), "&": operator.and_, "|": operator.or_,
    "^": operator.xor, "<<": _shift(operator.lshift), ">>": _shift(operator.rshift),
}  # fmt: skip


def fold_binary(op: str, a: Constant, b: Constant) -> Constant:
    """`a op b`. Raises FoldError."""
    if isinstance(a, bytes) or isinstance(b, bytes):
        return _fold_strings(op, a, b)
    if op in COMPARE:
        return COMPARE[op](a, b)
    if op == "&&":
        return bool(a) and bool(b)
    if op == "||":
        return bool(a) or bool(b)
    return _in_range(ARITHMETIC[op](a, b))


def _fold_strings(op: str, a: Constant, b: Constant) -> Constant:
    if isinstance(a, bytes) and isinstance(b, bytes):
        if op in COMPARE:
            return COMPARE[op](a, b)
        if op == "+":
            return a + b
        if op in ("&&", "||"):
            return (bool(a) and bool(b)) if op == "&&" else (bool(a) or bool(b))
    if isinstance(b, bytes) and type(a) is int and a >= 0 and op == "+":
        return b[a:]
    if isinstance(a, bytes) and type(b) is int and op == "+":
        return a[b:] if b >= 0 else a
    raise FoldError("illegal literal operation with strings")


def fold_unary(op: str, value: Constant) -> Constant | None:
    """`op value`; None where the literal stays as it is (`*1` reads memory). Raises FoldError."""
    if op == "*":
        return None
    if isinstance(value, bytes):
        raise FoldError("illegal literal operation with strings")
    if op == "!":
        return not value
    if op == "~":
        return ~int(value) & (1 << 64) - 1
    if value > 1 << 63:
        raise FoldError("negative value will underflow")
    return -int(value)
