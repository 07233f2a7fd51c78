"""Integer and string literals: from text to value."""

from __future__ import annotations

import re

from bpfscript.frontend.patterns import Pattern

UINT64_MAX = 2**64 - 1

DURATIONS = {  # nanoseconds
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
C_LIMITS = {
    "u": 2**32 - 1,
    "l": 2**63 - 1,
    "ll": 2**63 - 1,
    "ul": UINT64_MAX,
    "ull": UINT64_MAX,
}
ESCAPES = {"n": 10, "t": 9, "r": 13, '"': 34, "\\": 92}

NUMBER = Pattern(r"([0-9]+)(?:[eE]([0-9]*))?([A-Za-z]*)")
ESCAPE = Pattern(r"\\(?:[0-7]{1,3}|[xX][0-9a-fA-F]{0,2}|(?s:.)|\Z)")


class LiteralFault(Exception):
    """A literal that has no value. `start` and `end` are offsets in the text given."""

    def __init__(self, message: str, start: int, end: int) -> None:
        self.message, self.start, self.end = message, start, end
        super().__init__(message)


def integer(text: str) -> int:
    """Value of an unsigned integer: decimal, octal, hex or binary, with `_`, exponent or suffix.

    A duration suffix multiplies to nanoseconds, a C suffix (either case) only limits the value.
    Also used where strings are converted (parameters). Raises LiteralFault.
    """

    def fault(message: str, shown: str = text) -> LiteralFault:
        return LiteralFault(f"{message}: {shown}", 0, len(text))

    digits = text.replace("_", "")
    prefix = digits[:2].lower()
    if prefix in ("0x", "0b"):
        base = 16 if prefix == "0x" else 2
        if not digits[2:]:
            raise fault("invalid integer", "")
        try:
            value = int(digits[2:], base)
        except ValueError:
            raise fault("invalid trailing bytes") from None
        if value > UINT64_MAX:
            raise fault(f"overflow error, maximum value is {UINT64_MAX}", digits[2:])
        return value

    match = NUMBER.compiled.fullmatch(digits)
    if not match:
        raise fault("invalid integer" if not digits[:1].isdecimal() else "invalid trailing bytes")
    number, exponent, suffix = match.groups()
    limit = UINT64_MAX if suffix in DURATIONS else C_LIMITS.get(suffix.lower() or "ull")
    if limit is None:
        raise fault("invalid trailing bytes")
    if exponent is not None:
        if len(number) != 1 or number == "0":
            if exponent:
                raise fault("coefficient part of scientific literal must be 1-9")
            raise fault("invalid trailing bytes")
        if exponent[:1] in ("", "0"):
            raise fault("invalid trailing bytes")
    octal = exponent is None and len(number) > 1 and number[0] == "0"
    if octal and not set(number) <= set("01234567"):
        raise fault("invalid trailing bytes")
    if len(number) > 30 or len(exponent or "") > 2:  # keep the arithmetic small
        number, exponent, octal = "9" * 30, None, False
    value = int(number, 8 if octal else 10) * int("1" + "0" * int(exponent or 0))
    value *= DURATIONS.get(suffix, 1)
    if value > limit:
        raise fault(f"overflow error, maximum value is {limit}")
    return value


def string(body: str) -> bytes:
    """Bytes of a string literal, given what stands between its quotes. Raises LiteralFault."""
    result, at = bytearray(), 0
    while at < len(body):
        if body[at] != "\\":
            end = body.find("\\", at)
            end = len(body) if end < 0 else end
            result += encode(body[at:end])
            at = end
            continue
        match = ESCAPE.match(body, at)
        assert match
        result.append(_escape(match))
        at = match.end()
    return bytes(result)


def encode(text: str) -> bytes:
    """Bytes of script text as they were in the file. Raises LiteralFault."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as e:
        raise LiteralFault("character that no file can hold", e.start, e.end) from None


def _escape(match: re.Match[str]) -> int:
    letter, start, end = match[0][1:2], match.start(), match.end()
    if "0" <= letter <= "7":
        value = int(match[0][1:], 8)
        if value > 255:
            raise LiteralFault(f"octal escape sequence out of range '{match[0]}'", start, end)
        return value
    if letter and letter in "xX":
        if len(match[0]) == 2:
            raise LiteralFault("invalid hex escape sequence", end, end + 1)
        return int(match[0][2:], 16)
    if letter not in ESCAPES:
        raise LiteralFault(f"invalid escape character '{match[0]}'", start + 1, end)
    return ESCAPES[letter]


def quote(value: bytes) -> str:
    """A string literal, with its quotes, that has this value. The inverse of `string`."""
    named = {code: f"\\{letter}" for letter, code in ESCAPES.items()}
    shown = []
    for character in value.decode("utf-8", "surrogateescape"):
        code = ord(character)
        if code < 0x20 or code == 0x7F or code in named:
            shown.append(named.get(code, f"\\x{code:02x}"))
        elif 0xDC80 <= code <= 0xDCFF:  # a byte that is not UTF-8
            shown.append(f"\\x{code - 0xDC00:02x}")
        else:
            shown.append(character)
    return f'"{"".join(shown)}"'
