"""Regular expressions that are compiled when they are first asked: a short script needs few."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cached_property


class Pattern:
    """As `re.compile` gives, later."""

    def __init__(self, text: str, flags: re.RegexFlag = re.ASCII) -> None:
        self._text, self._flags = text, flags

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(self._text, self._flags)

    @cached_property
    def match(self) -> Callable[[str, int], re.Match[str] | None]:
        return self.compiled.match
