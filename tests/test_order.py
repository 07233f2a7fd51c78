"""Maps of very many entries: native code orders them as Python does."""

from __future__ import annotations

import struct
from functools import cache
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from output_support import Output, definition

from bpfscript.host_objects import HostObjects
from bpfscript.pieces import HostCode
from bpfscript.runtime import order, tables
from bpfscript.runtime.cache import Cache
from bpfscript.runtime.entries import Entries, Shape
from bpfscript.types import INT64, UINT64, Aggregate, Int

TYPES = [INT64, UINT64, Aggregate("count"), Aggregate("sum"), Aggregate("sum", signed=False)]
WORDS = st.one_of(st.integers(0, 3), st.integers(0, (1 << 64) - 1), st.integers(1 << 63, 1 << 64))


@cache
def code() -> HostCode:
    return HostObjects(Cache(None)).order()


def shown(json: bool, key: Int, value: Int | Aggregate, entries: Entries, top: int = 0) -> str:
    output = Output(json=json)
    output.printer.make_order = code
    output.printer.map(definition(key, value), entries, top)
    return output.text


@pytest.mark.parametrize("json", [False, True])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from([INT64, UINT64]), st.sampled_from(TYPES), st.sampled_from([0, 1, 3, 1000]),
    st.integers(1, 4), st.dictionaries(WORDS.map(lambda w: w % (1 << 64)), WORDS, min_size=1),
    st.integers(),
)  # fmt: skip
def test_the_same_as_by_python(
    monkeypatch: pytest.MonkeyPatch, json: bool, key: Int, value: Int | Aggregate, top: int,
    copies: int, found: dict[int, int], seed: int,
) -> None:  # fmt: skip
    random, values = Random(seed), []
    for total in found.values():  # over CPUs, as counters wrap
        parts = [random.getrandbits(64) for _ in range(copies - 1)]
        values += [*parts, (total - sum(parts)) % (1 << 64)]
    keys, words = struct.pack(f"<{len(found)}Q", *found), struct.pack(f"<{len(values)}Q", *values)
    entries = Entries(keys, words, Shape(8, 8, 8, copies))
    with monkeypatch.context() as patch:
        patch.setattr(tables, "MANY", 1 << 62)
        expected = shown(json, key, value, entries, top)
        patch.setattr(tables, "MANY", 1)
        assert shown(json, key, value, entries, top) == expected


def test_what_it_is_not_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of other sizes, other values, and a machine that cannot make code."""
    monkeypatch.setattr(tables, "MANY", 1)
    short = Entries(struct.pack("<2I", 7, 5), struct.pack("<2Q", 1, 1), Shape(4, 8, 8))
    assert shown(False, Int(32, True), INT64, short) == "@x[5]: 1\n@x[7]: 1\n"
    pairs = Entries(struct.pack("<2Q", 7, 5), struct.pack("<4Q", 4, 2, 6, 2), Shape(8, 16, 16))
    assert shown(False, INT64, Aggregate("avg"), pairs) == "@x[7]: 2\n@x[5]: 3\n"

    def refused() -> HostCode:
        raise ImportError

    output = Output()
    output.printer.make_order = refused
    long = Entries(struct.pack("<2Q", 7, 5), struct.pack("<2Q", 1, 1), Shape(8, 8, 8))
    output.printer.map(definition(INT64, INT64), long)
    assert output.text == "@x[5]: 1\n@x[7]: 1\n"


def test_object_is_kept(tmp_path: object) -> None:
    objects = HostObjects(Cache(str(tmp_path)))
    first = objects.order()
    entries = Entries(struct.pack("<2q", 7, -5), struct.pack("<2Q", 1, 1), Shape(8, 8, 8))
    keys, values = order.Order(objects.order())(entries, (True, False), 1)
    assert (list(keys), list(values)) == ([-5, 7], [1, 1])
    assert first.address
