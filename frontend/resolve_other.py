"""Probes without an event of the kernel: begin, end, self, test, bench; watchpoint."""

from __future__ import annotations

from .attach_points import MalformedError, integer
from .resolve_base import Match, Point, Search

WATCHPOINT_MODES = {"x": 4, "w": 2, "rw": 3}
"""HW_BREAKPOINT_*, include/uapi/linux/hw_breakpoint.h. x86 cannot watch for reads alone."""
_EXECUTED = 8  # bytes that the kernel wants of what is watched for being run: sizeof(long)


def plain(point: Point, search: Search) -> list[Match]:
    """begin, end"""
    return [Match(point, point.attach(point.name()))]


def on_signal(point: Point, search: Search) -> list[Match]:
    trigger, signal = point.parts
    if trigger != "signal":
        return search.error(point, f"{trigger} is not a supported trigger")
    if signal != "SIGUSR1":
        return search.error(point, f"{signal} is not a supported signal")
    return [Match(point, point.attach(point.name(trigger, signal), target=signal))]


def named(point: Point, search: Search) -> list[Match]:
    """test, bench: known by their name, and there only when the tool was asked to run them."""
    kind, (name,) = point.kind.name, point.parts
    if not name:
        return search.error(point, f"{kind} probes must have a name")
    first = search.names.setdefault((kind, name), point.span)
    if first is not point.span:
        message = f'"{name}" was used as the name for more than one {kind.upper()} probe'
        search.report.error(point.span, message, None, (first, "this is the other instance"))
        return []
    return [Match(point, point.attach(point.name(name), target=name))]


def watchpoint(point: Point, search: Search) -> list[Match]:
    place, size, mode = point.parts
    try:
        what = "function/address"
        if not (address := integer(place)):
            return search.error(point, "watchpoint must be attached to a non-zero address")
        what = "length"
        if (length := integer(size)) not in (1, 2, 4, 8):
            return search.error(point, "watchpoint length must be one of (1,2,4,8)")
    except MalformedError as error:
        return search.error(point, f"Invalid {what} argument: {error}")
    if len(set(mode)) < len(mode):
        return search.error(point, "watchpoint modes may not be duplicated")
    access = WATCHPOINT_MODES.get("rw" if mode == "wr" else mode)
    if access is None:
        hint = f"supported modes: {','.join(WATCHPOINT_MODES)}"
        return search.error(point, f"invalid watchpoint mode: {mode}", hint)
    attach = point.attach(
        point.name(address, length, mode), offset=address, config=access,
        length=_EXECUTED if mode == "x" else length,
    )  # fmt: skip
    return [Match(point, attach)]
