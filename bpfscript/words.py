"""Types that are one of some words. Apart from `types`, which a start loads without `typing`."""

from typing import Literal

Buffering = Literal["line", "full", "none"]
Space = Literal["none", "kernel", "user", "ctx"]
AggregateName = Literal["count", "sum", "min", "max", "avg", "stats", "hist", "lhist", "tseries"]
