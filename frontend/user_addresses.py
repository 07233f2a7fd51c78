"""`uaddr("name")`: a variable of the traced program, found from where the probe was hit.

The program may be loaded anywhere; what stays is the distance between its variable and the probe.
"""

from __future__ import annotations

from bpfscript.ir.core import Value
from bpfscript.target import Target, UserSymbol
from bpfscript.types import UINT64, Int, Pointer

from . import nodes
from .body import Body, unsupported
from .typed import Instance


def pointer_type(target: Target, instance: Instance, name: str) -> Pointer | None:
    """Type of `uaddr(name)`: as wide as the variable is; None if there is no such variable."""
    found = _variable(target, instance, name)
    if found is None:
        return None
    return Pointer(Int(8 * found.size, False) if found.size in (1, 2, 4, 8) else UINT64, "user")


def address(body: Body, node: nodes.Call, name: str) -> Value:
    """The address in the process that hit the probe."""
    found = _variable(body.target, body.instance, name)
    places = {_probe_address(body.target, body.instance, i) for i in range(_count(body.instance))}
    if found is None or len(places) != 1 or None in places:
        raise unsupported(node.span, "uaddr() in a probe of several places")
    (place,) = places
    hit = body.emit("function_address")
    return body.emit("add", hit, body.const(found.address - (place or 0)))


def _count(instance: Instance) -> int:
    return len(instance.attachments)


def _variable(target: Target, instance: Instance, name: str) -> UserSymbol | None:
    return target.user_object(instance.attachments[0].target, name)


def _probe_address(target: Target, instance: Instance, index: int) -> int | None:
    """Where the file wants the code of an attachment to be, by the function it lies in."""
    attach = instance.attachments[index]
    for symbol in target.user_symbols(attach.target):
        if symbol.offset <= attach.offset < symbol.offset + max(symbol.size, 1):
            return symbol.address + attach.offset - symbol.offset
    return None
