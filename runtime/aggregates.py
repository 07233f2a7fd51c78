"""Values of maps: those of all CPUs become one (layouts: types.Aggregate)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from operator import add
from typing import Any

from bpfscript.types import TSERIES_AGGREGATES, Aggregate, Type

from .entries import Entries
from .values import Shape, average, integer_code

Merge = Callable[[list[bytes]], Any]
Series = dict[int, int]  # epoch → value


def merge_all(t: Type, shape: Shape) -> Callable[[Entries], list[Any]]:
    """What makes the objects that `merger` makes, for all entries of a map at once."""
    if not isinstance(t, Aggregate):
        return lambda entries: entries.unpacked(shape.code)
    if t.name in ("count", "sum"):
        return lambda entries: _sums(entries, 0, t.signed)
    if t.name in ("avg", "stats"):
        return lambda entries: list(
            zip(_sums(entries, 0, t.signed), _sums(entries, 1, False), strict=True)
        )
    if t.name in ("hist", "lhist"):
        return lambda entries: entries.totals(t.size // 8)
    merge = merger(t, shape)
    return lambda entries: [merge(values) for _, values in entries]


def combiner(t: Type | None) -> Callable[[bytes, bytes], bytes]:
    """What makes one value of two; time series are never in two."""
    if isinstance(t, Aggregate) and t.name in ("min", "max"):
        pair, choose = (
            struct.Struct(f"<{integer_code(8, t.signed)}Q"),
            min if t.name == "min" else max,
        )

        def better(a: bytes, b: bytes) -> bytes:
            found = [(v, is_set) for v, is_set in map(pair.unpack_from, (a, b)) if is_set]
            return pair.pack(*choose(found)) if found else a

        return better

    def added(a: bytes, b: bytes) -> bytes:
        words = zip(memoryview(a).cast("Q"), memoryview(b).cast("Q"), strict=True)
        return b"".join((x + y & 0xFFFF_FFFF_FFFF_FFFF).to_bytes(8, "little") for x, y in words)

    return added


def _sums(entries: Entries, word: int, signed: bool) -> list[int]:
    """Over CPUs, as a 64-bit counter sums."""
    first, *others = entries.column(word, signed)
    for other in others:
        first = list(map(add, first, other))
    least, most = (-(1 << 63), 1 << 63) if signed else (0, 1 << 64)
    if not others or (min(first, default=0) >= least and max(first, default=0) < most):
        return first
    wrap = _total(signed)
    return [wrap((value,)) for value in first]


def merger(t: Type, shape: Shape) -> Merge:
    """What makes one object of the values of each CPU, which may be longer than the type.

    count, sum, min, max: int | avg, stats: (total, count) | hist, lhist: counts |
    tseries: Series | other types: what their shape unpacks, of the first value
    """
    if not isinstance(t, Aggregate):
        unpack = struct.Struct("<" + shape.code).unpack_from
        return lambda values: unpack(values[0])[0]
    match t.name:
        case "count" | "sum":
            total = _total(t.signed)
            return lambda values: total([int.from_bytes(v[:8], "little") for v in values])
        case "min" | "max":
            return _extreme(t)
        case "avg" | "stats":
            return _mean(t.signed)
        case "hist" | "lhist":
            return _buckets(t.size // 8)
        case "tseries":
            return _series(t)


def _total(signed: bool) -> Callable[[Iterable[int]], int]:
    """Sums as a 64-bit counter does."""

    def total(values: Iterable[int]) -> int:
        value = sum(values) & 0xFFFF_FFFF_FFFF_FFFF
        return value - (1 << 64) if signed and value >> 63 else value

    return total


def _extreme(t: Aggregate) -> Merge:
    unpack = struct.Struct(f"<{integer_code(8, t.signed)}Q").unpack_from
    choose = min if t.name == "min" else max

    def merge(values: list[bytes]) -> int:
        found = [value for value, is_set in map(unpack, values) if is_set]
        return choose(found, default=0)

    return merge


def _mean(signed: bool) -> Merge:
    unpack, total = struct.Struct("<QQ").unpack_from, _total(signed)

    def merge(values: list[bytes]) -> tuple[int, int]:
        totals, counts = zip(*map(unpack, values), strict=True)
        return total(totals), sum(counts)

    return merge


def _buckets(count: int) -> Merge:
    unpack = struct.Struct(f"<{count}Q").unpack_from

    def merge(values: list[bytes]) -> tuple[int, ...]:
        merged: tuple[int, ...] = unpack(values[0])
        for other in map(unpack, values[1:]):
            if any(other):
                merged = tuple(map(add, merged, other))
        return merged

    return merge


def _series(t: Aggregate) -> Merge:
    _, buckets, index = t.params
    name = TSERIES_AGGREGATES[index]
    size = 24 * buckets

    def merge(values: list[bytes]) -> Series:
        seen: dict[int, list[tuple[int, int]]] = {}
        for raw in values:
            for epoch, value, count in struct.iter_unpack("<QqQ", raw[:size]):
                if count:
                    seen.setdefault(epoch, []).append((value, count))
        return {epoch: show(pairs) for epoch, pairs in sorted(seen.items())}

    def show(pairs: list[tuple[int, int]]) -> int:
        numbers = [v if t.signed else v & 0xFFFF_FFFF_FFFF_FFFF for v, _ in pairs]
        match name:
            case "sum":
                return sum(numbers)
            case "min":
                return min(numbers)
            case "max":
                return max(numbers)
            case "avg":
                return average(sum(numbers), sum(c for _, c in pairs))
        return numbers[-1]

    return merge
