"""`skboutput(file, skb, length, offset)`: the bytes of a packet, for a file of user space."""

from __future__ import annotations

from bpfscript.ir.core import Value
from bpfscript.ir.types import I32, I64, KERNEL
from bpfscript.types import UINT32, UINT64, Buffer, Type

from . import nodes, relocated
from .body import Body, unsupported
from .lower_expressions import lower_as

_EFAULT = -14
_LONGEST = 9216  # bytes of a packet that are kept, as long as jumbo frames are


def skboutput(body: Body, node: nodes.Call) -> Value:
    """0, or -EFAULT if the packet is shorter than asked for. `offset` bytes are left out.

    Copied is what lies in the packet's own memory; pages that hang on to it are not, but counted.
    """
    if body.checked.options.portable:
        relocated.assume_release(body)
    path, offset = (body.checked.constants[node.args[i]] for i in (0, 3))
    assert isinstance(path, bytes) and isinstance(offset, int)
    most = body.checked.constants.get(node.args[2])
    most = min(most, _LONGEST) if isinstance(most, int) else _LONGEST
    skb = body.emit("to_ptr", _number(body, node, 1), type=KERNEL)
    wanted = _number(body, node, 2)
    length = _length(body, node, skb, "len")
    sent, end = body.b.block("packet"), body.b.block("sent", I64)
    enough = body.emit("ule", wanted, length)
    body.b.branch(enough, sent, end, else_args=(body.const(_EFAULT),))
    body.start(sent)
    linear = body.emit("sub", length, _length(body, node, skb, "data_len"))
    kept = _least(body, _least(body, wanted, linear), body.const(most))
    skipped = _least(body, body.const(offset), kept)
    data = body.emit("read_int", skb, type=I64, off=_member(body, node, "data"))
    start = body.emit("to_ptr", body.emit("add", data, skipped), type=KERNEL)
    room = Buffer(4 + most)
    content = body.emit("read_buffer", start, body.emit("sub", kept, skipped), size=room.size)
    of = body.int_of(body.emit("sub", wanted, _least(body, skipped, wanted)), False, 32)
    fields: list[tuple[Value, Type]] = [
        (body.b.call("ktime_get_boot_ns"), UINT64),
        (of, UINT32),
        (content, room),
    ]
    body.event("skboutput", fields, text=path.decode("utf-8", "surrogateescape"))
    body.b.jump(end, body.const(0))
    body.start(end)
    return end.params[0]


def _number(body: Body, node: nodes.Call, index: int) -> Value:
    argument = node.args[index]
    assert not isinstance(argument, nodes.TypeName | nodes.Typeof)
    return lower_as(body, argument, UINT64)


def _member(body: Body, node: nodes.Call, name: str) -> int:
    offset = body.target.btf.member_offset("sk_buff", name) if body.target.btf else None
    if offset is None:
        raise unsupported(node.span, f"skboutput() without sk_buff.{name} in BTF")
    return offset


def _length(body: Body, node: nodes.Call, skb: Value, name: str) -> Value:
    number = body.emit("read_int", skb, type=I32, off=_member(body, node, name))
    return body.int_of(number, False)


def _least(body: Body, one: Value, other: Value) -> Value:
    return body.emit("select", body.emit("ult", one, other), one, other)
