"""A histogram: a bar for each bucket, its label on the left, its count on the right."""

from __future__ import annotations

from collections.abc import Sequence

from .svg import BAR, CHARACTER, Picture, element

_ROW, _BAR = 18, 420


def picture(rows: Sequence[tuple[str, int]], title: str = "") -> Picture:
    """rows: label and count."""
    most = max((count for _, count in rows), default=0) or 1
    left = CHARACTER * max((len(label) for label, _ in rows), default=0) + 12
    right = CHARACTER * len(str(most)) + 12
    top = _ROW * bool(title)
    body = [element("text", title, x=4, y=13, font_weight="bold")] if title else []
    for number, (label, count) in enumerate(rows):
        y = top + number * _ROW
        body.append(element("text", label, x=left - 6, y=y + 13, text_anchor="end"))
        width = count * _BAR / most
        body.append(element("rect", x=left, y=y + 2, width=width, height=_ROW - 4, fill=BAR))
        body.append(element("text", str(count), x=left + width + 6, y=y + 13))
    width = max(left + _BAR + right, CHARACTER * len(title) + 8)
    return Picture(width, max(top + len(rows) * _ROW, _ROW) + 4, body)
