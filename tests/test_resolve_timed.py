from __future__ import annotations

import pytest
from resolving import faults, resolved


@pytest.mark.parametrize(
    ("point", "name", "period", "frequency"),
    [
        ("i:s:1", "interval:s:1", 10**9, 0),
        ("i:ms:1e2", "interval:ms:100", 10**8, 0),
        ("i:us:10", "interval:us:10", 10_000, 0),
        ("i:hz:50", "interval:hz:50", 0, 50),
        ("i:1s", "interval:us:1000000", 10**9, 0),
        ("p:5999", "profile:us:5", 5000, 0),
        ("profile:hz:99", "profile:hz:99", 0, 99),
    ],
)
def test_timers(point: str, name: str, period: int, frequency: int) -> None:
    (instance,) = resolved(f"{point} {{ }}")
    (attach,) = instance.attachments
    assert (attach.name, attach.period, attach.frequency) == (name, period, frequency)


@pytest.mark.parametrize(
    ("point", "name", "config", "period"),
    [
        ("s:cpu", "software:cpu", 0, 1_000_000),
        ("s:page-faults:0x10", "software:page-faults:16", 2, 16),
        ("s:cs:0", "software:cs:0", 3, 1000),
        ("h:cycles", "hardware:cycles", 0, 1_000_000),
        ("h:branches:5", "hardware:branches:5", 4, 5),
    ],
)
def test_counters(point: str, name: str, config: int, period: int) -> None:
    (instance,) = resolved(f"{point} {{ }}")
    (attach,) = instance.attachments
    assert (attach.name, attach.config, attach.period) == (name, config, period)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("i:foo:1", "foo is not an accepted unit of time"),
        ("i:*:1", "* is not an accepted unit of time"),
        ("i:ms:x", "Invalid rate of interval probe: invalid integer: x"),
        ("i:1x", "Invalid rate of interval probe: invalid trailing bytes: 1x"),
        ("i:s:1.5", "Invalid rate of interval probe: invalid trailing bytes: 1.5"),
        ("i:s:", "Invalid rate of interval probe: invalid integer: "),
        ("i:ms:0", "interval frequency should be a positive integer"),
        ("p:hz:-1", "profile frequency should be a positive integer"),
        (
            "p:500",
            "Invalid rate of profile probe. Minimum is 1000 or 1us. Found: 500 nanoseconds",
        ),
        ("i:s:0xffffffffffff", "Invalid rate of interval probe: too long: 0xffffffffffff"),
        ("s:", "software probe must have a software event name"),
        ("s:foo", "foo is not a software probe"),
        ("h:nope:1", "nope is not a hardware probe"),
        ("s:cpu:x", "Invalid count for software probe: invalid integer: x"),
        ("h:*", "wildcards are not allowed for hardware probe type"),
    ],
)
def test_faults(point: str, message: str) -> None:
    assert faults(f"{point} {{ }}") == [message]
