"""Text output (LANGUAGE §7)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from bpfscript.manifest import Event, Place
from bpfscript.types import Aggregate

from .output import Printer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import time_series
    from .entries import Entry
    from .histograms import Draw
    from .tables import Table
    from .values import Values

_TOGETHER = 4096  # lines made at once


class TextPrinter(Printer):
    """For people: output as the script formats it, messages on the error stream."""

    quick = True

    def shapes(self) -> tuple[Values, Values]:
        from .values import Values

        values = Values(self.manifest, self.symbols, escape=self.terminal)
        return values, values

    def attached(self, count: int) -> None:
        if not self.quiet:
            self.messages.line(f"Attached {count} probe{'' if count == 1 else 's'}")
        self.notify()

    def pinned(self, path: str) -> None:
        self.sink.write(f"Program pinned to {path}\n")

    def lost(self, count: int) -> None:
        self.sink.batch_end()
        self.messages.line(f"Lost {count} events")

    def end(self) -> None:
        self.sink.write("\n\n")

    def record(self, kind: str, text: str) -> None:
        self.sink.write(text + "\n" if kind in ("join", "system") else text)

    def value(self, shown: str) -> None:
        self.sink.write(shown + "\n")

    def message(self, kind: str, text: str, place: Place | None) -> None:
        self.sink.batch_end()
        if kind == "errorf":
            self.messages.error(text, place)
        else:
            self.messages.warning(text, place, show=kind == "runtime_error")

    def helper_failed(self, event: Event, code: int) -> None:
        info = f"Additional Info - helper: {event.helper}, retcode: {code}"
        self.message("runtime_error", f"{self.reason(event, code)}\n{info}", event.place)

    def histogram(self) -> Draw:
        """What draws one."""
        from .histograms import text

        return text

    def series(self, points: list[time_series.Point]) -> str:
        from . import time_series

        return time_series.text(points)

    def table(
        self, name: str, table: Table, entries: Sequence[Entry], top: int, divisor: int
    ) -> None:
        t = table.value_type
        kind = t.name if isinstance(t, Aggregate) else ""
        if isinstance(t, Aggregate) and kind in ("hist", "lhist"):
            from . import histograms

            show = histograms.shower(t, divisor, histograms.bounds(t).labels, self.histogram())
            for label, counts in zip(*table.columns(entries, top), strict=True):
                self.sink.write(f"{_label(name, label)}:\n{show(counts)}\n")
        elif isinstance(t, Aggregate) and kind == "tseries":
            from . import time_series

            newest = time_series.newest(row.value for row in table.rows(entries))
            for row in table.rows(entries, top):
                graph = self.series(time_series.points(t, row.value, newest))
                self.sink.write(f"{_label(name, row.label)}:\n{graph}")
        else:
            show = table.shower(divisor)
            labels, values = table.columns(entries, top)
            line = f"{name}[%s]: %s\n" if table.keyed else f"{name}%.0s: %s\n"
            for start in range(0, len(values), _TOGETHER):
                some = slice(start, start + _TOGETHER)
                shown = values[some] if show is str else list(map(show, values[some]))
                pairs = chain.from_iterable(zip(labels[some], shown, strict=True))
                self.sink.write(line * len(shown) % tuple(pairs))


def _label(name: str, label: object) -> str:
    return name if label is None else f"{name}[{label}]"
