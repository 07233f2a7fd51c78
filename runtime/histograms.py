"""Rows of histograms (LANGUAGE §6.2, §7.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from itertools import chain, compress
from typing import NamedTuple

from bpfscript.types import Aggregate

from .values import Show

_BAR = 52  # characters
_BARS = [f"{'@' * size:<{_BAR}}" for size in range(_BAR + 1)]
_SUFFIXES = ("", "K", "M", "G", "T", "P", "E")
_ROWS, _FORMS = 1 << 18, 1 << 8  # kept: rows, which are 80 bytes of text, and their formats


class Bounds(NamedTuple):
    """Of each bucket, low to high, high excluded; None is without bound."""

    labels: Sequence[str]
    lows: Sequence[int | None]
    highs: Sequence[int | None]


@cache
def bounds(t: Aggregate) -> Bounds:
    number = t.size // 8
    if t.name == "lhist":
        found = [_linear_bounds(t, index) for index in range(number)]
    else:
        found = [_log_bounds(t.params[0], index) for index in range(number)]
    return Bounds(*zip(*found, strict=True))


Cut = Callable[[Sequence[int]], tuple[slice, Sequence[int]]]
Draw = Callable[[Sequence[str], Sequence[int]], str]  # names and counts of buckets


def cutter(t: Aggregate, divisor: int = 1) -> Cut:
    """What takes the buckets from the first to the last that is not empty: where they are, and
    what they hold."""
    places, divided = range(t.size // 8), t.name == "hist" and divisor > 1

    def cut(counts: Sequence[int]) -> tuple[slice, Sequence[int]]:
        filled = list(compress(places, counts))
        span = slice(filled[0], filled[-1] + 1) if filled else slice(0)
        hits = counts[span]
        return span, [count // divisor for count in hits] if divided else hits

    return cut


def shower(t: Aggregate, divisor: int, names: Sequence[str], draw: Draw) -> Show:
    """What shows counts. names: of all buckets. Of many histograms those of few counts are often
    alike, so what was drawn is kept."""
    cut = cutter(t, divisor)

    @lru_cache(_ROWS // len(names))
    def show(counts: Sequence[int]) -> str:
        span, hits = cut(counts)
        return draw(names[span], hits)

    return show


def text(labels: Sequence[str], hits: Sequence[int]) -> str:
    """Label, count and bar of each bucket."""
    most = max(hits, default=0) or 1
    bars = [_BARS[n * _BAR // most] for n in hits]
    return _form(tuple(labels)) % tuple(chain.from_iterable(zip(hits, bars, strict=True)))


@lru_cache(_FORMS)
def _form(labels: tuple[str, ...]) -> str:
    """Takes count and bar of each bucket."""
    return "".join([f"{label:<16}%8d |%s|\n" for label in labels])


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
