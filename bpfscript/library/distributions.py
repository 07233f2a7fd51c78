"""Histograms, statistics and time series as Python values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from bpfscript.runtime import histograms, time_series
from bpfscript.types import Aggregate


@dataclass(frozen=True, slots=True)
class Stats:
    """What `stats()` keeps. average: truncated towards zero, as the language has it."""

    count: int
    average: int
    total: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """low ≤ values < high; None is without bound. count: how many there were."""

    low: int | None
    high: int | None
    count: int


@dataclass(frozen=True)
class Histogram:
    """What `hist()` and `lhist()` keep: the buckets from the first to the last that is not empty.

    kind: "hist" (buckets grow as powers of 2) or "lhist" (all of one width).
    """

    kind: str
    buckets: tuple[Bucket, ...]

    @property
    def total(self) -> int:
        """How many values there were."""
        return sum(bucket.count for bucket in self.buckets)

    @property
    def rows(self) -> list[tuple[str, int]]:
        """Label and count of each bucket."""
        return [(label(b), b.count) for b in self.buckets]

    def percentile(self, percent: float) -> float:
        """The value below which `percent` (0 to 100) of the values lie.

        Interpolated within its bucket; in a bucket without bound, the bound that it has. NaN if
        there are no values. Raises ValueError for other numbers.
        """
        if not 0 <= percent <= 100:
            raise ValueError(f"a percentile is between 0 and 100, not {percent}")
        wanted, below = self.total * percent / 100, 0
        for bucket in self.buckets:
            if bucket.count and below + bucket.count >= wanted:
                return _within(bucket, max(wanted - below, 0) / bucket.count)
            below += bucket.count
        return float("nan")

    def __len__(self) -> int:
        return len(self.buckets)

    def __iter__(self) -> Iterator[Bucket]:
        return iter(self.buckets)

    def __str__(self) -> str:
        return histograms.text([name for name, _ in self.rows], [hits for _, hits in self.rows])

    def _repr_html_(self) -> str:
        from bpfscript.pictures.histogram import picture

        return picture(self.rows).document()


def _within(bucket: Bucket, part: float) -> float:
    if bucket.low is None:
        assert bucket.high is not None
        return float(bucket.high)
    if bucket.high is None:
        return float(bucket.low)
    return bucket.low + part * (bucket.high - bucket.low)


def label(bucket: Bucket) -> str:
    """A bucket as an interval: `[4, 8)`, `[3]`, `(..., 0)`."""
    if bucket.low is None:
        return f"(..., {bucket.high})"
    if bucket.high is None:
        return f"[{bucket.low}, ...)"
    single = bucket.high - bucket.low == 1
    return f"[{bucket.low}]" if single else f"[{bucket.low}, {bucket.high})"


def histogram(t: Aggregate, counts: list[int]) -> Histogram:
    """Of the counts that a map holds."""
    bounds, (span, hits) = histograms.bounds(t), histograms.cutter(t)(counts)
    return Histogram(t.name, tuple(map(Bucket, bounds.lows[span], bounds.highs[span], hits)))


class Point(NamedTuple):
    """An interval of a time series. start: ns since 1970. value: None where nothing was seen."""

    start: int
    value: int | None

    @property
    def time(self) -> datetime:
        """Its start in UTC, to the microsecond."""
        return datetime.fromtimestamp(self.start / 10**9, UTC)


@dataclass(frozen=True)
class Series:
    """What `tseries()` keeps. interval: ns from one point to the next."""

    interval: int
    points: tuple[Point, ...]

    def __len__(self) -> int:
        return len(self.points)

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def __str__(self) -> str:
        return time_series.text([time_series.Point(p.start, p.value) for p in self.points])

    def _repr_html_(self) -> str:
        from bpfscript.pictures.series import picture

        return picture([("", self.points)]).document()


def series(t: Aggregate, found: dict[int, int], newest: int) -> Series:
    """Of what a map holds; newest: the last epoch of the whole map."""
    points: Sequence[time_series.Point] = time_series.points(t, found, newest)
    return Series(t.params[0], tuple(Point(p.start, p.value) for p in points))
