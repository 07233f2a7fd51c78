"""Rows of histograms (LANGUAGE §6.2, §7.3)."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from bpfscript.types import Aggregate

_BAR = 52  # characters
_SUFFIXES = ("", "K", "M", "G", "T", "P", "E")


class Bucket(NamedTuple):
    """low to high, high excluded; None is without bound."""

    label: str
    low: int | None
    high: int | None
    hits: int


def rows(t: Aggregate, counts: list[int], divisor: int = 1) -> list[Bucket]:
    """From the first to the last bucket that is not empty."""
    filled = [index for index, count in enumerate(counts) if count]
    if not filled:
        return []
    span = range(filled[0], filled[-1] + 1)
    if t.name == "lhist":
        return [_linear_row(t, index, counts[index]) for index in span]
    return [_log_row(t.params[0], index, counts[index] // divisor) for index in span]


def text(found: list[Bucket]) -> str:
    """Label, count and bar of each row."""
    most = max((row.hits for row in found), default=0) or 1
    return "".join(
        f"{row.label:<16}{row.hits:>8} |{'@' * (row.hits * _BAR // most):<{_BAR}}|\n"
        for row in found
    )


def _log_row(k: int, index: int, count: int) -> Bucket:
    return Bucket(*_log_bounds(k, index), count)


@cache
def _log_bounds(k: int, index: int) -> tuple[str, int | None, int]:
    """Label, low and high of a bucket."""
    if not index:
        return "(..., 0)", None, 0
    low, low_text = _log_bound(k, index - 1)
    high, high_text = _log_bound(k, index)
    label = f"[{low}]" if high - low == 1 else f"[{low_text}, {high_text})"
    return label, low, high


def _log_bound(k: int, slot: int) -> tuple[int, str]:
    """Lower bound of the slot after the one for negatives, and how it is written."""
    sub_buckets = 1 << k
    if slot < sub_buckets:
        return slot, str(slot)
    power = (slot >> k) - 1
    mantissa = sub_buckets + (slot & (sub_buckets - 1))
    return mantissa << power, f"{mantissa << power % 10}{_SUFFIXES[power // 10]}"


def _linear_row(t: Aggregate, index: int, count: int) -> Bucket:
    minimum, maximum, step = t.params
    last = (maximum - minimum) // step + 1
    low = minimum + (index - 1) * step
    if not index:
        return Bucket(f"(..., {_linear_bound(minimum, step)})", None, minimum, count)
    if index == last:
        return Bucket(f"[{_linear_bound(low, step)}, ...)", low, None, count)
    high = low + step
    if step == 1:
        return Bucket(f"[{low}]", low, high, count)
    return Bucket(f"[{_linear_bound(low, step)}, {_linear_bound(high, step)})", low, high, count)


def _linear_bound(value: int, step: int) -> str:
    """With a suffix where the step is a multiple of 1024 and the value is one too."""
    power = 0
    while step % 1024 == 0 and value and value % 1024 == 0 and power < len(_SUFFIXES) - 1:
        value, power = value // 1024, power + 1
    return f"{value}{_SUFFIXES[power]}"
