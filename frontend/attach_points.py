"""Text of an attach point → its parts: quotes, escapes, positional parameters (LANGUAGE §1.4).

t:sched:"sched_$1"   →   ["t", "sched", "sched_$1"]
u:./prog@prog.c:$1   →   ["u", "./prog", "@", "prog.c", "11"]
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from . import literals
from .patterns import Pattern

_PARAMETER = Pattern(r'(?P<quoted>"(?:\\.|[^"\\])*"?)|\$(?P<following>[0-9]+|[^0-9]|$)')


class MalformedError(Exception):
    """Text that is no attach point or no number. `str()` is the message for the user."""


def split(text: str, positional: Sequence[str] = ()) -> list[str]:
    """The parts of an attach point, the kind of probe first. Raises MalformedError.

    Parameters are inserted before the text is split: `t:$1` with "sched:sched_switch" has three
    parts.
    """
    parts, quoted = [""], False
    characters = iter(_substitute(text, positional))
    for character in characters:
        if character == '"':
            quoted = not quoted
        elif quoted:
            parts[-1] += next(characters, "") if character == "\\" else character
        elif character == ":":
            parts.append("")
        elif character == "@":
            parts += ["@", ""]
        else:
            parts[-1] += character
    kind = parts[0]
    parts[0] = kind.partition("=")[2] if "=" in kind else kind  # a name given by the user
    return parts


def _substitute(text: str, positional: Sequence[str]) -> str:
    """Replace `$N` outside quotes; a parameter that was not given is empty."""

    def value(found: re.Match[str]) -> str:
        if found["quoted"] is not None:
            return found[0]
        following = found["following"]
        if not following:
            raise MalformedError("positional parameter is not valid: invalid integer: ")
        if not re.fullmatch("[1-9][0-9]*", following):
            raise MalformedError(
                f"invalid trailing character for positional param: {following[0]}. Try quoting "
                f'this entire part if this is intentional e.g. "${following[0]}".'
            )
        try:
            number = integer(following)
        except MalformedError as error:
            raise MalformedError(f"positional parameter is not valid: {error}") from error
        return positional[number - 1] if number <= len(positional) else ""

    return _PARAMETER.compiled.sub(value, text)


def integer(text: str) -> int:
    """A number as an attach point has it: 0x10, 1e6, 10ms (in ns), -5.

    Raises MalformedError, with a message to put after what the number is for.
    """
    try:
        value = literals.integer(text.removeprefix("-"))
    except literals.LiteralFault as error:
        raise MalformedError(error.message) from error
    return -value if text.startswith("-") else value


def is_number(text: str) -> bool:
    """Whether a function's place holds an address instead."""
    try:
        integer(text)
    except MalformedError:
        return False
    return True
