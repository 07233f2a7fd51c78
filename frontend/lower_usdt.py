"""Arguments of static probes → IR."""

from __future__ import annotations

from bpfscript.ir.core import Value
from bpfscript.ir.types import USER, I

from .body import Body
from .usdt_arguments import UsdtArgument


def usdt_argument(body: Body, number: int) -> Value:
    """The int64 that `argN` is; 0 for one that the probe does not have."""
    where = body.instance.usdt.get(number)
    if where is None:
        return body.const(0)
    type = I(8 * where.size)
    if where.kind == "constant":
        bits = where.value & ((1 << type.bits) - 1)
        negative = where.signed and bits >> (type.bits - 1)
        return body.const(bits - (1 << type.bits) if negative else bits)
    if where.kind == "register":
        word = body.emit("register", name=where.base)
        if where.value:
            word = body.emit("lshr", word, body.const(where.value))
        return body.int_of(body.int_of(word, False, type.bits), where.signed)
    pointer = body.emit("to_ptr", _address(body, where), type=USER)
    return body.int_of(body.emit("read_int", pointer, type=type, off=0), where.signed)


def _address(body: Body, where: UsdtArgument) -> Value:
    address = body.const(where.value)
    if where.base:
        address = body.emit("add", body.emit("register", name=where.base), address)
    if where.index:
        scaled = body.emit("mul", body.emit("register", name=where.index), body.const(where.scale))
        address = body.emit("add", address, scaled)
    return address
