"""Maps as HTML, for notebooks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from .distributions import Histogram, Series
from .stacks import Stack

if TYPE_CHECKING:
    from .maps import MapView

_ROWS = 100  # of a table at most: the last ones, which are the largest


def of_map(view: MapView) -> str:
    """Counts of stacks as a flame graph, series as lines, histograms as bars, the rest a table."""
    entries = view.snapshot()
    if samples := stack_samples(entries):
        from bpfscript.pictures import flame

        return flame.svg(samples, view.name)
    values = list(entries.values())
    if values and all(isinstance(value, Series) for value in values):
        from bpfscript.pictures import series

        return series.svg([(_label(key), value.points) for key, value in entries.items()])
    if values and all(isinstance(value, Histogram) for value in values):
        return "".join(
            f"<p><code>{escape(view.name + _label(key))}</code></p>{value._repr_html_()}"
            for key, value in entries.items()
        )
    return _table(view.name, entries)


def stack_samples(entries: dict[Any, Any]) -> list[tuple[tuple[str, ...], int]]:
    """What a flame graph is made of; empty if the map holds no counts of stacks.

    Of a tuple as key, the stacks follow each other (user code under the kernel's), and what else
    is in it goes below them.
    """
    samples = []
    for key, value in entries.items():
        parts = key if isinstance(key, tuple) and not isinstance(key, Stack) else (key,)
        stacks = [part for part in parts if isinstance(part, Stack)]
        if not stacks or not isinstance(value, int):
            return []
        stacks.sort(key=lambda stack: stack.kind == "kernel")
        below = tuple(str(part) for part in parts if not isinstance(part, Stack))
        samples.append((below + tuple(n for stack in stacks for n in stack.names), value))
    return samples


def _label(key: Any) -> str:
    return "" if key is None else f"[{_text(key)}]"


def _text(value: Any) -> str:
    if isinstance(value, tuple) and not isinstance(value, Stack):
        return ", ".join(map(_text, value))
    return str(value)


def _table(name: str, entries: dict[Any, Any]) -> str:
    rows = [
        f"<tr><td style='text-align:left'><code>{escape(_text(key))}</code></td>"
        f"<td style='text-align:right'>{escape(_text(value))}</td></tr>"
        for key, value in list(entries.items())[-_ROWS:]
    ]
    hidden = len(entries) - len(rows)
    head = f"<caption><code>{escape(name)}</code>{f', {hidden} more' if hidden else ''}</caption>"
    return f"<table>{head}{''.join(rows)}</table>"
