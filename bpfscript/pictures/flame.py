"""Flame graphs: stacks of function names, each box as wide as its share of the samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

from .svg import CHARACTER, Picture, element, printable

WIDTH, _ROW, _NARROWEST = 1000, 17, 0.2

Sample = tuple[tuple[str, ...], int]
"""Function names, the outermost first, and how often they were seen."""


@dataclass(slots=True)
class _Box:
    count: int = 0
    inner: dict[str, _Box] = field(default_factory=dict)


def picture(samples: Iterable[Sample], title: str = "all") -> Picture:
    """A picture with the outermost functions at the bottom; a box's title tells its share."""
    root = _Box()
    for names, count in samples:
        box = root
        box.count += count
        for name in names:
            box = box.inner.setdefault(name, _Box())
            box.count += count
    if not root.count:
        return Picture(120, 20, [element("text", "no samples", x=4, y=14)])
    body: list[str] = []
    deepest = 0
    waiting = [(title, root, 0.0, 0)]
    scale = WIDTH / root.count
    boxes: list[tuple[str, float, float, int, int]] = []
    while waiting:
        name, box, x, depth = waiting.pop()
        width = box.count * scale
        if width < _NARROWEST:
            continue
        deepest = max(deepest, depth)
        boxes.append((name, x, width, depth, box.count))
        for inner_name, inner in sorted(box.inner.items()):
            waiting.append((inner_name, inner, x, depth + 1))
            x += inner.count * scale
    for name, x, width, depth, count in boxes:
        body.append(_box(name, x, width, (deepest - depth) * _ROW, count, root.count))
    return Picture(WIDTH, (deepest + 1) * _ROW, body)


def _box(name: str, x: float, width: float, y: float, count: int, total: int) -> str:
    share = printable(f"{name}: {count} samples, {100 * count / total:.2f}%")
    room = int((width - 6) / CHARACTER)
    shown = name if len(name) <= room else name[: room - 2] + ".." if room > 3 else ""
    parts = [
        f"<g><title>{share}</title>",
        element(
            "rect", x=x, y=y, width=max(width - 0.5, 0.1), height=_ROW - 1, rx=2, fill=_colour(name)
        ),
        element("text", shown, x=x + 3, y=y + 12) if shown else "",
        "</g>",
    ]
    return "".join(parts)


def _colour(name: str) -> str:
    """A warm one, always the same for a name."""
    mixed = crc32(name.encode("utf-8", "surrogateescape"))
    return f"rgb({205 + mixed % 50},{80 + (mixed >> 8) % 130},{(mixed >> 16) % 55 + 20})"
