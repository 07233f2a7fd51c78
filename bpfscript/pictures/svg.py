"""What the pictures share: elements of SVG, colours, sizes."""

from __future__ import annotations

from html import escape
from typing import NamedTuple

FONT = 12
CHARACTER = 7.2  # width of one at that size, in a monospaced font
BAR, INK = "#4878a8", "#303030"
_ROOM = 16


def element(name: str, text: str | None = None, /, **attributes: float | str) -> str:
    """An element; `_` in the names of attributes is `-`, text is escaped."""
    given = "".join(
        f' {k.rstrip("_").replace("_", "-")}="{_value(v)}"' for k, v in attributes.items()
    )
    return f"<{name}{given}/>" if text is None else f"<{name}{given}>{printable(text)}</{name}>"


def printable(text: str) -> str:
    """Text as XML may hold it: what it may not is a question mark."""
    return escape("".join(c if c.isprintable() else "?" for c in text))


class Picture(NamedTuple):
    """Elements that lie in a rectangle."""

    width: float
    height: float
    body: list[str]

    def document(self) -> str:
        """It alone, as a file."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:g}" '
            f'height="{self.height:g}" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'font-family="monospace" font-size="{FONT}" fill="{INK}">'
        )
        return "\n".join([head, *self.body, "</svg>"]) + "\n"


def below_each_other(pictures: list[Picture]) -> Picture:
    """On white, with room around each."""
    width = max((p.width for p in pictures), default=0) + 2 * _ROOM
    body, y = list[str](), float(_ROOM)
    for picture in pictures:
        body += [f'<g transform="translate({_ROOM},{y:g})">', *picture.body, "</g>"]
        y += picture.height + _ROOM
    paper = element("rect", width=width, height=y, fill="white")
    return Picture(width, y, [paper, *body])


def _value(value: float | str) -> str:
    return escape(value) if isinstance(value, str) else f"{value:g}"
