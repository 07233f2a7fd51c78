"""Where script text is, what is wrong with it, and how that is shown."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property

from bpfscript.plain import dataclass

TAB = "    "
EXPANDED = "expanded from"  # said of the call of a macro that an error is in


class Source:
    """Script text with a name. Offsets are 0-based; lines and columns are made only to print.

    `imported_by` is the `import` of another source that brought this one along.
    """

    def __init__(self, name: str, text: str, imported_by: Span | None = None) -> None:
        self.name, self.text, self.imported_by = name, text, imported_by

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(i + 1 for i, c in enumerate(self.text) if c == "\n")]

    def position(self, offset: int) -> tuple[int, int]:
        """1-based line and column of an offset."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Text of a 1-based line, without its end."""
        end = self._starts[number] - 1 if number < len(self._starts) else len(self.text)
        return self.text[self._starts[number - 1] : end]


def shown(line: str) -> str:
    """A line of a script as a terminal may see it: what could steer one is a question mark."""
    line = line.replace("\t", TAB)
    return line if line.isprintable() else "".join(c if c.isprintable() else "?" for c in line)


@dataclass(frozen=True, slots=True)
class Span:
    """The half-open range [start, end) of a source. `origin`: the macro call that put it there."""

    source: Source
    start: int
    end: int
    origin: Span | None = None

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of another."""
        return Span(self.source, self.start, other.end, self.origin)

    def through(self, mark: str) -> Span:
        """With the mark that follows, if only blanks are between."""
        after = self.source.text.find(mark, self.end) + len(mark)
        between = self.source.text[self.end : after]
        return (
            Span(self.source, self.start, after, self.origin) if between.strip() == mark else self
        )

    def origins(self) -> Iterator[Span]:
        """The macro calls and imports that led here, the nearest first."""
        outer = self.origin or self.source.imported_by
        if outer is not None:
            yield outer
            yield from outer.origins()

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    @property
    def place(self) -> str:
        """`NAME:LINE:COL1-COL2`, or `NAME:LINE1-LINE2` when it covers several lines."""
        (first, column), (last, stop) = map(self.source.position, (self.start, self.end))
        if first != last:
            return f"{self.source.name}:{first}-{last}"
        return f"{self.source.name}:{first}:{column}-{stop}"

    def excerpt(self) -> str:
        """The lines it covers; a single line is underlined with `~`."""
        (first, column), (last, stop) = map(self.source.position, (self.start, self.end))
        lines = [shown(self.source.line(n)) for n in range(first, last + 1)]
        if first == last:
            before = shown(self.source.line(first)[: column - 1])
            lines.append(" " * len(before) + "~" * max(stop - column, 1))
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault or warning about a script. `context` holds further places: (span, message)."""

    message: str
    span: Span
    severity: str = "ERROR"  # or WARNING
    hint: str | None = None
    context: tuple[tuple[Span, str], ...] = ()

    def render(self) -> str:
        parts = [f"{self.span.place}: {self.severity}: {self.message}", self.span.excerpt()]
        for span, message in self.context:
            parts += [f"{span.place}: {self.severity}: {message}", span.excerpt()]
        for span in self.span.origins():
            parts += [f"{span.place}: {self.severity}: {EXPANDED}", span.excerpt()]
        if self.hint:
            parts.append(f"HINT: {self.hint}")
        return "\n".join(parts)


class Reporter:
    """Collects what is wrong with a script while a stage goes on; the driver raises once."""

    def __init__(self) -> None:
        self.errors: list[Diagnostic] = []
        self.warnings: list[Diagnostic] = []

    def error(
        self, span: Span, message: str, hint: str | None = None, *context: tuple[Span, str]
    ) -> None:
        self.errors.append(Diagnostic(message, span, "ERROR", hint, context))

    def warning(
        self, span: Span, message: str, hint: str | None = None, *context: tuple[Span, str]
    ) -> None:
        self.warnings.append(Diagnostic(message, span, "WARNING", hint, context))

    def raise_errors(self) -> None:
        """End the stage here if it found an error: raises ScriptError, warnings after errors."""
        if self.errors:
            raise ScriptError([*self.errors, *self.warnings])


class ScriptError(Exception):
    """The user's script is at fault. Holds every diagnostic found, errors first.

    As notes it has what the tool shows of each, with the place in the script.
    """

    status = 1  # the tool's exit status

    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        self.diagnostics = diagnostics
        super().__init__(diagnostics[0].message if diagnostics else "no diagnostic")
        for diagnostic in diagnostics:
            self.add_note(diagnostic.render())


class CFault(ScriptError):
    """So are its C definitions: a C compiler refuses them."""

    status = 2


class CompilerBug(Exception):
    """bpfscript is at fault: an invariant between its stages does not hold."""


class MachineError(Exception):
    """This machine cannot do it. `str()` says what is missing, `hint` what to do."""

    status = 1  # the tool's exit status

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message, self.hint = message, hint
        super().__init__(message)
