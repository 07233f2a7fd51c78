"""Graphs of time series (LANGUAGE §7.3)."""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from bpfscript.types import Aggregate

from .aggregates import Series

_WIDTH = 53  # columns of the graph, borders included
_UNITS = ((10**9, "", 0), (10**6, ".ms", 3), (10**3, ".μs", 6), (1, ".ns", 9))


class Point(NamedTuple):
    """ns since 1970 of an interval's start, and its value, None where nothing was seen."""

    start: int
    value: int | None


def newest(found: Iterable[Series]) -> int:
    """The last epoch of a map's entries."""
    return max((epoch for series in found for epoch in series), default=0)


def points(t: Aggregate, series: Series, last: int) -> list[Point]:
    """From the first interval that is still in its bucket to the last of the whole map."""
    if not series:
        return []
    interval, buckets, _ = t.params
    live = [epoch for epoch in series if last - buckets < epoch]
    epochs = range(min(live, default=last), last + 1)
    return [Point(epoch * interval - _leap_seconds(), series.get(epoch)) for epoch in epochs]


@cache
def _leap_seconds() -> int:
    """ns that TAI, by which BPF counts epochs, is ahead of UTC on this machine."""
    ahead = time.clock_gettime_ns(time.CLOCK_TAI) - time.time_ns()
    return round(ahead / 10**9) * 10**9


def text(found: list[Point]) -> str:
    """The graph, one line for each point, and an empty line."""
    if not found:
        return "<no data>\n"
    suffix, digits = _unit(found)
    values = [p.value for p in found if p.value is not None]
    low, high = min(values, default=0), max(values, default=1)
    if low == high:
        low, high = low - 1, high + 1
    header = f"hh:mm:ss{suffix}".ljust(8 + (digits and digits + 1))
    margin = " " * (len(header) + 1)
    left, right = (str(low), str(high)) if values else ("null", "null")
    scale = f"{margin}{left}{right:>{_WIDTH - len(left)}}\n"
    border = "_" * (_WIDTH - 2)
    lines = [scale, f"{header} |{border}|\n"]
    for point in found:
        shown = "-" if point.value is None else str(point.value)
        lines.append(f"{_clock(point.start, digits)} {_line(point.value, low, high)} {shown}\n")
    return "".join([*lines, f"{margin}v{border}v\n", scale, "\n"])


def _unit(found: list[Point]) -> tuple[str, int]:
    distance = found[1].start - found[0].start if len(found) > 1 else 1
    return next((suffix, digits) for unit, suffix, digits in _UNITS if distance >= unit)


def _line(value: int | None, low: int, high: int) -> str:
    line = ["|", *" " * (_WIDTH - 2), "|"]
    if low < 0 < high:
        line[-low * _WIDTH // (high - low)] = "."
    if value is not None:
        line[(value - low) * (_WIDTH - 1) // (high - low)] = "*"
    return "".join(line)


def _clock(ns: int, digits: int) -> str:
    seconds, below = divmod(ns, 10**9)
    fraction = f".{f'{below:09}'[:digits]}" if digits else ""
    return time.strftime("%H:%M:%S", time.localtime(seconds)) + fraction


def date(ns: int) -> str:
    """UTC to the nanosecond."""
    seconds, below = divmod(ns, 10**9)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.gmtime(seconds))}.{below:09}"
