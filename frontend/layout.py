"""Documents → lines of at most WIDTH columns and a `;`: where what is too wide is broken.

A document knows its text on one line; `lay` breaks it only where that does not fit. How a list is
broken is decided by the widths of its items on one line, so each part is laid out once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from bpfscript.plain import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Style = Literal["aligned", "block", "record"]

WIDTH = 90
STEP = 2


@dataclass(frozen=True)
class Row:
    """Parts one after the other."""

    parts: tuple[Doc, ...]

    @cached_property
    def flat(self) -> str | None:
        return _joined("", self.parts)

    def lay(self, column: int, indent: int, tail: int) -> str:
        text = ""
        for position, part in enumerate(self.parts):
            after = sum(map(_head, _until_list(self.parts[position + 1 :])))
            last = position == len(self.parts) - 1
            text += lay(part, _column(text, column), indent, tail if last else after)
        return text


@dataclass(frozen=True)
class List:
    """`open` items `close`.

    aligned  further lines begin below the first item; as a block if some item is too wide for that
    block    items on a line of their own, brackets around them; aligned if one line does not do
    record   a block in any case
    """

    open: str
    items: tuple[Doc, ...]
    close: str
    style: Style = "aligned"

    @cached_property
    def flat(self) -> str | None:
        inner = _joined(", ", self.items)
        return None if inner is None else f"{self.open}{inner}{self.close}"

    def lay(self, column: int, indent: int, tail: int) -> str:
        if not self.items:
            return self.open + self.close
        below, inside = column + len(self.open), column + STEP
        if self._as_block(below, inside, tail):
            lines = _filled(self.items, ",", inside, indent, 0)
            return f"{self.open}\n{' ' * inside}{lines}\n{' ' * column}{self.close}"
        tail += len(self.close)
        return f"{self.open}{_filled(self.items, ',', below, indent, tail)}{self.close}"

    def _as_block(self, below: int, inside: int, tail: int) -> bool:
        if self.style == "record":
            return True
        widths = [_width(item) + 1 for item in self.items]
        if self.style == "block" and inside + sum(widths) + len(widths) - 2 <= WIDTH:
            return True
        widths[-1] += tail
        return below > inside and below + max(widths) > WIDTH


@dataclass(frozen=True)
class Chain:
    """Operands of one operator, from left to right."""

    operands: tuple[Doc, ...]
    operator: str

    @cached_property
    def flat(self) -> str | None:
        return _joined(f" {self.operator} ", self.operands)

    def lay(self, column: int, indent: int, tail: int) -> str:
        separator = f" {self.operator}"
        if all(column + _width(doc) + len(separator) <= WIDTH for doc in self.operands):
            return _filled(self.operands, separator, column, indent, tail)
        text = lay(self.operands[0], column, indent, len(separator))
        for position, doc in enumerate(self.operands[1:], 2):
            after = tail if position == len(self.operands) else len(separator)
            text += separator
            begin = _column(text, column) + 1
            fits = begin + _width(doc) + after <= WIDTH  # behind what had to be broken
            text += " " if fits else "\n" + " " * column
            text += lay(doc, begin if fits else column, indent, after)
        return text


@dataclass(frozen=True)
class Choice:
    """`condition ? then : otherwise`, over three lines; without `then`, `?:` over two."""

    condition: Doc
    then: Doc | None
    otherwise: Doc

    @cached_property
    def flat(self) -> str | None:
        if self.then is None:
            return _joined(" ?: ", (self.condition, self.otherwise))
        return _joined("", (self.condition, " ? ", self.then, " : ", self.otherwise))

    def lay(self, column: int, indent: int, tail: int) -> str:
        margin = "\n" + " " * column
        text = lay(self.condition, column, indent, 0)
        if self.then is None:
            return f"{text}{margin}?: {lay(self.otherwise, column + 3, indent, tail)}"
        then = lay(self.then, column + 2, indent, 0)
        return f"{text}{margin}? {then}{margin}: {lay(self.otherwise, column + 2, indent, tail)}"


@dataclass(frozen=True)
class Code:
    """Statements in braces. flat: None if they take several lines.

    lines  those, given the column of the first one and the indent of the statement
    """

    flat: str | None
    lines: Callable[[int, int], str]

    def lay(self, column: int, indent: int, tail: int) -> str:
        return self.lines(column, indent)


Doc = str | Row | List | Chain | Choice | Code


def flat(doc: Doc) -> str | None:
    """Its text on one line, if it has one."""
    return doc if isinstance(doc, str) else doc.flat


def lay(doc: Doc, column: int, indent: int, tail: int = 0) -> str:
    """The text of a document that begins at `column`.

    indent  of the statement that it is in; braces go back to it
    tail    columns that have to stay free after the last line
    """
    if isinstance(doc, str):
        return doc
    if doc.flat is not None and column + len(doc.flat) + tail <= WIDTH:
        return doc.flat
    return doc.lay(column, indent, tail)


def _filled(items: tuple[Doc, ...], separator: str, column: int, indent: int, tail: int) -> str:
    """Lines of items, all at one column, filled from the end: the first is the short one."""
    lines: list[list[Doc]] = []
    room = 0
    for item in reversed(items):
        if lines and _width(item) + len(separator) + 1 <= room:
            lines[-1].append(item)
        else:
            room = WIDTH - column - (len(separator) if lines else tail)
            lines.append([item])
            room += len(separator) + 1
        room -= _width(item) + len(separator) + 1
    texts = []
    for line in reversed(lines):
        parts: list[Doc] = []
        for item in reversed(line):
            parts += [f"{separator} ", item] if parts else [item]
        after = tail if line is lines[0] else len(separator)
        texts.append(Row(tuple(parts)).lay(column, indent, after))
    return f"{separator}\n{' ' * column}".join(texts)


def _joined(separator: str, docs: tuple[Doc, ...]) -> str | None:
    texts = [text for doc in docs if (text := flat(doc)) is not None]
    return separator.join(texts) if len(texts) == len(docs) else None


def _width(doc: Doc) -> int:
    text = flat(doc)
    return WIDTH if text is None else len(text)


def _head(doc: Doc) -> int:
    """Columns that it takes before it can be broken."""
    return len(doc.open) if isinstance(doc, List) else _width(doc)


def _until_list(docs: tuple[Doc, ...]) -> list[Doc]:
    """Those that have to stay on one line: up to the first list."""
    found: list[Doc] = []
    for doc in docs:
        found.append(doc)
        if isinstance(doc, List):
            break
    return found


def _column(text: str, column: int) -> int:
    """Where the text ends that began at a column."""
    _, line, last = text.rpartition("\n")
    return len(last) if line else column + len(text)
