"""The error stream: errors, warnings and diagnostics, in colour where that is wanted."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cached_property

from bpfscript.runtime.messages import Messages, coloured
from bpfscript.target import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Shown(Protocol):
        """What has the form of a diagnostic."""

        @property
        def severity(self) -> str: ...

        def render(self) -> str: ...


COLOURS = {"ERROR": "\033[31m", "WARNING": "\033[33m"}
RESET = "\033[0m"
WISHES = ("auto", "always", "never")


def open_streams() -> None:
    """Text goes out as UTF-8 whatever the locale, bytes that are not as they came in (PEP 383).

    A stream that was closed when we started swallows what is written to it.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="surrogateescape")


class Console:
    @cached_property
    def _colour(self) -> bool:
        wish = os.environ.get("BPFTRACE_COLOR", "auto")
        if wish not in WISHES:
            print(
                "WARNING: Invalid env value! The valid values of `BPFTRACE_COLOR` are "
                f"[{'|'.join(WISHES)}]. The current value is {wish}!",
                file=sys.stderr,
            )
        return coloured(sys.stdout.isatty(), sys.stderr.isatty())

    @cached_property
    def _messages(self) -> Messages:
        return Messages(sys.stderr, self._colour)

    def open(self) -> None:
        """Says what is wrong with the wish for colour, if anything is."""
        _ = self._colour

    def error(self, message: str, hint: str | None = None) -> None:
        self._messages.error(message)
        if hint:
            self._messages.line(self._messages.fit(f"HINT: {hint}"))

    def refusal(self, error: MachineError) -> None:
        self.error(str(error), error.hint)

    def lines(self, *texts: str) -> None:
        for text in texts:
            self._messages.line(text)

    def warning(self, message: str) -> None:
        self._messages.warning(message)

    def diagnostics(self, found: Iterable[Shown]) -> None:
        for diagnostic in found:
            lines = self._messages.fit(diagnostic.render()).split("\n")
            if self._colour:
                lines = [self._painted(line, diagnostic.severity) for line in lines]
            self._messages.line("\n".join(lines))

    def _painted(self, line: str, severity: str) -> str:
        said = f": {severity}: " in line
        return f"{COLOURS[severity]}{line}{RESET}" if said else line
