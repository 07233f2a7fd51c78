"""Rows of histograms (LANGUAGE §6.2, §7.3)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import compress
from typing import NamedTuple

from bpfscript.types import Aggregate

_BAR = 52  # characters
_BARS = [f"{'@' * size:<{_BAR}}" for size in range(_BAR + 1)]
_SUFFIXES = ("", "K", "M", "G", "T", "P", "E")


class Buckets(NamedTuple):
    """From the first to the last that is not empty: low to high, high excluded; None is without
    bound."""

    labels: Sequence[str]
    lows: Sequence[int | None]
    highs: Sequence[int | None]
    hits: Sequence[int]


def buckets(t: Aggregate, counts: list[int], divisor: int = 1) -> Buckets:
    filled = list(compress(range(len(counts)), counts))
    span = slice(filled[0], filled[-1] + 1) if filled else slice(0)
    hits = counts[span]
    if t.name == "hist" and divisor > 1:
        hits = [count // divisor for count in hits]
    labels, lows, highs = _bounds(t)
    return Buckets(labels[span], lows[span], highs[span], hits)


def text(labels: Sequence[str], hits: Sequence[int]) -> str:
    """Label, count and bar of each bucket."""
    most = max(hits, default=0) or 1
    return "".join(
        [
            f"{label:<16}{n:>8} |{_BARS[n * _BAR // most]}|\n"
            for label, n in zip(labels, hits, strict=True)
        ]
    )


@cache
def _bounds(t: Aggregate) -> tuple[list[str], list[int | None], list[int | None]]:
    """Label, low and high of each bucket."""
    number = t.size // 8
    if t.name == "lhist":
        found = [_linear_bounds(t, index) for index in range(number)]
    else:
        found = [_log_bounds(t.params[0], index) for index in range(number)]
    labels, lows, highs = map(list, zip(*found, strict=True))
    return labels, lows, highs


def _log_bounds(k: int, index: int) -> tuple[str, int | None, int]:
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


def _linear_bounds(t: Aggregate, index: int) -> tuple[str, int | None, int | None]:
    minimum, maximum, step = t.params
    last = (maximum - minimum) // step + 1
    low = minimum + (index - 1) * step
    if not index:
        return f"(..., {_linear_bound(minimum, step)})", None, minimum
    if index == last:
        return f"[{_linear_bound(low, step)}, ...)", low, None
    high = low + step
    if step == 1:
        return f"[{low}]", low, high
    return f"[{_linear_bound(low, step)}, {_linear_bound(high, step)})", low, high


def _linear_bound(value: int, step: int) -> str:
    """With a suffix where the step is a multiple of 1024 and the value is one too."""
    power = 0
    while step % 1024 == 0 and value and value % 1024 == 0 and power < len(_SUFFIXES) - 1:
        value, power = value // 1024, power + 1
    return f"{value}{_SUFFIXES[power]}"
