"""Probes on the kernel: tracepoint, rawtracepoint, kprobe, kretprobe."""

from __future__ import annotations

from bpfscript.plain import replace
from bpfscript.target import matches

from .attach_points import MalformedError, integer, is_number
from .resolve_base import Match, Point, Search, near

KERNEL = "vmlinux"  # what scripts call the kernel itself where a module may stand
PLAIN = {"fentry": "kprobe", "fexit": "kretprobe"}  # what sees the same, but without types
HIDDEN = ("__ftrace_invalid_address__",)


def tracepoint(point: Point, search: Search) -> list[Match]:
    category, event = point.parts
    if not category or not event:
        return search.error(point, "tracepoint probe must have a target")
    found = [
        Match(point, point.attach(point.name(*names), target=":".join(names)), names)
        for names in search.target.tracepoints(category, event)
    ]
    if found:
        return found
    hint = None
    if "*" not in category + event:
        hint = near(event, (e for _, e in search.target.tracepoints(category, "*")))
        hint = hint and hint.replace("mean ", f"mean tracepoint:{category}:")
    return search.none(point, f"{category}:{event}", hint)


def rawtracepoint(point: Point, search: Search) -> list[Match]:
    """`[module:]event`. Those that no BTF knows count as the kernel's own, `vmlinux`."""
    *module, event = point.parts
    if not event:
        return search.error(point, "rawtracepoint should be attached to a function")
    found = [
        Match(point, point.attach(point.name(owner or KERNEL, name), target=name), (owner, name))
        for owner, name in search.target.raw_tracepoints(event)
        if not module or matches(module[0], owner or KERNEL)
    ]
    return found or search.none(point, ":".join(point.parts))


def kprobe(point: Point, search: Search) -> list[Match]:
    """`[module:]function[+offset]`, or an address."""
    kind, (*modules, function) = point.kind.name, point.parts
    module = modules[0] if modules else ""
    function, plus, distance = function.partition("+")
    if plus and kind == "kretprobe":
        return search.error(point, "Offset not allowed")
    if plus and not (function and distance):
        return search.error(point, "Invalid offset")
    try:
        offset = integer(distance) if plus else 0
    except MalformedError as error:
        return search.error(point, f"Invalid offset: {error}")
    if not function:
        return search.error(point, "kprobes should be attached to a function or an address")
    if is_number(function):
        return _address(point, search, integer(function))
    if not search.target.has("kprobe"):
        hint = "this kernel has no kprobes (CONFIG_KPROBES)"
        return search.none(point, _target(module, function), hint)
    found: dict[str, Match] = {}
    for owner, name in search.target.kernel_functions(function):
        if (not module or matches(module, owner or KERNEL)) and visible(name):
            told = module or name in found  # one name in several modules
            match = _kprobe(point, (owner or KERNEL) if told else "", name, offset)
            found.setdefault(match.attach.target, match)
    if not found:
        return _untraceable(point, search, module, function, offset)
    return list(found.values())[: None if "*" in module + function else 1]


def _kprobe(point: Point, module: str, function: str, offset: int) -> Match:
    shown = _target(module, function)
    name = point.name(f"{shown}+{offset}" if offset else shown)
    target = function if module == KERNEL else shown
    return Match(point, point.attach(name, target=target, offset=offset))


def as_kprobe(match: Match) -> Match:
    """A kprobe in place of a kernel function's trampoline; what else there is stays."""
    at = match.attach
    if at.kind not in PLAIN or at.target.startswith("bpf:"):
        return match
    target = at.target.removeprefix(f"{KERNEL}:")
    return replace(match, attach=replace(at, kind=PLAIN[at.kind], target=target))


def as_raw(match: Match) -> Match:
    """A raw tracepoint in place of a tracepoint's perf event."""
    at = replace(match.attach, kind="raw_tracepoint", target=match.event[1])
    return replace(match, attach=at)


def _address(point: Point, search: Search, address: int) -> list[Match]:
    if not search.options.unsafe:
        return search.error(point, "Probing by address requires --unsafe")
    return [Match(point, point.attach(point.name(address), offset=address))]


def _untraceable(
    point: Point, search: Search, module: str, function: str, offset: int
) -> list[Match]:
    what = _target(module, function)
    if "*" in what:
        return []
    known = search.target.kernel_functions("*")
    if module not in ("", KERNEL) and all(owner != module for owner, _ in known):
        message = f"specified module {module} in probe {point.name(what)} is not loaded."
        search.error(point, message)
    elif search.options.unsafe:
        return [_kprobe(point, module, function, offset)]
    if search.limits.missing_probes != "ignore":
        message = (
            f'{function} is not traceable (either non-existing, inlined, or marked as "notrace"); '
            "attaching to it will likely fail"
        )
        search.report.warning(point.span, message)
    return search.none(point, what, near(function, (name for _, name in known)))


def _target(module: str, function: str) -> str:
    return f"{module}:{function}" if module else function


def visible(name: str) -> bool:
    return not name.startswith(HIDDEN) and ".part." not in name
