"""printf of many equal records at once: one unpacking, one `%` for all of them.

What a conversion of Python's own `%` shows alike goes there as it is, texts of strings are
remembered, the rest takes a call for each value.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

from bpfscript.manifest import Event

from .printf import formatter, parts
from .ringbuf import HEADER, Run
from .values import Show, Values, layout

ShowRun = Callable[[Run], str]
_REMEMBERED = 4096  # texts of strings


class Wrap(NamedTuple):
    """What stands around each text, and what makes a text fit there. `quote` takes pieces of ASCII
    alone: joined, they are as if the whole had been quoted."""

    head: str = ""
    tail: str = ""
    quote: Show = str


class _Texts(dict[Any, str]):
    """Shows values; knows those that it has seen."""

    def __init__(self, show: Show) -> None:
        super().__init__()
        self._show = show

    def __missing__(self, value: Any) -> str:
        if len(self) >= _REMEMBERED:
            self.clear()
        text = self[value] = self._show(value)
        return text


def run_formatter(event: Event, values: Values, wrap: Wrap | None = None) -> ShowRun | None:
    """What shows runs of a printf event; None where a format without fields needs it not."""
    quote = wrap.quote if wrap else None
    head, tail, whole = wrap or Wrap()
    literals, shapes = parts(event.text, event.fields, values)
    stride = event.size + HEADER
    spans = [(HEADER + o, s.code) for o, s in zip(event.offsets, shapes, strict=True)]
    if not spans:
        return None
    taken = layout(spans)
    unpack = struct.Struct(f"{taken.format}{stride - taken.size}x").iter_unpack
    conversions, shows = [], list[tuple[int, Show]]()
    for i, shape in enumerate(shapes):
        conversions.append(shape.same or "%s")
        if not shape.same:
            show = _quoted(shape.show, quote) if quote else shape.show
            shows.append((i, _Texts(show).__getitem__ if shape.steady else show))
    plain = [_escaped(quote(text) if quote else text) for text in literals]
    template = _escaped(head) + plain[0]
    template += "".join(map("".join, zip(conversions, plain[1:], strict=True))) + _escaped(tail)
    one = formatter(event.text, event.fields, event.offsets, values)

    def slowly(run: Run) -> str:
        return "".join(head + whole(one(data)) + tail for data in run.records())

    def show_run(run: Run) -> str:
        rows: Any = unpack(run.block)
        if shows:
            columns: list[Any] = list(zip(*rows, strict=True))
            for i, show in shows:
                columns[i] = map(show, columns[i])
            rows = zip(*columns, strict=True)
        text = template * run.number % tuple(chain.from_iterable(rows))
        return text if quote is None or text.isascii() else slowly(run)

    return show_run


def _quoted(show: Show, quote: Show) -> Show:
    return lambda value: quote(show(value))


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
