"""Formats that the kernel fills in."""

from __future__ import annotations

import pytest

from bpfscript.frontend.kernel_formats import fault, kernel_format
from bpfscript.types import INT32, UINT64, Buffer, String, Type


@pytest.mark.parametrize(
    ("ours", "kernels"),
    [
        ("%d %u %x %X %i\n", "%lld %llu %llx %llX %lli\n"),
        ("%-10s|%5d|%05lx", "%-10s|%5lld|%05llx"),
        ("%p %c 100%%", "0x%llx %c 100%%"),
    ],
)
def test_every_integer_has_64_bits(ours: str, kernels: str) -> None:
    assert kernel_format(ours) == kernels


@pytest.mark.parametrize(
    ("format", "types", "why"),
    [
        ("%d", [INT32], None),
        ("%s %p", [String(16), UINT64], None),
        ("%.5s", [String(16)], "does not format %.5s"),
        ("%*d", [INT32], "does not format %*d"),
        ("%#x", [INT32], "does not format %#x"),
        ("%o", [INT32], "does not format %o"),
        ("%r", [Buffer(16)], "does not format %r"),
        ("50%", [], "does not format a lone %"),
        ("%s", [INT32], "does not format 'int32' by %s"),
        ("ä", [], "only ASCII"),
        ("%d" * 13, [INT32] * 13, "no more than 12"),
    ],
)
def test_what_it_cannot(format: str, types: list[Type | None], why: str | None) -> None:
    found = fault(format, types)
    assert found is None if why is None else why in (found or "")
