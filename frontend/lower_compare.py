"""`memcmp()` → IR: a loop over bytes."""

from __future__ import annotations

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Value
from bpfscript.ir.types import I8, I64
from bpfscript.types import INT64

from . import nodes, relocated
from .body import Body, is_scalar
from .lower_expressions import lower


def memcmp(body: Body, node: nodes.Call) -> Value:
    """-1, 0 or 1: how the first bytes of two values compare."""
    left, right = (_bytes(body, node.args[i]) for i in (0, 1))
    known = relocated.constant(body, node.args[2])
    if not isinstance(known, int):
        raise CompilerBug("memcmp() of a length that is not known")
    count = min(known, *(body.checked.types[node.args[i]].size for i in (0, 1)))
    b = body.b
    head, inside, next = b.block("memcmp", I64), b.block("bytes"), b.block("next")
    differ, done = b.block("differ"), b.block("compared", I64)
    b.jump(head, body.const(0))
    b.at(head)  # sealed once the way back is known
    at = head.params[0]
    more = body.emit("ult", at, body.const(count))
    b.branch(more, inside, done, else_args=(body.const(0),))
    body.start(inside)
    one, other = (
        body.emit("load", body.emit("ptr_add", pointer, at), type=I8, off=0)
        for pointer in (left, right)
    )
    b.branch(body.emit("eq", one, other), next, differ)
    body.start(next)
    b.jump(head, body.emit("add", at, body.const(1)))
    body.variables.seal(head)
    body.start(differ)
    less = body.emit("ult", one, other)
    b.jump(done, body.emit("select", less, body.const(-1), body.const(1)))
    body.start(done)
    return body.coerce(done.params[0], INT64, body.checked.types[node])


def _bytes(body: Body, node: nodes.Expr | nodes.TypeName | nodes.Typeof) -> Value:
    if isinstance(node, nodes.TypeName | nodes.Typeof):
        raise CompilerBug("memcmp() of a type")
    value, type = lower(body, node), body.checked.types[node]
    return body.in_memory(value, type) if is_scalar(type) else value
