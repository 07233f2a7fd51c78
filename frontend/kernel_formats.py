"""Formats that the kernel fills in: a pinned iterator's printf(), whose text goes into its file.

What is possible: bpf_bprintf_prepare, kernel/bpf/helpers.c. Every argument takes 8 bytes.
"""

from __future__ import annotations

import re

from bpfscript.types import Aggregate, Bool, Int, Pointer, String, Type

from .check_formats import CONVERSION, conversions

LIMIT = 12  # arguments, MAX_BPRINTF_VARARGS
_INTEGERS = {c: f"ll{c}" for c in "diuxX"}
_SHOWN = {**_INTEGERS, "p": "llx", "c": "c", "s": "s"}


def fault(format: str, types: list[Type | None]) -> str | None:
    """Why the kernel cannot fill in a format that bpfscript could."""
    if not format.isascii():
        return "only ASCII in what the kernel formats"
    if len(types) > LIMIT:
        return f"the kernel formats no more than {LIMIT} arguments"
    if "%" in CONVERSION.sub("", format.replace("%%", "")):
        return "the kernel does not format a lone %"
    for match in CONVERSION.finditer(format.replace("%%", "")):
        if match["conversion"] not in _SHOWN or match["precision"] or "*" in (match["width"] or ""):
            return f"the kernel does not format {match[0]}"
        if "#" in match["flags"]:
            return f"the kernel does not format {match[0]}"
    for conversion, type in zip(conversions(format), types, strict=True):
        able = String if conversion == "s" else (Int, Bool, Pointer, Aggregate)
        if type is not None and not isinstance(type, able):
            return f"the kernel does not format '{type}' by %{conversion}"
    return None


def kernel_format(format: str) -> str:
    """The format as the kernel takes it, where every integer has 64 bits."""

    def one(match: re.Match[str]) -> str:
        conversion = match["conversion"]
        if conversion == "%":
            return "%%"
        prefix = "0x" if conversion == "p" else ""
        return f"{prefix}%{match['flags']}{match['width'] or ''}{_SHOWN[conversion]}"

    return CONVERSION.sub(one, format)
