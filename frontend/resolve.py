"""Attach points → programs: every probe of a script, looked for on the target.

attach_points.py takes the text apart, probes.py says what there may be, resolve_*.py look for
matches of each kind, resolve_instances.py says which of them share a program.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module

from bpfscript.diagnostics import Reporter
from bpfscript.manifest import Place
from bpfscript.plain import replace
from bpfscript.target import Target, matches

from . import nodes
from .attach_points import MalformedError, split
from .probes import ALIASES, PROBES, ProbeKind
from .resolve_base import Match, Point, Search, near
from .resolve_instances import Instances
from .typed import Instance, Limits, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ctypes import CTypes

_RESOLVERS = {
    "begin": ("resolve_other", "plain"),
    "end": ("resolve_other", "plain"),
    "self": ("resolve_other", "on_signal"),
    "test": ("resolve_other", "named"),
    "bench": ("resolve_other", "named"),
    "kprobe": ("resolve_kernel", "kprobe"),
    "kretprobe": ("resolve_kernel", "kprobe"),
    "fentry": ("resolve_trampoline", "trampoline"),
    "fexit": ("resolve_trampoline", "trampoline"),
    "tracepoint": ("resolve_kernel", "tracepoint"),
    "rawtracepoint": ("resolve_kernel", "rawtracepoint"),
    "uprobe": ("resolve_user", "uprobe"),
    "uretprobe": ("resolve_user", "uprobe"),
    "usdt": ("resolve_usdt", "usdt"),
    "profile": ("resolve_timed", "timer"),
    "interval": ("resolve_timed", "timer"),
    "software": ("resolve_timed", "counter"),
    "hardware": ("resolve_timed", "counter"),
    "watchpoint": ("resolve_other", "watchpoint"),
    "iter": ("resolve_trampoline", "iterator"),
}
"""Module and function that look for the matches of each kind."""
_USER_KINDS = ("uprobe", "uretprobe", "usdt")
_ALWAYS = ("begin", "end")  # whatever --probe-filter says
_EMPTY = "Probe has no valid attach points."
_EMPTY_ADVICE = " If this is expected, set the 'missing_probes' config variable to 'warn'."
_EMPTY_WARNING = "It is being removed which may cause issues with program behavior."


def resolve(
    program: nodes.Program,
    target: Target,
    options: Options,
    limits: Limits,
    report: Reporter,
    ctypes: CTypes,
) -> list[Instance]:
    """The programs of a script whose macros are expanded, in source order.

    Faults go to `report`; what is returned is complete only without errors. `test` and `bench`
    probes are left out unless options.mode asks for them. May raise MachineError.
    """
    search = Search(target, options, limits, report)
    instances: list[Instance] = []
    probes = 0
    for probe in program.items:
        if isinstance(probe, nodes.Probe):
            found = _matches(probe, search)
            probes += len(found)
            if probes > limits.max_probes:
                _too_many_probes(probe, probes, search)
                break
            instances += Instances(probe, search, ctypes).of(found)
            if len(instances) > limits.max_bpf_progs:
                _too_many_programs(probe, len(instances), search)
                break
    return instances


def points(attach_point: nodes.AttachPoint, search: Search) -> list[Point]:
    """What an attach point says, without looking for it; several if its kind has a wildcard."""
    span = attach_point.span
    try:
        word, *parts = split(attach_point.text, search.options.positional)
    except MalformedError as error:
        search.report.error(span, str(error))
        return []
    found = []
    for kind in _kinds(word, parts, search):
        if _fits(kind, parts, search.options):
            found.append(Point(kind, tuple(_significant(kind, parts)), span, "*" in word))
        elif "*" not in word:
            search.report.error(span, _part_count(kind, parts))
            return []
    if not found and "*" in word:
        search.report.error(span, f"No probe type matched for {word}")
    elif not found and not word:
        search.report.error(span, "No attach points for probe")
    elif not found:
        hint = near(word.lower(), PROBES)
        search.report.error(span, f"Invalid probe type: {word}", hint)
    return found


def _kinds(word: str, parts: list[str], search: Search) -> list[ProbeKind]:
    if "*" in word:
        user = search.options.pid is not None or bool(parts and "/" in parts[0])
        listed = "user" if user else "kernel"
        rows = [row for row in PROBES.values() if row.listed == listed]
        return [row for row in rows if matches(word.lower(), row.name)]
    row = ALIASES.get(word) or PROBES.get(word.lower())
    return [row] if row else []


def _fits(kind: ProbeKind, parts: list[str], options: Options) -> bool:
    if kind.name in ("begin", "end") and parts == ["*"]:
        return True
    if kind.name in ("uprobe", "uretprobe") and "@" in parts:
        return True
    if kind.name in _USER_KINDS and options.pid is not None and len(parts) == 1:
        return True
    return len(parts) in kind.parts


def _significant(kind: ProbeKind, parts: list[str]) -> list[str]:
    return parts if any(kind.parts) else []


def _part_count(kind: ProbeKind, parts: list[str]) -> str:
    first, last = kind.parts[0], kind.parts[-1]
    wanted = f"{first}" if first == last else f"{first} or {last}"
    return f"{kind.name} probe type requires {wanted} arguments, found {len(parts)}"


def _resolver(kind: str) -> Callable[[Point, Search], list[Match]]:
    module, function = _RESOLVERS[kind]
    found: Callable[[Point, Search], list[Match]] = getattr(
        import_module(f".{module}", __package__), function
    )
    return found


def _matches(probe: nodes.Probe, search: Search) -> list[Match]:
    """All places of a probe, in the order of its attach points."""
    errors, wanted = len(search.report.errors), re.compile(search.options.probe_filter or "")
    found: list[Match] = []
    skipped = False
    for attach_point in probe.attach_points:
        where = Place.at(attach_point.span)
        for point in points(attach_point, search):
            here = _resolver(point.kind.name)(point, search)
            if point.kind.name in ("test", "bench") and point.kind.name != search.options.mode:
                skipped = True
                continue
            chosen = [m for m in here if m.attach.name in _ALWAYS or wanted.search(m.attach.name)]
            skipped |= len(chosen) < len(here)
            found += [replace(m, attach=replace(m.attach, place=where)) for m in chosen]
    if len(found) > 1 and (other := [m for m in found if m.point.kind.name == "iter"]):
        search.error(other[-1].point, "iter probe only supports one attach point.")
    if not found and not skipped and len(search.report.errors) == errors:
        span = probe.attach_points[0].span.to(probe.attach_points[-1].span)
        search.missing(span, _EMPTY, _EMPTY_WARNING, advice=_EMPTY_ADVICE)
    return found


def _too_many_probes(probe: nodes.Probe, count: int, search: Search) -> None:
    limit = search.limits.max_probes
    search.report.error(
        probe.attach_points[0].span,
        f"Can't attach to {count} probes because it exceeds the current limit of {limit} probes.",
        "You can increase the limit through the BPFTRACE_MAX_PROBES environment variable, but BE "
        "CAREFUL since a high number of probes attached can cause your system to crash.",
    )


def _too_many_programs(probe: nodes.Probe, count: int, search: Search) -> None:
    search.report.error(
        probe.attach_points[0].span,
        f"Your program is trying to generate more than {count} BPF programs, which exceeds the "
        f"current limit of {search.limits.max_bpf_progs}",
        "You can increase the limit through the BPFTRACE_MAX_BPF_PROGS environment variable.",
    )
