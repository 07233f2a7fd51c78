"""Format strings against their arguments (LANGUAGE §7.2)."""

from __future__ import annotations

import re

from bpfscript.types import VOID, Aggregate, Bool, Buffer, Int, Pointer, Type

# %[flags][width][.precision][length]conversion. A % before what is no conversion of C stands for
# itself.
CONVERSION = re.compile(
    r"%(?P<flags>-?\+? ?#?0?)(?P<width>\d+|\*)?(?P<precision>\.(?:\d+|\*)?)?"
    r"(?P<length>hh|h|ll|l|L|j|z|t|q)?(?P<conversion>rx|rh|r|gr|[diouxXeEfFgGaAcspn%])"
)
NUMBERS = frozenset("diuoxXcp")
BUFFERS = frozenset(("r", "rx", "rh"))
SUPPORTED = NUMBERS | BUFFERS | {"s", "gr"}
DEBUG = frozenset("duxps")


def conversions(format: str) -> list[str]:
    """The conversions of a format that take an argument, in order."""
    found = (m["conversion"] for m in CONVERSION.finditer(format.replace("%%", "")))
    return [c for c in found if c != "%"]


def format_fault(
    format: str, arguments: list[Type | None], aggregates: list[Aggregate | None]
) -> str | None:
    """What is wrong with a format and its arguments, some of which read `aggregates`."""
    wanted = conversions(format)
    for conversion in wanted:
        if conversion not in SUPPORTED:
            return f"unsupported format specifier: {conversion}"
    if len(arguments) != len(wanted):
        word = "not enough" if len(arguments) < len(wanted) else "too many"
        return (
            f"{word} arguments for format string "
            f"({len(arguments)} supplied, {len(wanted)} expected)"
        )
    for conversion, type, aggregate in zip(wanted, arguments, aggregates, strict=True):
        if type == VOID:
            return f"unable to print none type for specifier: {conversion}"
        shown = aggregate or type
        if shown is not None and not _accepts(conversion, shown):
            return f"unsupported format specifier for type '{shown}': {conversion}"
    return None


def _accepts(conversion: str, type: Type) -> bool:
    if conversion in NUMBERS:
        return isinstance(type, Int | Bool | Pointer)
    if conversion in BUFFERS:
        return isinstance(type, Buffer)
    return conversion == "s" or isinstance(type, Int)


def formatted(format: str, values: list[object]) -> str:
    """The text that a format and literals give while compiling."""
    rest = iter(values)

    def one(match: re.Match[str]) -> str:
        if match["conversion"] == "%":
            return "%"
        value = next(rest, "")
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if match["conversion"] in ("x", "X") and isinstance(value, int):
            return f"{value:{match['conversion']}}"
        return str(value)

    return CONVERSION.sub(one, format)
