"""Plots of text: histograms with bars of eighths, time series as lines of braille dots."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bpfscript.runtime import time_series
from bpfscript.runtime.histograms import Draw
from bpfscript.runtime.text import TextPrinter

_BAR, _EIGHTHS = 52, " ▏▎▍▌▋▊▉█"
_COLUMNS, _ROWS = 64, 10  # of characters, each of 2 × 4 dots
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # Unicode, Braille Patterns
_BLANK = 0x2800


class PlotPrinter(TextPrinter):
    """Text output whose histograms and time series are drawn finer."""

    def histogram(self) -> Draw:
        return lambda labels, hits: bars(list(zip(labels, hits, strict=True)))

    def series(self, points: list[time_series.Point]) -> str:
        return line(points)


def bars(rows: Sequence[tuple[str, int]]) -> str:
    """rows: label and count; a line each, with the share of the whole behind the bar."""
    most, total = max((n for _, n in rows), default=0) or 1, sum(n for _, n in rows) or 1
    left, middle = max((len(t) for t, _ in rows), default=0), len(str(most))
    lines = []
    for label, count in rows:
        bar, share = _bar(count, most), 100 * count / total
        lines.append(f"{label:<{left}} {count:>{middle}} {bar:<{_BAR}} {share:5.1f}%\n")
    return "".join(lines)


def _bar(count: int, most: int) -> str:
    eighths = count * _BAR * 8 // most
    whole, rest = divmod(max(eighths, 1) if count else 0, 8)
    return _EIGHTHS[8] * whole + (_EIGHTHS[rest] if rest else "")


def line(points: Sequence[tuple[int, int | None]]) -> str:
    """points: ns since 1970, and a value or None. Broken where nothing was seen."""
    values = [value for _, value in points if value is not None]
    if not values:
        return "no data\n"
    low, high = min(*values, 0), max(*values, 0)
    high += high == low
    dots = [[0] * _COLUMNS for _ in range(_ROWS)]
    before: tuple[int, int] | None = None
    for number, (_, value) in enumerate(points):
        here = None
        if value is not None:
            x = number * (2 * _COLUMNS - 1) // max(len(points) - 1, 1)
            here = x, (high - value) * (4 * _ROWS - 1) // (high - low)
            _draw(dots, before or here, here)
            for x in (here[0] - 1, here[0] + 1):  # a dot alone is hardly seen
                if 0 <= x < 2 * _COLUMNS:
                    _draw(dots, (x, here[1]), (x, here[1]))
        before = here
    scale = {0: str(high), _ROWS - 1: str(low)}
    width = max(map(len, scale.values()))
    first, last = _clock(points[0][0]), _clock(points[-1][0])
    lines = [
        f"{scale.get(y, ''):>{width}} ┤{''.join(chr(_BLANK + cell) for cell in row)}\n"
        for y, row in enumerate(dots)
    ]
    axis = f"{'':{width}} └{'─' * _COLUMNS}\n"
    return "".join([*lines, axis, f"{'':{width}}  {first}{last:>{_COLUMNS - len(first)}}\n\n"])


def _draw(dots: list[list[int]], start: tuple[int, int], end: tuple[int, int]) -> None:
    (x0, y0), (x1, y1) = start, end
    steps = max(abs(x1 - x0), abs(y1 - y0), 1)
    for step in range(steps + 1):
        x, y = x0 + (x1 - x0) * step // steps, y0 + (y1 - y0) * step // steps
        dots[y // 4][x // 2] |= _DOTS[x % 2][y % 4]


def _clock(ns: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(ns // 10**9))
