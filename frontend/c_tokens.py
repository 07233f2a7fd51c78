"""Tokens of plain C definitions, and the constant expressions in them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_TOKEN = re.compile(
    r"(?P<blank>\s+|//[^\n]*|/\*.*?\*/)|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<number>0[xX][0-9a-fA-F]+|0[bB][01]+|[0-9]+)[uUlL]*(?![\w.])|'(?P<character>\\?[^'])'"
    r"|(?P<sign><<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>?:=()\[\]{},;])",
    re.S,
)
_LEVELS = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", ">", "<=", ">="), ("<<", ">>"),
    ("+", "-"), ("*", "/", "%"),
)  # fmt: skip
_MAX_MACROS = 1000  # replacements in one definition
Token = str | int


class Unreadable(Exception):
    """What this reader has no rule for, or what is no C."""


def tokens(text: str) -> list[Token]:
    """Words and signs as text, numbers and characters as integers."""
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Unreadable(f"unexpected '{text[at]}'")
        at = match.end()
        match match.lastgroup:
            case "number":
                found.append(_number(match["number"]))
            case "character":
                found.append(_character(match["character"]))
            case "word" | "sign":
                found.append(match[0])
    return found


def _number(text: str) -> int:
    octal = text[0] == "0" and text.isdecimal() and len(text) > 1
    try:
        return int(text, 8 if octal else 0)
    except ValueError:
        raise Unreadable(f"'{text}' is no number") from None


def _character(text: str) -> int:
    if text[0] != "\\":
        return ord(text)
    if text[1] not in _ESCAPES:
        raise Unreadable(f"unknown character '{text}'")
    return _ESCAPES[text[1]]


_ESCAPES = {"0": 0, "n": 10, "t": 9, "r": 13, "a": 7, "b": 8, "f": 12, "v": 11, "\\": 92, "'": 39}


class Reader:
    """Goes through tokens, with macros (name → tokens) in place of their names."""

    def __init__(self, text: str, macros: Mapping[str, list[Token]]) -> None:
        self._rest = tokens(text)[::-1]
        self._macros, self._replaced = macros, 0
        self.constants: dict[str, int] = {}
        self.size_of: Callable[[], int] = lambda: 0  # of the type that follows

    @property
    def next(self) -> Token:
        """The token at hand; "" at the end."""
        while self._rest and (made := self._macros.get(str(self._rest[-1]))) is not None:
            self._replaced += 1
            if self._replaced > _MAX_MACROS:
                raise Unreadable(f"'{self._rest[-1]}' stands for itself")
            self._rest[-1:] = made[::-1]
        return self._rest[-1] if self._rest else ""

    def take(self) -> Token:
        token = self.next
        if token == "":
            raise Unreadable("unexpected end")
        self._rest.pop()
        return token

    def accept(self, *wanted: str) -> str:
        """The token at hand if it is one of those, which is taken, or else ""."""
        token = self.next
        if isinstance(token, str) and token in wanted:
            self._rest.pop()
            return token
        return ""

    def expect(self, wanted: str) -> None:
        if not self.accept(wanted):
            raise Unreadable(f"expected '{wanted}' before '{self.next}'")

    def word(self) -> str:
        token = self.take()
        if not isinstance(token, str) or not (token[0].isalpha() or token[0] == "_"):
            raise Unreadable(f"expected a name before '{token}'")
        return token

    def skip_parentheses(self) -> None:
        """Skip what is between parentheses, the first of which is taken."""
        depth = 1
        while depth:
            token = self.take()
            depth += (token == "(") - (token == ")")

    # Constant expressions

    def constant(self) -> int:
        condition = self._binary(0)
        if not self.accept("?"):
            return condition
        then = self.constant()
        self.expect(":")
        otherwise = self.constant()
        return then if condition else otherwise

    def _binary(self, level: int) -> int:
        if level == len(_LEVELS):
            return self._unary()
        left = self._binary(level + 1)
        while op := self.accept(*_LEVELS[level]):
            left = _computed(op, left, self._binary(level + 1))
        return left

    def _unary(self) -> int:
        if op := self.accept("-", "+", "~", "!"):
            value = self._unary()
            return {"-": -value, "+": value, "~": ~value, "!": int(not value)}[op]
        if self.accept("("):
            value = self.constant()
            self.expect(")")
            return value
        if self.accept("sizeof"):
            self.expect("(")
            value = self.size_of()
            self.expect(")")
            return value
        token = self.take()
        if isinstance(token, str):
            if token not in self.constants:
                raise Unreadable(f"'{token}' is not known here")
            return self.constants[token]
        return token


def _computed(op: str, a: int, b: int) -> int:
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/" | "%" if b:
            quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
            return quotient if op == "/" else a - b * quotient
        case "<<" if 0 <= b < 64:
            return a << b
        case ">>" if 0 <= b < 64:
            return a >> b
        case "&":
            return a & b
        case "|":
            return a | b
        case "^":
            return a ^ b
        case "&&":
            return int(bool(a and b))
        case "||":
            return int(bool(a or b))
        case "==" | "!=" | "<" | ">" | "<=" | ">=":
            return int(
                {"==": a == b, "!=": a != b, "<": a < b, ">": a > b, "<=": a <= b, ">=": a >= b}[op]
            )
    raise Unreadable(f"{a} {op} {b} has no value")
