"""Values as JSON (LANGUAGE §7.1, §7.5)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bpfscript.types import Int

from .values import Show, Values, buffer_bytes

_ESCAPES = {
    **{chr(code): f"\\u{code:04x}" for code in range(32)},
    '"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t",
}  # fmt: skip
_SPECIAL = re.compile(r'["\\\x00-\x1f]')
_LONE = re.compile("[\ud800-\udfff]")
_EXACT = 1 << 53  # below it every integer is a double


def quote(text: str) -> str:
    """A JSON string. Bytes that are not UTF-8 become U+FFFD, for JSON has no room for them."""
    if not text.isascii():
        text = _LONE.sub("\ufffd", _whole(text))
    return f'"{_SPECIAL.sub(lambda found: _ESCAPES[found[0]], text)}"'


def _whole(text: str) -> str:
    """Bytes that met only now may be a character together (`%c%c`)."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


def number(value: int) -> str:
    """A number, or a string if a double cannot hold it exactly."""
    if -_EXACT <= value <= _EXACT or int(float(value)) == value:
        return str(value)
    return f'"{value}"'


def show_all(show: Show, values: Sequence[Any]) -> Sequence[object]:
    """What `str` makes into what `show` shows: integers that doubles hold stay what they are."""
    if show is number and min(values) >= -_EXACT and max(values) <= _EXACT:
        return values
    return list(map(show, values))


class JsonValues(Values):
    """Shapes whose text is JSON."""

    brackets = ("[", ",", "]")

    def integer(self, t: Int) -> Show:
        return number

    def pointer(self, value: int) -> str:
        return number(value)

    def buffer(self, raw: bytes) -> str:
        return f"[{','.join(str((b ^ 128) - 128) for b in buffer_bytes(raw))}]"

    def word(self, show: Show) -> Show:
        return lambda value: quote(show(value))

    def members(self, names: Sequence[str], texts: Sequence[str]) -> str:
        return "{" + ", ".join(f"{quote(n)}: {v}" for n, v in zip(names, texts, strict=True)) + "}"
