"""JSON output: one record a line (LANGUAGE §7.5)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

from bpfscript.manifest import Event, Place
from bpfscript.types import Aggregate

from . import histograms, time_series
from .entries import Entry
from .json_values import JsonValues, number, quote, show_all
from .messages import helper_message
from .output import Printer
from .printf_runs import Wrap
from .tables import Table
from .values import Values

_TOGETHER = 4096  # entries of a map that are written at once
_NAMES = {"system": "syscall"}  # as upstream calls them


class JsonPrinter(Printer):
    """For programs: all that a run has to say is a line of output. Nothing to escape for a
    terminal: JSON has no control characters."""

    quick = True
    wrap = Wrap('{"type": "printf", "data": "', '"}\n', lambda text: quote(text)[1:-1])

    def shapes(self) -> tuple[Values, Values]:
        return Values(self.manifest, self.symbols), JsonValues(self.manifest, self.symbols)

    def attached(self, count: int) -> None:
        if not self.quiet:
            self._count("attached_probes", "probes", count)
        self.notify()

    def pinned(self, path: str) -> None:
        pass

    def lost(self, count: int) -> None:
        self._count("lost_events", "events", count)

    def end(self) -> None:
        pass

    def record(self, kind: str, text: str) -> None:
        self._line(_NAMES.get(kind, kind), quote(text))

    def value(self, shown: str) -> None:
        self._line("value", shown)

    def message(self, kind: str, text: str, place: Place | None) -> None:
        self.sink.write(f'{{"type": "{kind}", "msg": {quote(text)}{_where(place)}}}\n')

    def helper_failed(self, event: Event, code: int) -> None:
        message = quote(helper_message("", code, event.text))
        self.sink.write(
            f'{{"type": "helper_error", "msg": {message}, "helper": {quote(event.helper)}, '
            f'"retcode": {code}{_where(event.place)}}}\n'
        )

    def table(
        self, name: str, table: Table, entries: Sequence[Entry], top: int, divisor: int
    ) -> None:
        t = table.value_type
        kind = _kind(t.name if isinstance(t, Aggregate) else "")
        (labels, values), show = table.columns(entries, top), self._shower(table, entries, divisor)
        if not table.keyed:
            if values:
                self._line(kind, f"{{{quote(name)}: {show(values[0])}}}")
        elif values or kind == "stats":
            self.sink.write(f'{{"type": "{kind}", "data": {{{quote(name)}: {{')
            for start in range(0, len(values), _TOGETHER):
                some = slice(start, start + _TOGETHER)
                keys, shown = _keys(labels[some]), show_all(show, values[some])
                line = ", ".join(['"%s": %s'] * len(keys))
                pairs = tuple(chain.from_iterable(zip(keys, shown, strict=True)))
                self.sink.write(", " * bool(start) + line % pairs)
            self.sink.write("}}}\n")

    def _shower(self, table: Table, entries: Sequence[Entry], divisor: int) -> Callable[[Any], str]:
        t = table.value_type
        if isinstance(t, Aggregate) and t.name in ("hist", "lhist"):
            _, lows, highs = histograms.bounds(t)
            heads = list(map(_bucket, lows, highs))
            return histograms.shower(t, divisor, heads, _buckets)
        if isinstance(t, Aggregate) and t.name == "tseries":
            last = time_series.newest(row.value for row in table.rows(entries))
            return lambda series: _points(time_series.points(t, series, last))
        return table.shower(divisor)

    def _count(self, kind: str, what: str, count: int) -> None:
        self.sink.write(f'{{"type": "{kind}", "count": {count}, "data": {{"{what}": {count}}}}}\n')

    def _line(self, kind: str, data: str) -> None:
        self.sink.write(f'{{"type": "{kind}", "data": {data}}}\n')


def _where(place: Place | None) -> str:
    if place is None:
        return ""
    return f', "filename": {quote(place.file)}, "line": {place.line}, "col": {place.column}'


def _kind(aggregate: str) -> str:
    match aggregate:
        case "avg" | "stats":
            return "stats"
        case "hist" | "lhist":
            return "hist"
        case "tseries":
            return "tseries"
    return "map"


def _keys(labels: Sequence[object]) -> Sequence[object]:
    """Between quotes."""
    if isinstance(labels[0], int):
        return labels
    return [quote(str(label).replace(" ", ""))[1:-1] for label in labels]


def _buckets(heads: Sequence[str], hits: Sequence[int]) -> str:
    """All bounds inclusive."""
    shown = [f"{head}{number(n)}}}" for head, n in zip(heads, hits, strict=True)]
    return f"[{','.join(shown)}]"


def _bucket(low: int | None, high: int | None) -> str:
    """What stands before the count."""
    least = "" if low is None else f'"min": {number(low)}, '
    most = "" if high is None else f'"max": {number(high - 1)}, '
    return f'{{{least}{most}"count": '


def _points(points: list[time_series.Point]) -> str:
    shown = [
        f'{{"interval_start":"{time_series.date(point.start)}","value":{point.value}}}'
        for point in points
        if point.value is not None
    ]
    return f"[{','.join(shown)}]"
