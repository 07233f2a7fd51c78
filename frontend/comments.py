"""The comments of a script, which are not in its tree: found between the tokens, kept by offset."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from bpfscript.diagnostics import Source, Span
from bpfscript.frontend.lexer import Lexer

COMMENT = re.compile(r"//[^\n]*|/\*(?s:.*?)(?:\*/|\Z)")
STARS = re.compile(r"[ \t]*\*+(?=\s|\Z)")  # in front of the lines of a block comment
SAME_LINE = re.compile(r"[ \t]*;?[ \t]*")
LINE_END = re.compile(r"[ \t\r]*(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Comment:
    """Offsets [start, end) of the source, and the lines it is printed as."""

    start: int
    end: int
    lines: tuple[str, ...]


class Comments:
    """The comments of a source that parses, to be taken in order."""

    def __init__(self, source: Source) -> None:
        self.text = source.text
        self._all = list(_comments(source.text))
        self._next = 0

    def before(self, offset: int) -> list[Comment]:
        """Take those that begin before an offset."""
        first = self._next
        while self._next < len(self._all) and self._all[self._next].start < offset:
            self._next += 1
        return self._all[first : self._next]

    def behind(self, offset: int) -> Comment | None:
        """Take the one that ends the line which what ends at the offset is on."""
        if self._next == len(self._all):
            return None
        comment = self._all[self._next]
        gap = SAME_LINE.match(self.text, offset)
        if not gap or gap.end() != comment.start or len(comment.lines) > 1:
            return None
        if not LINE_END.match(self.text, comment.end):
            return None
        self._next += 1
        return comment

    def inside(self, span: Span) -> bool:
        """Whether the next to be taken is in a span."""
        return self._next < len(self._all) and self._all[self._next].start < span.end


def _comments(text: str) -> Iterator[Comment]:
    end = 0
    for token in Lexer(text).script():
        for match in COMMENT.finditer(text, end, token.start):
            yield Comment(match.start(), match.end(), tuple(_lines(match[0])))
        end = token.end


def _lines(text: str) -> list[str]:
    """`// …` for each line of a comment; those of a block comment lose their stars."""
    if text.startswith("//"):
        body = text[2:].rstrip()
        return [f"// {body}" if body and body[0] not in " \t/" else f"//{body}"]
    first, *more = text.removeprefix("/*").removesuffix("*/").expandtabs().split("\n")
    more = [STARS.sub("", line).rstrip() for line in more]
    margin = min((len(line) - len(line.lstrip()) for line in more if line), default=0)
    lines = [first.lstrip("*").strip(), *(line[margin:] for line in more)]
    while len(lines) > 1 and not lines[-1]:
        lines.pop()
    if len(lines) > 1 and not lines[0]:
        lines.pop(0)
    return [f"// {line}".rstrip() for line in lines]
