"""What the pictures share: elements of SVG, colours, sizes."""

from __future__ import annotations

from html import escape

FONT = 12
CHARACTER = 7.2  # width of one at that size, in a monospaced font
BAR, LINE, INK = "#4878a8", "#c05030", "#303030"


def element(name: str, text: str | None = None, /, **attributes: float | str) -> str:
    """An element; `_` in the names of attributes is `-`, text is escaped."""
    given = "".join(
        f' {k.rstrip("_").replace("_", "-")}="{_value(v)}"' for k, v in attributes.items()
    )
    return f"<{name}{given}/>" if text is None else f"<{name}{given}>{printable(text)}</{name}>"


def printable(text: str) -> str:
    """Text as XML may hold it: what it may not is a question mark."""
    return escape("".join(c if c.isprintable() else "?" for c in text))


def document(width: float, height: float, body: list[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" font-family="monospace" font-size="{FONT}" '
        f'fill="{INK}">'
    )
    return "\n".join([head, *body, "</svg>"]) + "\n"


def _value(value: float | str) -> str:
    return escape(value) if isinstance(value, str) else f"{value:g}"
