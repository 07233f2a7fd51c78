"""Static probes of programs and libraries: usdt."""

from __future__ import annotations

from bpfscript.target import UsdtProbe, matches

from .resolve_base import Match, Point, Search, near
from .resolve_user import read_files
from .usdt_arguments import ArgumentFault, UsdtArgument, parse


def usdt(point: Point, search: Search) -> list[Match]:
    """`path:[provider:]name`; with -p also `[[path]:[provider]:]name`. Each location is a match."""
    path, provider, name = _parts(point)
    pid = search.options.pid
    if not path and not pid:
        message = (
            "usdt probe must specify at least path or pid to probe. "
            "To target all paths/pids set the path to '*'."
        )
        return search.error(point, message)
    if not name:
        return search.error(point, "usdt probe must have a target function or wildcard")
    if pid and path in ("", "*"):
        path = f"/proc/{pid}/maps"
    files = read_files(point, search, path, search.target.usdt_probes)
    found = [
        _match(point, file, marker)
        for file, markers in files
        for marker in markers
        if matches(provider, marker.provider) and matches(name, marker.name)
    ]
    if found or not files:
        return found
    hint = None if "*" in name else near(name, {m.name for _, all in files for m in all})
    if len(point.parts) == 1 or (provider != "*" and "*" in provider):
        path = "*"
    return search.none(point, f"{path}:{name}", hint)


def _parts(point: Point) -> tuple[str, str, str]:
    """path, pattern of the provider, pattern of the name"""
    match point.parts:
        case (name,):
            return "", "*", name
        case (path, name):
            return path, "*", name
        case (path, provider, name):
            return path, provider or "*", name
    raise AssertionError(point.parts)


def _match(point: Point, file: str, marker: UsdtProbe) -> Match:
    name = point.name(file, marker.provider, marker.name)
    place = point.attach(
        name, target=file, symbol=f"{marker.provider}:{marker.name}", offset=marker.offset,
        semaphore=marker.semaphore,
    )  # fmt: skip
    return Match(point, place, marker=marker)


def arguments(match: Match, search: Search, wanted: set[int]) -> dict[int, UsdtArgument]:
    """Where the arguments are that a body asks for, at one location; those that there are."""
    marker, file = match.marker, match.attach.target
    if marker is None:
        return {}
    texts, found = marker.arguments.split(), {}

    def address_of(name: str) -> int | None:
        symbol = search.target.user_object(file, name)
        return symbol.address if symbol else None

    for number in sorted(wanted):
        if number < len(texts):
            try:
                found[number] = parse(texts[number], marker.address, address_of)
            except ArgumentFault as fault:
                message = f"Cannot read arg{number} of {match.attach.name}: {fault}"
                search.error(match.point, message)
    return found
