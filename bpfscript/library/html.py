"""Maps as HTML, for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from bpfscript.pictures import flame
from bpfscript.pictures.of_maps import plots, samples, text
from bpfscript.pictures.svg import below_each_other

if TYPE_CHECKING:
    from .maps import MapView

_ROWS = 100  # of a table at most: the last ones, which are the largest


def of_map(view: MapView) -> str:
    """Counts of stacks as a flame graph, series as lines, histograms as bars, the rest a table."""
    entries = view.snapshot()
    if stacks := samples(entries):
        return flame.picture(stacks, view.name).document()
    if pictures := plots(view.name, entries):
        return below_each_other(pictures).document()
    return _table(view.name, entries)


def _table(name: str, entries: dict[Any, Any]) -> str:
    rows = [
        f"<tr><td style='text-align:left'><code>{escape(text(key))}</code></td>"
        f"<td style='text-align:right'>{escape(text(value))}</td></tr>"
        for key, value in list(entries.items())[-_ROWS:]
    ]
    hidden = len(entries) - len(rows)
    head = f"<caption><code>{escape(name)}</code>{f', {hidden} more' if hidden else ''}</caption>"
    return f"<table>{head}{''.join(rows)}</table>"
