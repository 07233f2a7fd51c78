"""What resolving an attach point of any kind works with: the point, its matches, the search."""

from __future__ import annotations

from collections.abc import Iterable

from bpfscript.diagnostics import Reporter, Span
from bpfscript.manifest import Attach
from bpfscript.plain import dataclass, field
from bpfscript.target import Target, UsdtProbe, UserSymbol

from .probes import ProbeKind
from .typed import Limits, Options


@dataclass(frozen=True, slots=True)
class Point:
    """An attach point of a known kind, with a valid number of parts."""

    kind: ProbeKind
    parts: tuple[str, ...]  # after the kind
    span: Span
    guessed: bool = False  # the kind is one of several that a wildcard stands for

    def name(self, *parts: str | int) -> str:
        """What the builtin `probe` shows of it."""
        return ":".join(map(str, (self.kind.name, *parts)))

    def attach(self, name: str, kind: str = "", **fields: int | str) -> Attach:
        kind = kind or self.kind.attach or self.kind.name
        return Attach(kind, name, **fields)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Match:
    """One place that an attach point stands for.

    event   (category, event) of a tracepoint
    marker  what the file says of a static probe
    symbol  the function of a program that the place is in
    """

    point: Point
    attach: Attach
    event: tuple[str, str] = ("", "")
    marker: UsdtProbe | None = None
    symbol: UserSymbol | None = None


@dataclass(slots=True)
class Search:
    """Where matches are looked for, and where faults go."""

    target: Target
    options: Options
    limits: Limits
    report: Reporter
    names: dict[tuple[str, str], Span] = field(default_factory=dict)  # of test and bench probes

    def error(self, point: Point, message: str, hint: str | None = None) -> list[Match]:
        self.report.error(point.span, message, hint)
        return []

    def none(self, point: Point, what: str, hint: str | None = None) -> list[Match]:
        """Nothing matched; `what` is the pattern. Patterns with a wildcard may match nothing."""
        if "*" not in what and not point.guessed:
            self.missing(point.span, f"No matches for {point.kind.name} {what}.", "Skipping.", hint)
        return []

    def missing(
        self, span: Span, message: str, otherwise: str, hint: str | None = None, advice: str = ""
    ) -> None:
        """A fault as severe as `missing_probes` says; a warning ends with `otherwise`."""
        if self.limits.missing_probes == "error":
            self.report.error(span, f"{message}{advice}", hint)
        elif self.limits.missing_probes == "warn":
            self.report.warning(span, f"{message} {otherwise}", hint)


def near(name: str, known: Iterable[str]) -> str | None:
    """A hint with the known name that is most like this one."""
    from difflib import get_close_matches  # only for messages

    found = get_close_matches(name, list(known), 1, 0.75)
    return f"did you mean {found[0]}?" if found else None
