"""Integer and string literals."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpfscript.frontend.literals import LiteralFault, integer, quote, string

VALUES = {
    "0": 0,
    "1_000_000": 1_000_000,
    "0xFf": 255,
    "0XF_F": 255,
    "0b101": 5,
    "0777": 511,
    "00": 0,
    "1e3": 1000,
    "1e1_0": 10**10,
    "9e18": 9 * 10**18,
    "10ms": 10**7,
    "5us": 5000,
    "1e3ms": 10**9,
    "010ms": 8 * 10**6,
    "213503d": 213503 * 86400 * 10**9,
    "1u": 1,
    "1ull": 1,
    "1UL": 1,
    "18446744073709551615": 2**64 - 1,
}
FAULTS = {
    "": "invalid integer: ",
    "-1": "invalid integer: -1",
    "0x": "invalid integer: ",
    "089": "invalid trailing bytes: 089",
    "1e": "invalid trailing bytes: 1e",
    "1e05": "invalid trailing bytes: 1e05",
    "1parsec": "invalid trailing bytes: 1parsec",
    "12e4": "coefficient part of scientific literal must be 1-9: 12e4",
    "0e5": "coefficient part of scientific literal must be 1-9: 0e5",
    "1e21": "overflow error, maximum value is 18446744073709551615: 1e21",
    "213504d": "overflow error, maximum value is 18446744073709551615: 213504d",
    "5000000000u": "overflow error, maximum value is 4294967295: 5000000000u",
    "9223372036854775808l": (
        "overflow error, maximum value is 9223372036854775807: 9223372036854775808l"
    ),
    "0xfffffffffffffffff": (
        "overflow error, maximum value is 18446744073709551615: fffffffffffffffff"
    ),
}


@pytest.mark.parametrize(("text", "value"), VALUES.items())
def test_integer(text: str, value: int) -> None:
    assert integer(text) == value


@pytest.mark.parametrize(("text", "message"), FAULTS.items())
def test_bad_integer(text: str, message: str) -> None:
    with pytest.raises(LiteralFault) as caught:
        integer(text)
    assert caught.value.message == message
    assert (caught.value.start, caught.value.end) == (0, len(text))


def test_huge_integers_are_refused_quickly() -> None:
    for text in ("1" * 100_000, "1e" + "9" * 100_000, "0x" + "f" * 100_000):
        with pytest.raises(LiteralFault, match="overflow error"):
            integer(text)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("", b""),
        (r"a\n\t\r\"\\", b'a\n\t\r"\\'),
        (r"\0\101\12345", b"\0AS45"),
        (r"\x4\X4a1", b"\x04J1"),
        ("é\udcff", b"\xc3\xa9\xff"),
    ],
)
def test_string(body: str, value: bytes) -> None:
    assert string(body) == value


@pytest.mark.parametrize(
    ("body", "message", "place"),
    [
        (r"a\q", r"invalid escape character '\q'", (2, 3)),
        (r"\400", r"octal escape sequence out of range '\400'", (0, 4)),
        (r"\xg", "invalid hex escape sequence", (2, 3)),
        ("\ud800", "character that no file can hold", (0, 1)),
    ],
)
def test_bad_string(body: str, message: str, place: tuple[int, int]) -> None:
    with pytest.raises(LiteralFault) as caught:
        string(body)
    assert caught.value.message == message
    assert (caught.value.start, caught.value.end) == place


@settings(deadline=None)
@given(st.binary())
def test_quote_is_the_inverse_of_string(value: bytes) -> None:
    assert string(quote(value)[1:-1]) == value


@settings(deadline=None)
@given(st.text(alphabet="0123456789abcdefxXuUlLmsnhd_ -"))
def test_integer_gives_a_value_or_a_fault(text: str) -> None:
    try:
        assert 0 <= integer(text) < 2**64
    except LiteralFault as e:
        assert e.message
