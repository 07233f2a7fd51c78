"""Diagnostics fitted to the width of a terminal.

s.bt:1:200-203: ERROR: a message that is          s.bt:1:200-203: ERROR: a message
long                                        →         that is long
begin { … 190 columns … nosuch(5, 6, 7); }        …umns … nosuch(5, 6, 7); }
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_SAID = ("ERROR: ", "WARNING: ", "HINT: ")
_INDENT = "    "
_LEAST = 20  # columns; a narrower terminal has no width worth fitting to


def columns(stream: TextIO) -> int | None:
    """The width of the terminal that a stream is; None if it is none."""
    try:
        width = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):
        return None
    return width if width >= _LEAST else None


def fitted(text: str, width: int) -> str:
    """Messages broken between words; of a long line of the script, the part that is underlined."""
    lines = [""]
    for line in text.split("\n"):
        if "~" in line and not line.strip(" ~"):
            lines[-1], line = _window(lines[-1], line, width)
        if len(line) > width and any(word in line for word in _SAID):
            import textwrap

            line = "\n".join(
                textwrap.wrap(
                    line, width, subsequent_indent=_INDENT,
                    break_long_words=False, break_on_hyphens=False,
                )
            )  # fmt: skip
        lines.append(line)
    return "\n".join(lines[1:])


def _window(source: str, underline: str, width: int) -> tuple[str, str]:
    """As much of both as fits, beginning a little before what is underlined."""
    start = underline.index("~")
    whole = max(len(source), len(underline))
    if whole <= width:
        return source, underline
    left = max(0, min(start - width // 3, whole - width))
    part = source[left : left + width]
    if left:
        part = "…" + part[1:]
    if left + width < len(source):
        part = part[:-1] + "…"
    return part, underline[left : left + width]
