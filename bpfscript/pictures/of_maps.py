"""Which picture a map's entries make: flame graph, bars, lines, or none."""

from __future__ import annotations

from typing import Any

from bpfscript.library.distributions import Histogram, Series
from bpfscript.library.stacks import Stack

from . import flame, histogram, series
from .svg import Picture

Entries = dict[Any, Any]


def plots(name: str, entries: Entries) -> list[Picture]:
    """A picture for each histogram, one for all time series; empty for maps of other things."""
    values = list(entries.values())
    if values and all(isinstance(value, Series) for value in values):
        return [series.picture([(name + label(key), v.points) for key, v in entries.items()])]
    if values and all(isinstance(value, Histogram) for value in values):
        return [histogram.picture(v.rows, name + label(key)) for key, v in entries.items()]
    return []


def samples(entries: Entries) -> list[flame.Sample]:
    """What a flame graph is made of; empty if the map holds no counts of stacks.

    Of a tuple as key, the stacks follow each other (user code under the kernel's), and what else
    is in it goes below them.
    """
    found = []
    for key, value in entries.items():
        parts = key if isinstance(key, tuple) and not isinstance(key, Stack) else (key,)
        stacks = [part for part in parts if isinstance(part, Stack)]
        if not stacks or not isinstance(value, int):
            return []
        stacks.sort(key=lambda stack: stack.kind == "kernel")
        below = tuple(str(part) for part in parts if not isinstance(part, Stack))
        found.append((below + tuple(n for stack in stacks for n in stack.names), value))
    return found


def label(key: Any) -> str:
    """What stands after a map's name: `[key]`, nothing for a map without keys."""
    return "" if key is None else f"[{text(key)}]"


def text(value: Any) -> str:
    """A key or value on one line."""
    if isinstance(value, tuple) and not isinstance(value, Stack):
        return ", ".join(map(text, value))
    return str(value)
