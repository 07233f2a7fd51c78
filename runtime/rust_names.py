"""Names of Rust functions: the v0 mangling (RFC 2603), without hashes of crates.

Names are hostile input and may refer back to their own parts: depth and length are bounded.
"""

from __future__ import annotations

from collections.abc import Callable

_BASIC = dict(
    zip(
        "abcdefhijlmnopstuvxyz",
        [
            "i8",
            "bool",
            "char",
            "f64",
            "str",
            "f32",
            "u8",
            "isize",
            "usize",
            "i32",
            "u32",
            "i128",
            "u128",
            "_",
            "i16",
            "u16",
            "()",
            "...",
            "i64",
            "u64",
            "!",
        ],
        strict=True,
    )
)
_SPECIAL = {"C": "closure", "S": "shim"}
_DEEPEST, _LONGEST = 100, 16384  # nested parts; characters
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class _Mangled(Exception):
    """The name breaks the rules of the scheme."""


def demangle(name: str) -> str | None:
    """`_RNvC5crate4main` → `crate::main`, or None for what is no such name."""
    text = name.removeprefix("_R").partition(".")[0]
    if text == name or not text.isascii():
        return None
    try:
        return _Name(text).path(True)
    except (_Mangled, IndexError, ValueError):
        return None


class _Name:
    """A reader of one name. Each method takes one production of the grammar and shows it."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0
        self._depth = self._bound = self._length = 0

    # Lexical

    def _peek(self) -> str:
        return self._text[self._at]

    def _next(self) -> str:
        self._at += 1
        return self._text[self._at - 1]

    def _eat(self, letter: str) -> bool:
        found = self._text.startswith(letter, self._at)
        self._at += found
        return found

    def _base62(self) -> int:
        if self._eat("_"):
            return 0
        value = 0
        while (digit := self._next()) != "_":
            value = value * 62 + _DIGITS.index(digit)
        return value + 1

    def _optional(self, letter: str) -> int:
        return self._base62() + 1 if self._eat(letter) else 0

    def _word(self) -> str:
        encoded, start = self._eat("u"), self._at
        while self._peek().isdigit() and self._text[start] != "0":
            self._at += 1
        if self._at == start:  # a single 0
            self._at += 1
        size = int(self._text[start : self._at])
        self._eat("_")
        self._at += size
        word = self._text[self._at - size : self._at]
        if len(word) != size:
            raise _Mangled
        return _unicode(word) if encoded else word

    def _until_end(self, part: Callable[[], str]) -> list[str]:
        parts = []
        while not self._eat("E"):
            parts.append(part())
        return parts

    def _back(self, part: Callable[[], str]) -> str:
        """What stands at an earlier place; the B is read."""
        target, after = self._base62(), self._at
        if target >= after - 1:
            raise _Mangled
        self._at = target
        shown = self._nested(part)
        self._at = after
        return shown

    def _nested(self, part: Callable[[], str]) -> str:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _Mangled
        shown = part()
        self._depth -= 1
        self._length += len(shown)
        if self._length > _LONGEST * _DEEPEST or len(shown) > _LONGEST:
            raise _Mangled
        return shown

    # Paths

    def path(self, value: bool = False) -> str:
        """value: where an expression could stand, so that generics need a turbofish."""
        return self._nested(lambda: self._path(value))

    def _path(self, value: bool) -> str:
        match self._next():
            case "C":
                self._optional("s")
                return self._word()
            case "N":
                return self._inner(value)
            case "M":
                self._impl()
                return f"<{self._type()}>"
            case "X":
                self._impl()
                return f"<{self._type()} as {self.path()}>"
            case "Y":
                return f"<{self._type()} as {self.path()}>"
            case "I":
                path = self.path(value)
                arguments = ", ".join(self._until_end(self._argument))
                return f"{path}{'::' if value else ''}<{arguments}>"
            case "B":
                return self._back(lambda: self.path(value))
        raise _Mangled

    def _impl(self) -> None:
        self._optional("s")
        self.path()

    def _inner(self, value: bool) -> str:
        space = self._next()
        path, number, word = self.path(value), self._optional("s"), self._word()
        if space.islower():
            return f"{path}::{word}" if word else path
        kind = _SPECIAL.get(space, space)
        return f"{path}::{{{kind}{':' if word else ''}{word}#{number}}}"

    def _argument(self) -> str:
        if self._eat("L"):
            return self._lifetime()
        return self._constant() if self._eat("K") else self._type()

    def _lifetime(self) -> str:
        index = self._base62()
        depth = self._bound - index
        if depth < 0:
            raise _Mangled
        return f"'{_DIGITS[10 + depth]}" if index and depth < 26 else "'_"

    # Types

    def _type(self) -> str:
        return self._nested(self._any_type)

    def _any_type(self) -> str:
        letter = self._next()
        if letter in _BASIC:
            return _BASIC[letter]
        match letter:
            case "A":
                return f"[{self._type()}; {self._constant()}]"
            case "S":
                return f"[{self._type()}]"
            case "T":
                parts = self._until_end(self._type)
                return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"
            case "R" | "Q":
                lifetime = self._lifetime() + " " if self._eat("L") else ""
                lifetime = "" if lifetime == "'_ " else lifetime
                return f"&{lifetime}{'mut ' if letter == 'Q' else ''}{self._type()}"
            case "P":
                return f"*const {self._type()}"
            case "O":
                return f"*mut {self._type()}"
            case "F":
                return self._binder(self._function)
            case "D":
                return self._dynamic()
            case "B":
                return self._back(self._type)
        self._at -= 1
        return self.path()

    def _binder(self, part: Callable[[], str]) -> str:
        count = self._optional("G")
        if count > 26:
            raise _Mangled
        names = ", ".join(f"'{_DIGITS[10 + self._bound + i]}" for i in range(count))
        self._bound += count
        shown = part()
        self._bound -= count
        return f"for<{names}> {shown}" if count else shown

    def _function(self) -> str:
        unsafe = "unsafe " if self._eat("U") else ""
        abi = ""
        if self._eat("K"):
            name = "C" if self._eat("C") else self._word().replace("_", "-")
            abi = f'extern "{name}" '
        arguments = ", ".join(self._until_end(self._type))
        result = self._type()
        return f"{unsafe}{abi}fn({arguments}){'' if result == '()' else f' -> {result}'}"

    def _dynamic(self) -> str:
        shown = "dyn " + self._binder(lambda: " + ".join(self._until_end(self._trait)))
        if not self._eat("L"):
            raise _Mangled
        lifetime = self._lifetime()
        return shown if lifetime == "'_" else f"{shown} + {lifetime}"

    def _trait(self) -> str:
        path, bindings = self.path(), []
        while self._eat("p"):
            bindings.append(f"{self._word()} = {self._type()}")
        if not bindings:
            return path
        inner = ", ".join(bindings)
        return f"{path[:-1]}, {inner}>" if path.endswith(">") else f"{path}<{inner}>"

    def _constant(self) -> str:
        if self._eat("B"):
            return self._back(self._constant)
        kind = self._next()
        if kind == "p":
            return "_"
        sign, start = "-" if self._eat("n") else "", self._at
        self._at = self._text.index("_", start) + 1
        value = int(self._text[start : self._at - 1] or "0", 16)
        match kind:
            case "b":
                return "true" if value else "false"
            case "c":
                return repr(chr(value))
        if kind not in "ahijlmnostxy":
            raise _Mangled
        return f"{sign}{value}"


def _unicode(word: str) -> str:
    """Punycode, with `_` where that has `-`."""
    head, mark, tail = word.rpartition("_")
    return f"{head}{'-' if mark else ''}{tail}".encode().decode("punycode")
