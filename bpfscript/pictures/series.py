"""Time series: lines over a common axis of time, broken where nothing was seen."""

from __future__ import annotations

import time
from collections.abc import Sequence

from .svg import CHARACTER, INK, Picture, element

_WIDTH, _HEIGHT, _TOP = 560, 160, 14
_COLOURS = ("#4878a8", "#c05030", "#50883c", "#8858a0", "#a08020", "#408888")

Points = Sequence[tuple[int, int | None]]


def picture(lines: Sequence[tuple[str, Points]]) -> Picture:
    """lines: a label, and points of (ns since 1970, value or None)."""
    values = [v for _, points in lines for _, v in points if v is not None]
    times = [t for _, points in lines for t, _ in points]
    if not values:
        return Picture(120, 20, [element("text", "no data", x=4, y=14)])
    low, high, first, last = min(*values, 0), max(*values, 0), min(times), max(times)
    high = high if high > low else low + 1
    left = CHARACTER * max(len(str(low)), len(str(high))) + 10

    def place(point: tuple[int, int]) -> tuple[float, float]:
        x = left + (point[0] - first) * _WIDTH / ((last - first) or 1)
        return x, _TOP + (high - point[1]) * _HEIGHT / (high - low)

    bottom = _TOP + _HEIGHT
    body = [
        element("path", d=f"M{left:g} {_TOP}V{bottom}H{left + _WIDTH:g}", fill="none", stroke=INK),
        element("text", str(high), x=left - 4, y=_TOP + 4, text_anchor="end"),
        element("text", str(low), x=left - 4, y=bottom + 4, text_anchor="end"),
        element("text", _clock(first), x=left, y=bottom + 16),
        element("text", _clock(last), x=left + _WIDTH, y=bottom + 16, text_anchor="end"),
    ]
    for number, (label, points) in enumerate(lines):
        colour = _COLOURS[number % len(_COLOURS)]
        for run in _runs(points):
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, run))
            body.append(element("polyline", points=path, fill="none", stroke=colour))
            body += [element("circle", cx=x, cy=y, r=2, fill=colour) for x, y in map(place, run)]
        if label:
            body.append(
                element("text", label, x=left + 8, y=bottom + 34 + 16 * number, fill=colour)
            )
    named = sum(bool(label) for label, _ in lines)
    return Picture(left + _WIDTH + 10, bottom + 24 + 16 * named, body)


def _runs(points: Points) -> list[list[tuple[int, int]]]:
    runs: list[list[tuple[int, int]]] = [[]]
    for start, value in points:
        if value is not None:
            runs[-1].append((start, value))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _clock(ns: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(ns // 10**9))
