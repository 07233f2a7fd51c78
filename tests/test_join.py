"""How types meet."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpfscript.frontend.join import holds, literal_type, promote, unsigned_type
from bpfscript.types import (
    BOOL,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    Int,
    Pointer,
    Record,
    String,
    Tuple,
    Type,
)  # fmt: skip

FLEXIBLE = Int(8, True, flexible=True)


@pytest.mark.parametrize(
    ("a", "b", "joined"),
    [
        (INT8, INT32, INT32),
        (UINT8, UINT64, UINT64),
        (FLEXIBLE, UINT32, UINT32),
        (INT64, UINT32, INT64),
        (INT32, UINT32, INT64),
        (INT8, UINT64, INT64),
        (INT8, UINT8, INT16),
        (String(4), String(9), String(9)),
        (INT8, String(2), None),
        (BOOL, INT8, None),
        (Tuple((INT8, String(2))), Tuple((INT16, String(5))), Tuple((INT16, String(5)))),
        (Tuple((INT8,)), Tuple((INT8, INT8)), None),
        (Record(("a", "b"), (INT8, UINT8)), Record(("b", "a"), (UINT16, INT64)),
         Record(("a", "b"), (INT64, UINT16))),
        (Record(("a",), (INT8,)), Record(("b",), (INT8,)), None),
        (Pointer(INT8), Pointer(INT64, "user"), Pointer(INT8, "user")),
    ],
)  # fmt: skip
def test_promote(a: Type, b: Type, joined: Type | None) -> None:
    assert promote(a, b) == joined


integers = st.builds(Int, st.sampled_from([8, 16, 32, 64]), st.booleans())


@given(integers, integers)
def test_promotion_is_symmetric(a: Int, b: Int) -> None:
    assert promote(a, b) == promote(b, a)


@given(integers, integers)
def test_promotion_holds_both_up_to_64_bits(a: Int, b: Int) -> None:
    joined = promote(a, b)
    assert joined is not None
    if not (joined == INT64 and UINT64 in (a, b)):
        assert holds(joined, a) and holds(joined, b)


@given(st.integers(-(2**63), 2**64 - 1))
def test_literals_fit_their_type(value: int) -> None:
    type = literal_type(value)
    low = -(1 << (type.bits - 1)) if type.signed else 0
    assert low <= value < low + (1 << type.bits)
    assert type.flexible == (0 <= value < 2**63)


def test_unsigned_type() -> None:
    assert [unsigned_type(v) for v in (0, 255, 256, 70000, 2**40)] == [
        UINT8, UINT8, UINT16, UINT32, UINT64,
    ]  # fmt: skip
