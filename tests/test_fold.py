"""Arithmetic on literals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfscript.frontend.fold import FoldError, fold_binary, fold_unary, parse_number

numbers = st.integers(-(2**63), 2**64 - 1)


@pytest.mark.parametrize(
    ("op", "a", "b", "value"),
    [
        ("+", 1, 2, 3),
        ("-", 1, 2, -1),
        ("/", -7, 2, -3),
        ("%", -7, 2, -1),
        ("&", 6, True, 0),
        (">>", -8, 1, -4),
        ("<", -1, 2**63, True),
        ("&&", 1, 0, False),
        ("+", b"ab", b"cd", b"abcd"),
        ("+", b"abc", 1, b"bc"),
        ("+", b"abc", 9, b""),
        ("<", b"a", b"b", True),
    ],
)
def test_binary(op: str, a: int | bytes, b: int | bytes, value: object) -> None:
    assert fold_binary(op, a, b) == value


@pytest.mark.parametrize(
    ("op", "a", "b"),
    [("/", 1, 0), ("%", 1, 0), ("<<", 1, 64), ("<<", 1, -1), ("+", 2**64 - 1, 1), ("-", b"a", 1)],
)
def test_binary_faults(op: str, a: int | bytes, b: int) -> None:
    with pytest.raises(FoldError):
        fold_binary(op, a, b)


@given(numbers, numbers.filter(bool))
def test_division_and_remainder_agree(a: int, b: int) -> None:
    quotient, remainder = fold_binary("/", a, b), fold_binary("%", a, b)
    assert isinstance(quotient, int) and isinstance(remainder, int)
    assert quotient * b + remainder == a
    assert abs(remainder) < abs(b)


def test_unary() -> None:
    assert fold_unary("~", 10) == 18446744073709551605
    assert fold_unary("!", 0) is True
    assert fold_unary("-", 2**63) == -(2**63)
    assert fold_unary("*", 1) is None
    with pytest.raises(FoldError, match="negative value will underflow"):
        fold_unary("-", 2**63 + 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("41", 41),
        ("-5", -5),
        ("0x10", 16),
        ("0b11", 3),
        ("017", 15),
        ("1_000", 1000),
        ("2ms", 2000000),
        ("1e3", 1000),
        ("abc", None),
        ("", None),
        ("-", None),
        ("12x", None),
        ("-9223372036854775809", None),
    ],
)
def test_parameters_as_numbers(text: str, value: int | None) -> None:
    assert parse_number(text) == value
