"""Probes that fire after a time or a number of events: interval, profile, software, hardware."""

from __future__ import annotations

from .attach_points import MalformedError, integer
from .literals import UINT64_MAX
from .probes import EVENT_ALIASES, HARDWARE, SOFTWARE, UNITS
from .resolve_base import Match, Point, Search, near

MINIMUM = 1000  # ns


def timer(point: Point, search: Search) -> list[Match]:
    """interval and profile: `UNIT:N`, or a time in nanoseconds."""
    kind, (*unit, rate) = point.kind.name, point.parts
    if unit and unit[0] not in UNITS:
        hint = near(unit[0], UNITS)
        return search.error(point, f"{unit[0]} is not an accepted unit of time", hint)
    try:
        count = integer(rate)
    except MalformedError as error:
        return search.error(point, f"Invalid rate of {kind} probe: {error}")
    if not unit:
        if count < MINIMUM:
            message = (
                f"Invalid rate of {kind} probe. Minimum is 1000 or 1us. Found: {count} nanoseconds"
            )
            return search.error(point, message)
        unit, count = ["us"], count // 1000
    if count <= 0:
        return search.error(point, f"{kind} frequency should be a positive integer")
    period = count * UNITS[unit[0]]
    if period > UINT64_MAX:
        return search.error(point, f"Invalid rate of {kind} probe: too long: {rate}")
    name = point.name(unit[0], count)
    return [Match(point, point.attach(name, period=period, frequency=0 if period else count))]


def counter(point: Point, search: Search) -> list[Match]:
    """software and hardware: `EVENT[:COUNT]`."""
    kind, (event, *count) = point.kind.name, point.parts
    events = SOFTWARE if kind == "software" else HARDWARE
    if not event:
        return search.error(point, f"{kind} probe must have a {kind} event name")
    if "*" in event:
        return search.error(point, f"wildcards are not allowed for {kind} probe type")
    row = events.get(EVENT_ALIASES.get(event, event))
    if row is None:
        hint = near(event, [*events, *EVENT_ALIASES])
        return search.error(point, f"{event} is not a {kind} probe", hint)
    try:
        counts = [integer(text) for text in count]
    except MalformedError as error:
        return search.error(point, f"Invalid count for {kind} probe: {error}")
    if any(number < 0 for number in counts):
        return search.error(point, f"{kind} count should be a positive integer")
    period = (counts[0] if counts else 0) or row.count
    attach = point.attach(point.name(event, *counts), config=row.config, period=period)
    return [Match(point, attach)]
