"""What a script said on an axis of time: Chrome's trace event format, which Perfetto reads.

An event whose value, or one of whose arguments, is a record places itself by its fields, all of
them optional: `ts` and `dur` (ns since boot, as `nsecs` has it), `name`, `pid`, `tid`. With `dur`
it is a span, else a point. Others are points at the time at which they were read. A map that is
printed gives a counter for each key, a time series a counter's value for each interval.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from bpfscript.library.distributions import Series
from bpfscript.library.events import Event
from bpfscript.library.values import Fields

from .of_maps import label, samples, text

_PLACED = ("ts", "dur", "name", "pid", "tid")
Row = dict[str, Any]


def rows(event: Event, pid: int) -> Iterator[Row]:
    """Rows of `traceEvents` for one event. pid: what events without one are of."""
    if event.kind == "print_map":
        yield from _counters(event.name, event.args[0], pid)
        return
    records = [arg for arg in event.args if isinstance(arg, Fields)]
    fields = dict(records[0]) if records else {}
    row: Row = {
        "name": text(fields.get("name") or event.name or event.text.strip() or event.kind),
        "cat": event.kind, "ph": "i", "ts": _microseconds(fields.get("ts", _now())),
        "pid": _number(fields.get("pid"), pid), "tid": _number(fields.get("tid"), 0),
    }  # fmt: skip
    if isinstance(fields.get("dur"), int):
        row |= {"ph": "X", "dur": fields["dur"] / 1000}
    else:
        row["s"] = "t" if row["tid"] else "g"
    told = {name: _plain(value) for name, value in fields.items() if name not in _PLACED}
    told |= {f"arg{n}": _plain(arg) for n, arg in enumerate(event.args) if not _is_record(arg)}
    yield row | {"args": told | ({"text": event.text} if event.text else {})}


def _counters(name: str, entries: dict[Any, Any], pid: int) -> Iterator[Row]:
    now = _now()
    if samples(entries):  # a flame graph is what shows these
        return
    for key, value in entries.items():
        row: Row = {"name": name + label(key), "cat": "map", "ph": "C", "pid": pid, "tid": 0}
        if isinstance(value, Series):
            ahead = time.time_ns() - now
            for point in value.points:
                if point.value is not None:
                    at = _microseconds(point.start - ahead)
                    yield row | {"ts": at, "args": {"value": point.value}}
        elif isinstance(value, int):
            yield row | {"ts": _microseconds(now), "args": {"value": int(value)}}


def dump(row: Row) -> bytes:
    """JSON of a row; bytes that are no text as question marks."""
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")


def _is_record(value: object) -> bool:
    return isinstance(value, Fields)


def _plain(value: Any) -> Any:
    if isinstance(value, bool | int):
        return int(value) if abs(value) < 1 << 53 else str(value)
    return {k: _plain(v) for k, v in value.items()} if isinstance(value, Fields) else text(value)


def _number(value: object, default: int) -> int:
    return int(value) if isinstance(value, int) else default


def _microseconds(ns: int) -> float:
    return ns / 1000


def _now() -> int:
    """ns since boot."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
