"""Probes on functions of the kernel by their types: fentry, fexit. And iter, over its objects."""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from bpfscript.core_relocations import plain
from bpfscript.target import Target, matches

from .resolve_base import Match, Point, Search, near
from .resolve_kernel import KERNEL, PLAIN, as_kprobe, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.btf import BtfType

ITERATOR = "bpf_iter__"  # what begins the name of an iterator's context in BTF
_FEW = 500  # functions that are looked up one by one
_PARAMETERS, _PARAMETER = 12, 16  # MAX_BPF_FUNC_ARGS, include/linux/bpf.h; bytes of each
_PINNED = "/sys/fs/bpf"  # where relative paths of pins begin


def trampoline(point: Point, search: Search) -> list[Match]:
    """`[module:]function`. Where the kernel has no trampolines, kprobes see the same."""
    kind, (*modules, function) = point.kind.name, point.parts
    if modules[:1] == ["bpf"] or point.parts == ("bpf",):
        return _program(point, search)
    if len(modules) == 2:
        return search.error(point, "Only the 'bpf' variant of this probe supports 4 arguments")
    if not function:
        return search.error(point, "fentry/fexit should specify a function")
    btf, what = search.target.btf, ":".join(point.parts)
    if btf is None and not point.guessed:
        hint = f"use {PLAIN[kind]} instead"
        return search.error(point, f"{kind} probes require kernel BTF, which is missing", hint)
    runs_as = _runs_as(point, search)
    if runs_as is None or btf is None:
        hint = "this kernel lets no BPF program attach to its functions"
        return search.none(point, what, hint)
    known = search.target.kernel_functions(function)
    if modules:
        known = [row for row in known if matches(modules[0], row[0] or KERNEL)]
    typed = list(_functions(search.target, known))
    if not modules and "*" not in function and len({owner for owner, _ in typed}) > 1:
        message = (
            f"ambiguous attach point, please specify module containing the function '{function}'"
        )
        return search.error(point, message, _modules(typed))
    if runs_as == kind and "*" in what:
        typed = [(owner, type) for owner, type in typed if _has_trampoline(type)]
    if typed:
        named = dict.fromkeys((owner, type.name) for owner, type in typed)
        return [_match(point, runs_as, owner, name) for owner, name in named]
    names = (name for _, name in search.target.kernel_functions("*")) if "*" not in what else ()
    return search.none(point, what, near(function, names))


def typed_functions(target: Target, known: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those (module, name) whose type is known."""
    return [(owner, type.name) for owner, type in _functions(target, known)]


def _functions(target: Target, known: Sequence[tuple[str, str]]) -> Iterator[tuple[str, BtfType]]:
    for owner, rows in groupby(sorted(known), key=itemgetter(0)):
        btf = target.module_btf(owner) if owner else target.btf
        names = [name for _, name in rows if visible(name)]
        if btf and len(names) > _FEW:
            types = {type.name: type for type in btf.all("func")}
            yield from ((owner, types[name]) for name in names if name in types)
        elif btf:
            found = (btf.own(name, "func") for name in names)
            yield from ((owner, type) for type in found if type)


def _has_trampoline(function: BtfType) -> bool:
    """Whether programs can be of this type (btf_distill_func_proto(), kernel/bpf/btf.c)."""
    btf, prototype = function.of, function.of.type(function.to)
    parameters = [plain(btf, type) for _, type in btf.parameters(prototype)]
    return (
        len(parameters) <= _PARAMETERS
        and all(p.kind != "void" and p.size <= _PARAMETER for p in parameters)
        and plain(btf, prototype.to).kind not in ("struct", "union")
    )


def _modules(functions: Iterable[tuple[str, BtfType]]) -> str:
    return f"it is in {', '.join(sorted({owner or KERNEL for owner, _ in functions}))}"


def _match(point: Point, runs_as: str, module: str, function: str) -> Match:
    name = point.name(module or KERNEL, function)
    match = Match(point, point.attach(name, target=f"{module or KERNEL}:{function}"))
    return match if runs_as == point.kind.name else as_kprobe(match)


def _runs_as(point: Point, search: Search) -> str | None:
    """The kind of probe that the kernel has for it, or None."""
    if search.target.has("fentry"):
        return point.kind.name
    if not search.target.has("kprobe"):
        return None
    plain = PLAIN[point.kind.name]
    message = f"this kernel has no {point.kind.name} probes: a {plain} takes its place"
    search.report.warning(point.span, message)
    return plain


def _program(point: Point, search: Search) -> list[Match]:
    """`bpf:[id:]program`: another BPF program that is loaded."""
    number, name = ("*", *point.parts[1:])[-2:] if len(point.parts) > 1 else ("", "")
    if not name:
        message = (
            "the 'bpf' variant of this probe requires a bpf program name and optional bpf "
            "program id"
        )
        return search.error(point, message)
    found = [
        Match(point, point.attach(point.name("bpf", id, known), target=f"bpf:{id}:{known}"))
        for id, known in search.target.bpf_programs()
        if matches(number, str(id)) and matches(name, known)
    ]
    return found or search.none(point, ":".join(point.parts))


def iterator(point: Point, search: Search) -> list[Match]:
    """`kind[:pin]`: every object of a kind that the kernel has, in BTF `struct bpf_iter__KIND`."""
    name, *pin = point.parts
    if point.guessed:
        return []  # no wildcard means an iterator
    if any("*" in part for part in point.parts):
        return search.error(point, "iter probe type does not support wildcards")
    if not name:
        return search.error(point, "iter should specify a iterator's name")
    btf = search.target.btf
    if btf is None or not search.target.has("iter"):
        return search.none(point, name, "this kernel has no BPF iterators")
    owner = _owner(search.target, name)
    if owner is None:
        known = [t.name.removeprefix(ITERATOR) for t in btf.all("struct") if ITERATOR in t.name]
        message = f"iter {name} not available for your kernel version."
        return search.error(point, message, near(name, known))
    target = f"{owner}:{name}" if owner else name
    path = os.path.join(_PINNED, pin[0]) if pin and pin[0] else ""
    return [Match(point, point.attach(point.name(name), target=target, symbol=path))]


def _owner(target: Target, iterator: str) -> str | None:
    """The module that has an iterator, "" for the kernel; None if nobody has."""
    for module in ("", *target.modules):
        btf = target.module_btf(module) if module else target.btf
        if btf and btf.own(ITERATOR + iterator, "struct"):
            return module
    return None
