"""printf against what bpftrace 0.27.1 prints, recorded in printf_upstream.tsv."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import Manifest
from bpfscript.runtime.gfp import gfp_flags
from bpfscript.runtime.printf import formatter
from bpfscript.runtime.symbols import Symbols
from bpfscript.runtime.values import Values
from bpfscript.types import (
    BOOL,
    INT8,
    INT32,
    INT64,
    UINT8,
    UINT32,
    UINT64,
    Buffer,
    Pointer,
    String,
    Tuple,
    Type,
)  # fmt: skip

VALUES: dict[str, tuple[Type, bytes]] = {
    "zero": (INT8, b"\0"),
    "i8_65": (INT8, b"A"),
    "minus3": (INT8, b"\xfd"),
    "big": (INT64, struct.pack("<q", 0x12345678ABCDEF)),
    "true": (BOOL, b"\1"),
    "null": (Pointer(INT8), bytes(8)),
    "pointer": (Pointer(INT8), struct.pack("<Q", 0x1234)),
    "lowest": (INT64, struct.pack("<q", -(2**63))),
    "highest": (UINT64, b"\xff" * 8),
    "u8_200": (UINT8, b"\xc8"),
    "i8_minus1": (INT8, b"\xff"),
    "u32_highest": (UINT32, b"\xff" * 4),
    "string": (String(7), b"abcdef\0"),
    "tuple": (Tuple((INT8, String(3), Tuple((INT8, INT8)))), b"\1hi\0\2\3"),
    "buffer": (Buffer(8), b"\4\0\0\0a\1bc"),
    "gfp": (INT64, struct.pack("<q", 0x400CC0)),
}
VALUES_OF = Values(Manifest(), Symbols())


def recorded() -> list[tuple[str, str, str]]:
    text = Path(__file__).with_name("printf_upstream.tsv").read_text("utf-8")
    rows = [line.split("\t") for line in text.splitlines() if not line.startswith("#")]
    return [(f, v, o.encode().decode("unicode_escape")) for f, v, o in rows]


def printed(text: str, *values: tuple[Type, bytes]) -> str:
    """What a record with these values shows, one character for each byte."""
    offsets, record = [], bytes(8)
    for _, raw in values:
        offsets.append(len(record))
        record += raw.ljust(8, b"\0")
    show = formatter(text, [t for t, _ in values], offsets, VALUES_OF)
    return show(memoryview(record)).encode("utf-8", "surrogateescape").decode("latin-1")


def test_recorded() -> None:
    rows = recorded()
    assert len(rows) > 300
    ours = [(f, v, printed(f"[{f}]", VALUES[v])) for f, v, _ in rows]
    assert ours == rows


def test_literal_text() -> None:
    assert printed("50%% of %d%%\n", VALUES["i8_65"]) == "50% of 65%\n"
    assert printed("%%d") == "%d"
    assert printed("") == ""


def test_several_fields() -> None:
    five = (INT32, struct.pack("<i", 5))
    assert printed("%s:%d=%x|", VALUES["string"], five, VALUES["big"]) == "abcdef:5=78abcdef|"


def test_bytes_that_are_one_character_together() -> None:
    assert printed("%c%c", (UINT8, b"\xc3"), (UINT8, b"\xa9")) == "\xc3\xa9"


def test_width_counts_bytes() -> None:
    assert printed("[%4s]", (String(4), "é\0".encode())) == "[  \xc3\xa9]"


@pytest.mark.parametrize("text", ["%d", "%d %d %d", "%f"])
def test_what_the_checker_should_have_refused(text: str) -> None:
    with pytest.raises(CompilerBug):
        printed(text, VALUES["zero"], VALUES["zero"])


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (0, "0"),
        (1, "GFP_DMA"),
        (0xCC0, "GFP_KERNEL"),
        (0xDC0, "GFP_KERNEL|__GFP_ZERO"),
        (0x822, "GFP_ATOMIC|__GFP_HIGHMEM"),
        (0x2920, "GFP_ATOMIC|__GFP_ZERO|__GFP_NOWARN"),
        (0x146CCA, "GFP_HIGHUSER|__GFP_NOWARN|__GFP_RETRY_MAYFAIL|__GFP_COMP|0x8"),
        (0x2100CCA, "GFP_HIGHUSER_MOVABLE"),
        (0x92880, "GFP_NOWAIT|__GFP_FS|__GFP_NORETRY|__GFP_NOMEMALLOC"),
        (0xC0000000, "0xc0000000"),
    ],
)
def test_gfp(value: int, names: str) -> None:
    assert gfp_flags(value) == names
