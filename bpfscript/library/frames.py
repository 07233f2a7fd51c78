"""Maps as tables of other libraries, which are imported when they are asked for."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .distributions import Histogram, Series, Stats
from .stacks import Frame, Stack
from .values import Constant, Fields

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

    from .maps import MapView

Columns = dict[str, list[Any]]


def rows_of(view: MapView) -> Columns:
    """A column for each part of the key (`key`, or `key0`, `key1`, …) and each of the value.

    Of a histogram every bucket makes a row (`low`, `high`, `count`), of a time series every point
    (`start` in ns since 1970, `value`); of stats there are `count`, `average` and `total`.
    """
    rows = [
        {**_key(key), **part} for key, value in view.snapshot().items() for part in _value(value)
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return {name: [row.get(name) for row in rows] for name in names}


def _key(key: Any) -> dict[str, Any]:
    if key is None:
        return {}
    if isinstance(key, Fields):
        return {name: _plain(part) for name, part in key.items()}
    if isinstance(key, tuple) and not isinstance(key, Stack | Frame):
        return {f"key{number}": _plain(part) for number, part in enumerate(key)}
    return {"key": _plain(key)}


def _value(value: Any) -> list[dict[str, Any]]:
    match value:
        case Histogram(buckets=buckets):
            return [asdict(bucket) for bucket in buckets]
        case Series(points=points):
            return [point._asdict() for point in points]
        case Stats():
            return [asdict(value)]
        case Fields():
            return [{name: _plain(part) for name, part in value.items()}]
    return [{"value": _plain(value)}]


def _plain(value: Any) -> Any:
    """What every library of tables can hold."""
    match value:
        case Constant():
            return value.name or int(value)
        case None | bool() | int() | str() | bytes():
            return value
    return str(value)


def pandas_frame(columns: Columns) -> pandas.DataFrame:
    import pandas

    return pandas.DataFrame(columns)


def polars_frame(columns: Columns) -> polars.DataFrame:
    import polars

    return polars.DataFrame(columns)


def arrow_table(columns: Columns) -> pyarrow.Table:
    import pyarrow

    return pyarrow.table(columns)
