from __future__ import annotations

import struct

import pytest

from bpfscript import types
from bpfscript.backends.btf import STATIC, Writer, find_string
from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import MapDef, MapType


def size_of(data: bytes, id: int) -> int:
    """Bytes of a type, by walking the BTF that holds it."""
    length, _, end, _, _ = struct.unpack_from("<IIIII", data, 4)
    rows: list[tuple[int, int, bytes]] = []
    at, end = length, length + end
    while at < end:
        _, info, value = struct.unpack_from("<III", data, at)
        kind, count = info >> 24 & 31, info & 0xFFFF
        more = {1: 4, 3: 12, 4: 12 * count, 13: 8 * count, 14: 4, 15: 12 * count}.get(kind, 0)
        rows.append((kind, value, data[at + 12 : at + 12 + more]))
        at += 12 + more

    def size(id: int) -> int:
        kind, value, more = rows[id - 1]
        if kind == 2:
            return 8
        if kind == 3:
            of, count = int.from_bytes(more[:4], "little"), int.from_bytes(more[8:], "little")
            return size(of) * count
        return value

    return size(id)


@pytest.mark.parametrize(
    "type",
    [
        types.INT8, types.UINT64, types.BOOL, types.String(16), types.Buffer(12),
        types.Pointer(types.VOID), types.Array(types.INT32, 3), types.Struct("S", 24),
        types.Tuple((types.INT8, types.UINT64, types.String(3))),
        types.Record(("a", "b"), (types.INT32, types.INT64)),
        types.Stack("kernel", "bpftrace", 4), types.Symbol("kernel"), types.Symbol("user"),
        types.Username(), types.Timestamp("%H"), types.Mac(), types.Inet(), types.CgroupPath(),
        *(types.Aggregate(name) for name in ("count", "sum", "min", "max", "avg", "stats")),
        types.Aggregate("hist", params=(0,)), types.Aggregate("lhist", params=(0, 10, 2)),
        types.Aggregate("tseries", params=(1, 4, 0)),
    ],
    ids=str,
)  # fmt: skip
def test_sizes(type: types.Type) -> None:
    writer = Writer()
    exact, padded = writer.sized(type, type.size), writer.sized(type, type.size + 8)
    data = writer.data()
    assert size_of(data, exact) == type.size
    assert size_of(data, padded) == type.size + 8


@pytest.mark.parametrize("size", [1, 4, 8, 20])
def test_unknown_types_are_bytes(size: int) -> None:
    writer = Writer()
    id = writer.sized(None, size)
    assert size_of(writer.data(), id) == size


def test_equal_types_have_one_id() -> None:
    writer = Writer()
    assert writer.of(types.INT32) == writer.of(types.Int(32, True))
    assert writer.of(types.INT32) != writer.of(types.UINT32)


def test_strings() -> None:
    writer = Writer()
    assert writer.string("") == 0
    offset = writer.string("line one")
    assert writer.string("line one") == offset
    assert find_string(writer.data(), "line one") == offset
    with pytest.raises(CompilerBug):
        find_string(writer.data(), "line")


def test_map_has_no_key_in_a_ring() -> None:
    writer = Writer()
    ring = MapDef(".events", MapType.RINGBUF, None, None, 0, 0, 4096)
    table = MapDef("@x", MapType.HASH, types.INT64, types.INT64, 8, 8, 10, flags=1)
    assert writer.map("events", ring)[1] == 16
    assert writer.map("AT_x", table)[1] == 40


def test_function_of_no_arguments() -> None:
    writer = Writer()
    assert writer.function("f", [], STATIC) != writer.function("g", [], STATIC)
