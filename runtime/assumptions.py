"""What an artifact takes for granted, compared with this kernel before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from bpfscript.manifest import Artifact, Assumption
from bpfscript.target import MachineError

from .errors import OtherKernel
from .kernel_btf import kernel_btf
from .sys import kernel_release
from .tracefs import Tracefs

if TYPE_CHECKING:
    from bpfscript.btf import Btf

    from .cache import Cache


def check(artifact: Artifact, cache: Cache) -> None:
    """Raises OtherKernel for the first assumption that does not hold here."""
    if broken := _first_broken(artifact, cache):
        raise OtherKernel(*broken)


def _first_broken(artifact: Artifact, cache: Cache) -> tuple[Assumption, str] | None:
    btf: Btf | None = None
    for assumed in artifact.assumes:
        if btf is None and assumed.kind in _TYPES:
            btf = kernel_btf(cache=cache)
        if assumed.kind in _TYPES:
            here = _TYPES[assumed.kind](btf, assumed) if btf else ""
        elif assumed.kind == "release":
            here = ".".join(map(str, kernel_release()))
        else:
            here = _OTHERS[assumed.kind](assumed) if assumed.kind in _OTHERS else ""
        if here != assumed.value:
            return assumed, here
    return None


def _layout(btf: Btf, assumed: Assumption) -> str:
    from bpfscript.core_relocations import layout

    return layout(btf, assumed.name)


def _answer(btf: Btf, assumed: Assumption) -> str:
    from bpfscript.core_relocations import answer, parse

    try:
        return str(answer(btf, parse(assumed.name)))
    except ValueError:  # a damaged object
        return ""


def _register(btf: Btf, assumed: Assumption) -> str:
    """Number of the register that a parameter of a function is in, as the compiler counts."""
    from bpfscript.core_relocations import plain, size_of

    name, _, wanted = assumed.name.partition(":")
    function, at = btf.find(name, "func"), 0
    tracepoint = name.startswith("__traceiter_")
    parameters = btf.parameters(btf.type(function.to)) if function else []
    for parameter, number in parameters[tracepoint:]:
        if parameter == wanted:
            return str(at)
        at += 1 if tracepoint else max(1, (size_of(btf, plain(btf, number)) + 7) // 8)
    return ""


def _constant(btf: Btf, assumed: Assumption) -> str:
    found = btf.enumerator(assumed.name)
    return str(found[0]) if found else assumed.value


_TYPES: dict[str, Callable[[Btf, Assumption], str]] = {
    "layout": _layout,
    "answer": _answer,
    "parameter": _register,
    "constant": _constant,
}


def _record_offset(assumed: Assumption) -> str:
    category, event, field = [*assumed.name.split(":"), "", ""][:3]
    try:
        text = Tracefs().format(category, event) or ""
    except MachineError:
        return ""
    found = re.search(rf"\b{re.escape(field)}(?:\[[^\]]*\])*;\s*offset:(\d+);", text)
    return found[1] if found else ""


def _symbol(assumed: Assumption) -> str:
    from .live_target import LiveTarget

    return str(LiveTarget().kernel_symbol(assumed.name))


def _cgroup(assumed: Assumption) -> str:
    from .live_target import LiveTarget

    return str(LiveTarget().cgroup_id(assumed.name))


_OTHERS: dict[str, Callable[[Assumption], str]] = {
    "tracepoint": _record_offset,
    "symbol": _symbol,
    "cgroup": _cgroup,
}
