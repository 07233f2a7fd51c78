"""The comments of a script, which are not in its tree: found between the tokens, kept by offset."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from bpfscript.diagnostics import Span
from bpfscript.frontend.layout import STEP
from bpfscript.frontend.lexer import Lexer

COMMENT = re.compile(r"//[^\n]*|/\*(?s:.*?)(?:\*/|\Z)")
STARS = re.compile(r"[ \t]*\*+(?=\s|\Z)")  # in front of the lines of a block comment
SAME_LINE = re.compile(r"[ \t]*;?[ \t]*")
LINE_END = re.compile(r"[ \t\r]*(?:\n|\Z)")


class Comment(NamedTuple):
    """Offsets [start, end) of the source, and the lines it is printed as."""

    start: int
    end: int
    lines: tuple[str, ...]


class Part(NamedTuple):
    """What has lines of its own: its place in the source, and its text by indent.

    head  offset before which its comments go above it; later ones are in its blocks
    """

    start: int
    end: int
    head: int
    text: Callable[[int], str]


class Comments:
    """The comments of a source that parses, each put into the output once, in order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._all = list(_comments(text))
        self._next = 0

    def inside(self, span: Span) -> bool:
        """Whether the next one is in a span."""
        return self._next < len(self._all) and self._all[self._next].start < span.end

    def braces(self, parts: Sequence[Part], begin: int, end: int, indent: int) -> str:
        """Parts and comments in `{` and `}`, the text between which is [begin + 1, end)."""
        lines: list[str] = []
        self.interleave(lines, parts, begin + 1, end, indent + STEP)
        inside = "".join(f"{line}\n" for line in lines)
        return f"{{\n{inside}{' ' * indent}}}" if lines else "{}"

    def interleave(
        self, lines: list[str], parts: Sequence[Part], begin: int, end: int, indent: int
    ) -> None:
        """Add the lines of what stands in [begin, end) of the source: parts, comments, blanks."""
        margin, last = " " * indent, begin
        for part in parts:
            last = self._above(lines, last, part.head, part.start, margin)
            self._blank(lines, last, part.start)
            lines.append(margin + part.text(indent))
            last = part.end
            if comment := self._behind(last):
                lines[-1] += f" {comment.lines[0]}"
                last = comment.end
        self._above(lines, last, end, end, margin)

    def _above(self, lines: list[str], last: int, before: int, place: int, margin: str) -> int:
        """Add the comments that begin before an offset, at `place` those that begin after that.

        last, and what is returned: where what has been printed ends in the source.
        """
        for comment in self._take(before):
            self._blank(lines, last, min(comment.start, place))
            lines.extend(margin + line for line in comment.lines)
            last = min(comment.end, place)
        return last

    def _take(self, before: int) -> list[Comment]:
        first = self._next
        while self._next < len(self._all) and self._all[self._next].start < before:
            self._next += 1
        return self._all[first : self._next]

    def _behind(self, offset: int) -> Comment | None:
        """Take the one that ends the line which what ends at the offset is on."""
        if self._next == len(self._all):
            return None
        comment = self._all[self._next]
        gap = SAME_LINE.match(self._text, offset)
        if not gap or gap.end() != comment.start or len(comment.lines) > 1:
            return None
        if not LINE_END.match(self._text, comment.end):
            return None
        self._next += 1
        return comment

    def _blank(self, lines: list[str], last: int, start: int) -> None:
        """As many blank lines as there are in the source, but none at the top of it."""
        if lines or last:
            lines.extend([""] * (self._text.count("\n", last, start) - 1))


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
