"""What the tool says on its error stream (LANGUAGE §7.6, §8.4)."""

from __future__ import annotations

import os

from bpfscript.diagnostics import EXPANDED, TAB
from bpfscript.manifest import Place

from .fitting import columns, fitted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

_RED, _YELLOW, _RESET = "\033[31m", "\033[33m", "\033[0m"

# What a failed helper means to the user: (helper, return code)
_EXPLAINED = {
    ("map_update_elem", -7): "Map full; can't update element. Try increasing max_map_keys config "
    "or manually setting the max entries in a map declaration e.g. `let @a = hash(5000)`",
    ("map_delete_elem", -2): "Can't delete map element because it does not exist.",
    ("map_lookup_elem", 0): "Can't lookup map element because it does not exist.",
}


def coloured(stdout_is_terminal: bool, stderr_is_terminal: bool) -> bool:
    """Whether messages are in colour: BPFTRACE_COLOR is always, never, auto; NO_COLOR: never."""
    if os.environ.get("NO_COLOR"):
        return False
    wish = os.environ.get("BPFTRACE_COLOR", "auto")
    return wish == "always" or (wish != "never" and stdout_is_terminal and stderr_is_terminal)


def helper_message(helper: str, code: int, otherwise: str = "") -> str:
    """Why a helper failed that returned `code`."""
    known = _EXPLAINED.get((helper, code))
    return known or (os.strerror(-code) if code < 0 else otherwise)


def location(place: Place) -> str:
    """`FILE:LINE:COL1-COL2`, or `FILE:LINE1-LINE2` if the place's text has several lines."""
    last = place.line + place.text.count("\n")
    if last > place.line:
        return f"{place.file}:{place.line}-{last}"
    return f"{place.file}:{place.line}:{place.column}-{place.end}"


def excerpt(place: Place) -> str:
    """The script's lines; a single one is underlined."""
    if "\n" in place.text:
        return place.text
    before = place.text[: place.column - 1].replace("\t", TAB)
    underline = " " * len(before) + "~" * max(place.end - place.column, 1)
    return f"{place.text.replace(chr(9), TAB)}\n{underline}"


class Messages:
    """Writes errors and warnings to a text stream."""

    def __init__(self, stream: TextIO, colour: bool) -> None:
        self._stream, self._colour = stream, colour

    def fit(self, text: str) -> str:
        """The text as it is, but on a terminal in lines that fit there."""
        width = columns(self._stream)
        return fitted(text, width) if width else text

    def line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()

    def error(self, message: str, place: Place | None = None) -> None:
        self._say("ERROR", _RED, message, place)
        self._origins("ERROR", _RED, place)

    def warning(self, message: str, place: Place | None = None, *, show: bool = False) -> None:
        """show: with the script's line."""
        self._say("WARNING", _YELLOW, message, place)
        if show and place:
            self.line(self.fit(excerpt(place)))
        self._origins("WARNING", _YELLOW, place)

    def _origins(self, severity: str, colour: str, place: Place | None) -> None:
        for origin in place.origins if place else ():
            self._say(severity, colour, EXPANDED, origin)
            self.line(self.fit(excerpt(origin)))

    def _say(self, severity: str, colour: str, message: str, place: Place | None) -> None:
        where = f"{location(place)}: " if place else ""
        text = self.fit(f"{where}{severity}: {message.removesuffix(chr(10))}")
        self.line(f"{colour}{text}{_RESET}" if self._colour else text)
