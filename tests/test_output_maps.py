"""Maps as text and JSON. Expectations are what bpftrace 0.27.1 prints unless a test says so."""

from __future__ import annotations

import struct
import time

import pytest
from output_support import Output, definition, table, words

from bpfscript.manifest import Manifest
from bpfscript.runtime import time_series
from bpfscript.types import (
    INT8,
    INT32,
    INT64,
    UINT32,
    UINT64,
    Aggregate,
    Int,
    Stack,
    String,
    Tuple,
    Type,
)

COUNT, SUM, USUM = Aggregate("count"), Aggregate("sum"), Aggregate("sum", signed=False)
AVG, STATS = Aggregate("avg"), Aggregate("stats")
LHIST = Aggregate("lhist", params=(0, 10, 1))


def log_histogram(*values: int, k: int = 0) -> tuple[Aggregate, bytes]:
    """The buckets after hist() of these values, by the formula of LANGUAGE §6.2."""
    t = Aggregate("hist", params=(k,))
    counts = [0] * (t.size // 8)
    for n in values:
        power = max(n.bit_length() - 1 - k, 0)
        index = (
            0
            if n < 0
            else 1 + n
            if n < 1 << k
            else ((power + 1) << k) + (n >> power) % (1 << k) + 1
        )
        counts[index] += 1
    return t, words(*counts)


def linear_histogram(low: int, high: int, step: int, *values: int) -> tuple[Aggregate, bytes]:
    t = Aggregate("lhist", params=(low, high, step))
    counts = [0] * (t.size // 8)
    for n in values:
        index = 0 if n < low else 1 + (high - low) // step if n > high else 1 + (n - low) // step
        counts[index] += 1
    return t, words(*counts)


def string(text: str, size: int = 4) -> bytes:
    return text.encode().ljust(size, b"\0")


def number(n: int) -> bytes:
    return struct.pack("<i", n)


# Scalars, keys


def test_scalar() -> None:
    assert table(None, INT64, [(bytes(4), [words(5)])]) == "@x: 5\n"
    assert table(None, INT64, [(bytes(4), [words(5)])], json=True) == (
        '{"type": "map", "data": {"@x": 5}}\n'
    )
    assert table(None, INT64, [(bytes(4), [words(-7)])], divisor=2) == "@x: -3\n"


def test_scalar_never_written() -> None:
    assert table(None, INT64, []) == "@x: 0\n"
    assert table(None, STATS, []) == "@x: { .count = 0, .average = 0, .total = 0 }\n"
    assert table(None, Tuple((INT32, String(4))), []) == "@x: (0, )\n"
    assert table(None, Aggregate("min"), [], json=True) == '{"type": "map", "data": {"@x": 0}}\n'
    for t in (Aggregate("hist", params=(0,)), LHIST, Aggregate("tseries", params=(1, 2, 0))):
        assert table(None, t, []) == table(None, t, [], json=True) == ""


def test_empty_keyed() -> None:
    assert table(INT32, INT64, []) == table(INT32, INT64, [], json=True) == ""
    assert table(INT32, AVG, []) == ""
    assert table(INT32, AVG, [], json=True) == '{"type": "stats", "data": {"@x": {}}}\n'


def test_keys() -> None:
    key = Tuple((INT32, String(4), Tuple((INT8, INT8))))
    raw = number(1) + string("a b") + b"\2\3" + bytes(2)
    assert table(key, INT64, [(raw, [words(4)])]) == "@x[1, a b, (2, 3)]: 4\n"
    assert table(key, INT64, [(raw, [words(4)])], json=True) == (
        '{"type": "map", "data": {"@x": {"1,ab,(2,3)": 4}}}\n'
    )
    assert table(String(4), INT64, [(bytes(4), [words(1)])]) == "@x[]: 1\n"
    stack = Stack("user", "bpftrace", 2)
    entry = (words(1 << 23, 16, 32), [words(2)])
    assert table(stack, COUNT, [entry]) == "@x[\n        0x10\n        0x20\n]: 2\n"
    assert table(stack, COUNT, [entry], json=True) == (
        '{"type": "map", "data": {"@x": {"\\n0x10\\n0x20\\n": 2}}}\n'
    )


def test_enum_keys_are_names() -> None:
    enum = Int(64, False, enum="E")
    manifest = Manifest(enums={"E": {1: "EA", 5: "EB"}})
    entries = [(words(1), [words(5)])]
    assert table(enum, enum, entries, manifest=manifest) == "@x[EA]: EB\n"
    assert table(enum, enum, entries, manifest=manifest, json=True) == (
        '{"type": "map", "data": {"@x": {"EA": 5}}}\n'
    )


def test_labels() -> None:
    """Arrays in place of hashes: a uint64 that says whether there is one follows each value."""
    entries = [(struct.pack("<I", i), [words(n, 1), words(1, 0)]) for i, n in ((0, 5), (1, 1))]
    text = table(String(16), COUNT, entries, labels=("begin", "interval:s:1"))
    assert text == "@x[interval:s:1]: 2\n@x[begin]: 6\n"
    assert table(INT64, COUNT, entries, labels=(7, -3)) == "@x[-3]: 2\n@x[7]: 6\n"
    assert '{"begin": 6}' in table(
        String(16), COUNT, entries, labels=("begin", "b"), top=1, json=True
    )


# Order


@pytest.mark.parametrize(
    ("key", "value", "entries", "order"),
    [
        (INT32, INT64, {number(1): words(30), number(2): words(-10), number(3): words(20)}, "231"),
        (INT32, UINT64, {number(1): words(2**64 - 1), number(2): words(7)}, "21"),
        (INT32, INT8, {number(1): b"\3", number(2): b"\xff"}, "21"),
        (INT32, COUNT, {number(1): words(3), number(2): words(2)}, "21"),
        (INT32, Aggregate("max"), {number(1): words(-5, 1), number(2): words(7, 1)}, "21"),
        (INT32, AVG, {number(1): words(10, 1), number(2): words(12, 4)}, "21"),
        (INT32, STATS, {number(1): words(10, 1), number(2): words(-12, 4)}, "21"),
        (INT32, String(4), {number(3): string("x"), number(-1): string("y")}, "-13"),
        (String(2), String(2), {b"b\0": b"1\0", b"a\0": b"2\0"}, "ab"),
        (UINT32, COUNT, {number(2): words(1), number(1): words(1)}, "12"),
    ],
)
def test_order(key: Type, value: Type, entries: dict[bytes, bytes], order: str) -> None:
    lines = table(key, value, [(k, [v]) for k, v in entries.items()]).splitlines()
    assert "".join(line[3 : line.index("]")] for line in lines) == order


def test_order_of_tuples() -> None:
    key = Tuple((INT32, String(4)))
    keys = [number(2) + string("a"), number(1) + string("b"), number(1) + string("a")]
    text = table(key, String(2), [(k, [b"v\0"]) for k in keys])
    assert text == "@x[1, a]: v\n@x[1, b]: v\n@x[2, a]: v\n"


def test_top_and_divisor() -> None:
    entries = [(number(i), [words(i * 10)]) for i in (3, 1, 2)]
    assert table(INT32, INT64, entries, top=2) == "@x[2]: 20\n@x[3]: 30\n"
    assert table(INT32, COUNT, entries, top=1, divisor=4) == "@x[3]: 7\n"
    means = [(number(1), [words(200, 2)])]
    assert table(INT32, AVG, means, divisor=30) == "@x[1]: 3\n"
    assert table(INT32, STATS, means, divisor=30) == (
        "@x[1]: { .count = 2, .average = 3, .total = 200 }\n"
    )
    negative = [(number(1), [words(-7, 2)])]
    assert table(INT32, AVG, negative, divisor=2) == "@x[1]: -1\n"


# Aggregates


@pytest.mark.parametrize(
    ("t", "cpus", "text"),
    [
        (COUNT, [words(2), words(3)], "5"),
        (SUM, [words(2), words(-3)], "-1"),
        (USUM, [words(2**64 - 1), words(0)], "18446744073709551615"),
        (Aggregate("min"), [words(0, 0), words(7, 1), words(-3, 1)], "-3"),
        (Aggregate("max"), [words(0, 0), words(-7, 1)], "-7"),
        (Aggregate("max", signed=False), [words(2**64 - 1, 1)], "18446744073709551615"),
        (AVG, [words(-7, 1), words(0, 1)], "-3"),
        (Aggregate("avg", signed=False), [words(2**63, 1)], "9223372036854775808"),
        (STATS, [words(7, 1), words(5, 1)], "{ .count = 2, .average = 6, .total = 12 }"),
        (STATS, [words(0, 0)], "{ .count = 0, .average = 0, .total = 0 }"),
    ],
)
def test_aggregate(t: Aggregate, cpus: list[bytes], text: str) -> None:
    assert table(None, t, [(bytes(4), cpus)]) == f"@x: {text}\n"


def test_json_kinds() -> None:
    entries = [(number(1), [words(10, 1)])]
    assert table(INT32, AVG, entries, json=True) == '{"type": "stats", "data": {"@x": {"1": 10}}}\n'
    assert table(INT32, STATS, entries, json=True) == (
        '{"type": "stats", "data": {"@x": {"1": {"count": 1, "average": 10, "total": 10}}}}\n'
    )
    assert table(None, COUNT, [(bytes(4), [words(3)])], json=True) == (
        '{"type": "map", "data": {"@x": 3}}\n'
    )


# Histograms

FULL = "@" * 52


def row(label: str, count: int, bar: int) -> str:
    return f"{label:<16}{count:8} |{'@' * bar:<52}|\n"


def test_log_histogram() -> None:
    t, raw = log_histogram(2, 3, 9)
    assert table(None, t, [(bytes(4), [raw])]) == (
        "@x:\n"
        "[2, 4)                 2 |@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@|\n"
        "[4, 8)                 0 |                                                    |\n"
        "[8, 16)                1 |@@@@@@@@@@@@@@@@@@@@@@@@@@                          |\n"
        "\n"
    )


def test_log_labels() -> None:
    t, raw = log_histogram(-1, 0, 1, 2000, 1 << 62)
    labels = [line[:16].rstrip() for line in table(None, t, [(bytes(4), [raw])]).splitlines()[1:-1]]
    assert labels[:4] == ["(..., 0)", "[0]", "[1]", "[2, 4)"]
    assert labels[11:13] == ["[512, 1K)", "[1K, 2K)"]
    assert labels[21:23] == ["[512K, 1M)", "[1M, 2M)"]
    assert labels[-1] == "[4E, 8E)"


@pytest.mark.parametrize(
    ("k", "value", "label"),
    [
        (3, 9, "[9]"),
        (3, 17, "[16, 18)"),
        (3, 45, "[44, 48)"),
        (3, 1030, "[1024, 1152)"),
        (3, 5000, "[4608, 5120)"),
        (1, 1024, "[1024, 1536)"),
        (1, 2047, "[1536, 2K)"),
        (1, 1000000, "[768K, 1024K)"),
        (1, 1600000, "[1536K, 2M)"),
        (2, 1 << 20, "[1024K, 1280K)"),
        (5, 1 << 62, "[4096P, 4224P)"),
        (5, 3, "[3]"),
        (5, 63, "[63]"),
        (5, 64, "[64, 66)"),
    ],
)
def test_log_labels_with_sub_buckets(k: int, value: int, label: str) -> None:
    t, raw = log_histogram(value, k=k)
    assert table(None, t, [(bytes(4), [raw])]) == f"@x:\n{row(label, 1, 52)}\n"


def test_log_histogram_divided() -> None:
    t, raw = log_histogram(2, *[4] * 3, *[8] * 10)
    assert table(None, t, [(bytes(4), [raw])], divisor=3) == (
        f"@x:\n{row('[2, 4)', 0, 0)}{row('[4, 8)', 1, 17)}{row('[8, 16)', 3, 52)}\n"
    )


def test_histograms_of_cpus_and_keys() -> None:
    t, one = log_histogram(1)
    _, two = log_histogram(1, 2)
    _, zero = log_histogram()
    text = table(String(2), t, [(b"b\0", [one, two]), (b"a\0", [zero, one]), (b"z\0", [zero])])
    assert text == (
        f"@x[z]:\n\n@x[a]:\n{row('[1]', 1, 52)}\n"
        f"@x[b]:\n{row('[1]', 2, 52)}{row('[2, 4)', 1, 26)}\n"
    )


@pytest.mark.parametrize(
    ("bounds", "values", "labels"),
    [
        ((0, 10, 1), (-1, 1, 50), ["(..., 0)", "[0]", "[1]", "[2]", "[10, ...)"]),
        (
            (0, 10240, 1024),
            (-1, 2048, 20000),
            ["(..., 0)", "[0, 1K)", "[1K, 2K)", "[2K, 3K)", "[10K, ...)"],
        ),
        ((2, 100, 10), (5, 20, 105), ["[2, 12)", "[12, 22)", "[22, 32)", "[92, ...)"]),
        ((0, 1 << 20, 1 << 20), (5,), ["[0, 1M)"]),
    ],
)
def test_linear_labels(bounds: tuple[int, int, int], values: tuple[int], labels: list[str]) -> None:
    t, raw = linear_histogram(*bounds, *values)
    lines = table(None, t, [(bytes(4), [raw])]).splitlines()[1:-1]
    found = [line[:16].rstrip() for line in lines]
    assert found[: len(labels) - 1] + found[-1:] == labels or found == labels


def test_linear_histogram_ignores_the_divisor() -> None:
    t, raw = linear_histogram(0, 4, 1, *[1] * 52, *[2] * 15, *[3] * 30)
    assert table(None, t, [(bytes(4), [raw])], divisor=2) == (
        f"@x:\n{row('[1]', 52, 52)}{row('[2]', 15, 15)}{row('[3]', 30, 30)}\n"
    )


def test_histograms_in_json() -> None:
    t, raw = log_histogram(-1, 0, 2)
    assert table(None, t, [(bytes(4), [raw])], json=True) == (
        '{"type": "hist", "data": {"@x": [{"max": -1, "count": 1},{"min": 0, "max": 0, "count": 1},'
        '{"min": 1, "max": 1, "count": 0},{"min": 2, "max": 3, "count": 1}]}}\n'
    )
    t, raw = log_histogram(1 << 62)
    assert '[{"min": 4611686018427387904, "max": "9223372036854775807", "count": 1}]' in table(
        None, t, [(bytes(4), [raw])], json=True
    )
    t, raw = linear_histogram(0, 100, 10, 5, 15, 105)
    text = table(INT32, t, [(number(1), [raw])], json=True)
    assert text.startswith(
        '{"type": "hist", "data": {"@x": {"1": [{"min": 0, "max": 9, "count": 1},'
    )
    assert text.endswith('{"min": 100, "count": 1}]}}}\n')
    assert table(None, LHIST, [(bytes(4), [bytes(LHIST.size)])], json=True) == (
        '{"type": "hist", "data": {"@x": []}}\n'
    )


# Time series


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(time_series, "_leap_seconds", lambda: 0)
    time.tzset()


def series(
    interval: int, buckets: int, aggregate: int, *points: tuple[int, ...]
) -> tuple[Aggregate, bytes]:
    """points: (epoch, value, count)"""
    t = Aggregate("tseries", params=(interval, buckets, aggregate))
    slots = [(0, 0, 0)] * buckets
    for epoch, value, count in points:
        slots[epoch % buckets] = epoch, value, count
    return t, b"".join(words(*slot) for slot in slots)


MS = 10**6
NOON = 43_200_000  # ms


def test_time_series(utc: None) -> None:
    first = 12 * 36000 + 1  # tenths of a second
    t, raw = series(100 * MS, 10, 3, (first, 5, 1), (first + 1, 0, 2))
    _, other = series(100 * MS, 10, 3, (first + 2, 3, 1))
    entries = [(number(2), [other]), (number(1), [raw])]
    assert table(INT32, t, entries) == (
        "@x[1]:\n"
        "             0                                                   5\n"
        "hh:mm:ss.ms  |___________________________________________________|\n"
        "12:00:00.100 |                                                   * 5\n"
        "12:00:00.200 *                                                   | 0\n"
        "12:00:00.300 |                                                   | -\n"
        "             v___________________________________________________v\n"
        "             0                                                   5\n"
        "\n"
        "@x[2]:\n"
        "                   2                                                   4\n"
        "hh:mm:ss.ns        |___________________________________________________|\n"
        "12:00:00.300000000 |                         *                         | 3\n"
        "                   v___________________________________________________v\n"
        "                   2                                                   4\n"
        "\n"
    )
    assert table(INT32, t, entries, json=True) == (
        '{"type": "tseries", "data": {"@x": {"1": ['
        '{"interval_start":"1970-01-01 12:00:00.100000000","value":5},'
        '{"interval_start":"1970-01-01 12:00:00.200000000","value":0}], '
        '"2": [{"interval_start":"1970-01-01 12:00:00.300000000","value":3}]}}}\n'
    )


def test_time_series_below_and_above_zero(utc: None) -> None:
    points = [(NOON + i, n, 1) for i, n in enumerate((-6, -2, 0, 3))]
    t, raw = series(MS, 20, 2, *points)
    assert table(None, t, [(bytes(4), [raw])]).splitlines()[3:7] == [
        "12:00:00.000 *                                  .                | -6",
        "12:00:00.001 |                      *           .                | -2",
        "12:00:00.002 |                                 *.                | 0",
        "12:00:00.003 |                                  .                * 3",
    ]


def test_time_series_forgets(utc: None) -> None:
    """Buckets that are older than the newest of the map by all its buckets do not count."""
    t, old = series(5 * MS, 3, 2, (100, 7, 1))
    _, new = series(5 * MS, 3, 2, (108, 0, 1), (110, 0, 1))
    entries = [(number(2), [old]), (number(1), [new])]
    lines = table(INT32, t, entries).splitlines()
    assert lines[3:6] == [
        "00:00:00.540 |                         *                         | 0",
        "00:00:00.545 |                         .                         | -",
        "00:00:00.550 |                         *                         | 0",
    ]
    assert lines[9:14] == [
        "@x[2]:",
        "                   null                                             null",
        "hh:mm:ss.ns        |___________________________________________________|",
        "00:00:00.550000000 |                                                   | -",
        "                   v___________________________________________________v",
    ]
    assert '"2": []' in table(INT32, t, entries, json=True)


@pytest.mark.parametrize(("index", "value"), [(0, 3), (1, 2), (2, 6), (3, 3), (4, 9)])
def test_time_series_of_cpus(utc: None, index: int, value: int) -> None:
    t, one = series(MS, 4, index, (NOON, 6, 3))
    _, two = series(MS, 4, index, (NOON, 3, 1))
    text = table(None, t, [(bytes(4), [one, two])])
    assert text.splitlines()[3].endswith(f" {value}")


def test_time_series_units(utc: None) -> None:
    for interval, header in ((1500 * MS, "hh:mm:ss |"), (1000, "hh:mm:ss.μs     |"),
                             (10, "hh:mm:ss.ns        |")):  # fmt: skip
        t, raw = series(interval, 4, 0, (9, 1, 1), (10, 2, 1))
        assert table(None, t, [(bytes(4), [raw])]).splitlines()[2].startswith(header)


def test_time_series_without_data() -> None:
    t, raw = series(MS, 4, 0)
    assert table(None, t, [(bytes(4), [raw])]) == "@x:\n<no data>\n"
    assert table(None, t, [(bytes(4), [raw])], json=True) == (
        '{"type": "tseries", "data": {"@x": []}}\n'
    )


def test_definition_is_read_once() -> None:
    output = Output()
    for value in (1, 2):
        output.printer.map(definition(None, INT64), [(bytes(4), [words(value)])])
    assert output.text == "@x: 1\n@x: 2\n"
