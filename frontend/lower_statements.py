"""Statements → IR: control flow, assignments, loops."""

from __future__ import annotations

from collections.abc import Sequence

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Block, Function, Value
from bpfscript.ir.types import I64, MAP, STACK
from bpfscript.types import Aggregate, Int, Tuple, Type

from . import nodes, relocated
from .body import PROBE, RETURNED, Body, Called, Loop, is_scalar, is_signed
from .functions import AGGREGATES
from .lower_expressions import (
    assign,
    binary,
    condition,
    lower,
    lower_as,
    map_key,
    map_value,
    value_type,
)  # fmt: skip
from .typed import Local, MapInfo


def statements(body: Body, nodes_: Sequence[nodes.Statement]) -> None:
    """Statements in order; what follows one that leaves the block is never reached."""
    for node in nodes_:
        if not body.open:
            return
        with body.spanned(node.span):
            statement(body, node)


def statement(body: Body, node: nodes.Statement) -> None:
    match node:
        case nodes.Let():
            _let(body, node)
        case nodes.Assign():
            _assign(body, node)
        case nodes.Discard(value=value) | nodes.ExprStatement(value=value):
            expression_statement(body, value)
        case nodes.While():
            _while(body, node)
        case nodes.Unroll():
            _unroll(body, node)
        case nodes.For(over=nodes.Range()):
            _for_range(body, node)
        case nodes.For():
            _for_map(body, node)
        case nodes.Break():
            _leave_loop(body, out=True)
        case nodes.Continue():
            _leave_loop(body, out=False)
        case nodes.Return():
            _return(body, node)
        case nodes.Import():
            pass  # done before the check


def expression_statement(body: Body, node: nodes.Expr) -> None:
    """An expression for its effects."""
    if isinstance(node, nodes.Block | nodes.If):
        block(body, node)
    else:
        lower(body, node)


def block(body: Body, node: nodes.Block | nodes.If) -> None:
    if isinstance(node, nodes.If):
        _if(body, node)
        return
    if isinstance(node, nodes.Inlined):
        inlined(body, node)
        return
    statements(body, node.statements)
    if node.result is not None and body.open:
        expression_statement(body, node.result)


def _if(body: Body, node: nodes.If) -> None:
    test = node.condition
    known = relocated.constant(body, test) if relocated.foldable(body, test) else None
    if known is not None:
        taken = node.then if known else node.otherwise
        if taken is not None:
            block(body, taken)
        return
    b = body.b
    then, end = b.block("then"), b.block("endif")
    otherwise = b.block("else") if node.otherwise else end
    b.branch(condition(body, node.condition), then, otherwise)
    for start, arm in ((then, node.then), (otherwise, node.otherwise)):
        if arm is not None:
            body.start(start)
            block(body, arm)
            if body.open:
                b.jump(end)
    body.start(end)


# Assignments


def _let(body: Body, node: nodes.Let) -> None:
    local = body.checked.locals[node.variable]
    if node.value is None:
        body.write(local, body.zero(local.type))
    else:
        body.write(local, lower_as(body, node.value, local.type))


def _assign(body: Body, node: nodes.Assign) -> None:
    types = body.checked.types
    target = node.target
    if node.op is not None:
        have = _type_of(body, target)
        result = types.get(node, have)
        left, right = lower(body, target), lower(body, node.value)
        with body.spanned(node.operation):
            value = binary(body, node.op, left, have, right, types[node.value], _widest(result))
        assign(body, target, value, _widest(result))
    elif isinstance(target, nodes.Map) and (call := aggregate_call(node.value)):
        _aggregate(body, target, call, node.value)
    elif isinstance(target, nodes.Map):
        info = body.checked.maps[target.name]
        key = map_key(body, info, target.key)
        value = lower_as(body, node.value, info.value)
        body.b.emit("map_write", key, body.stored(value), map=info.name)
    else:
        local = body.checked.locals[target]
        body.write(local, lower_as(body, node.value, local.type))


def _widest(type: Type) -> Type:
    return Int(64, type.signed) if isinstance(type, Int) else type


def _type_of(body: Body, target: nodes.Variable | nodes.Map) -> Type:
    if isinstance(target, nodes.Variable):
        return body.checked.locals[target].type
    return value_type(body.checked.maps[target.name])


def aggregate_call(node: nodes.Expr) -> nodes.Call | nodes.Identifier | None:
    """The `count()` of `@ = count()`, also as last expression of a block."""
    while isinstance(node, nodes.Block) and node.result is not None:
        node = node.result
    if isinstance(node, nodes.Call | nodes.Identifier) and node.name in AGGREGATES:
        return node
    return None


def _aggregate(
    body: Body, target: nodes.Map, call: nodes.Call | nodes.Identifier, value: nodes.Expr
) -> None:
    """`@m[k] = f(n)`; of a block the statements run first."""
    while isinstance(value, nodes.Block) and value.result is not None:
        statements(body, value.statements)
        value = value.result
    info = body.checked.maps[target.name]
    key = map_key(body, info, target.key)
    arguments = []
    if isinstance(call, nodes.Call) and call.args and call.name != "count":
        argument = call.args[0]
        if isinstance(argument, nodes.TypeName | nodes.Typeof):
            raise CompilerBug("a type as argument of an aggregate")
        type = body.checked.types[argument]
        value64 = body.coerce(lower(body, argument), type, Int(64, is_signed(type)))
        arguments.append(value64)
    with body.spanned(call.span):
        body.b.emit("aggregate", key, *arguments, map=info.name)


# Leaving


def leave(body: Body, value: Value | None = None) -> None:
    """End the probe. Inside a callback: say so in the frame and end the iteration."""
    if body.function.entry is None:
        _leave_callback(body, PROBE)
    else:
        body.b.ret(value or body.const(0))


def _leave_callback(body: Body, what: int) -> None:
    body.b.emit("store", body.frame_pointer(), body.const(what), off=RETURNED)
    body.b.ret(body.const(1))


def inlined(body: Body, node: nodes.Inlined) -> Value:
    """The value of a call: its body in place, in which `return` jumps to the end."""
    types, locals_ = body.checked.types, body.checked.locals
    for (variable, _), argument in zip(node.parameters, node.args, strict=True):
        local = locals_[variable]
        body.write(local, lower_as(body, argument, local.type))
    result, end = locals_.get(node.returned), body.b.block("returned")
    if result is not None:
        body.write(result, body.zero(result.type))
    body.calls.append(Called(result, end))
    statements(body, node.statements)
    if node.result is not None and body.open:
        expression_statement(body, node.result)
    body.calls.pop()
    if body.open:
        body.b.jump(end)
    body.start(end)
    return body.read(result) if result is not None else body.zero(types[node])


def _return_from(body: Body, called: Called, node: nodes.Return) -> None:
    if called.result is not None and node.value is not None:
        body.write(called.result, lower_as(body, node.value, called.result.type))
    if called.end is None:
        _leave_callback(body, PROBE + len(body.calls))
    else:
        body.b.jump(called.end)


def _return(body: Body, node: nodes.Return) -> None:
    if body.calls:
        _return_from(body, body.calls[-1], node)
        return
    if node.value is None:
        leave(body)
        return
    type = body.checked.types[node.value]
    leave(body, body.int_of(body.stored(lower(body, node.value)), is_signed(type)))


def _leave_loop(body: Body, out: bool) -> None:
    loop = body.loops[-1]
    target = loop.end if out else loop.header
    if target is None:
        body.b.ret(body.const(int(out)))
    else:
        body.b.jump(target)


# Loops


def _while(body: Body, node: nodes.While) -> None:
    b = body.b
    header, inside, end = b.block("while"), b.block("body"), b.block("endwhile")
    b.jump(header)
    b.at(header)  # sealed once the way back is known
    b.branch(condition(body, node.condition), inside, end)
    body.start(inside)
    _loop_body(body, node.body, Loop(header, end))
    if body.open:
        b.jump(header)
    body.variables.seal(header)
    body.start(end)


def _loop_body(body: Body, node: nodes.Block, loop: Loop) -> None:
    body.loops.append(loop)
    block(body, node)
    body.loops.pop()


def _for_range(body: Body, node: nodes.For) -> None:
    """`for ($i : a..b)`: a copy counts, so the body's view of $i cannot change the loop."""
    assert isinstance(node.over, nodes.Range)
    b, local = body.b, body.checked.locals[node.variable]
    counter = Local(node.variable.name, local.type, node.variable.span)
    signed = is_signed(local.type)
    limit = lower_as(body, node.over.end, local.type)
    body.variables.write(counter, body.block, lower_as(body, node.over.start, local.type))
    header, inside, step, end = (b.block(n) for n in ("for", "body", "next", "endfor"))
    b.jump(header)
    b.at(header)
    b.branch(body.emit("slt" if signed else "ult", body.read(counter), limit), inside, end)
    body.start(inside)
    body.write(local, body.read(counter))
    _loop_body(body, node.body, Loop(step, end))
    if body.open:
        b.jump(step)
    body.start(step)
    now = body.read(counter)
    body.variables.write(counter, body.block, body.emit("add", now, body.const(1, now.type)))
    b.jump(header)
    body.variables.seal(header)
    body.start(end)


def _unroll(body: Body, node: nodes.Unroll) -> None:
    b = body.b
    end = b.block("endunroll")
    for _ in range(int(relocated.constant(body, node.count) or 0)):
        after = b.block("unrolled")
        _loop_body(body, node.body, Loop(after, end))
        if body.open:
            b.jump(after)
        body.start(after)
    b.jump(end)
    body.start(end)


def _for_map(body: Body, node: nodes.For) -> None:
    """`for ($kv : @m)`: the body becomes a callback that shares the frame."""
    assert isinstance(node.over, nodes.Map)
    info = body.checked.maps[node.over.name]
    local = body.checked.locals[node.variable]
    if info.key is None or not isinstance(local.type, Tuple):
        raise CompilerBug("a loop over a scalar map")
    key, value, frame = Value(MAP), Value(MAP), Value(STACK)
    name = f"{body.function.name}_for{len(body.module.functions)}"
    function = Function(name, [key, value, frame])
    body.module.functions.append(function)
    inner = Body(
        body.checked, body.target, body.module, body.instance, function,
        frame=frame, frame_offsets=body.frame_offsets,
        calls=[Called(called.result, None) for called in body.calls],
    )  # fmt: skip
    start = inner.b.block("entry")
    with inner.spanned(node.span):
        inner.start(start)
        inner.write(local, _pair(inner, info, key, value, local.type))
        _loop_body(inner, node.body, Loop(None, None))
        if inner.open:
            inner.b.ret(inner.const(0))
    inner.variables.finish()
    body.b.emit("for_each", body.frame_pointer(), map=info.name, function=name)
    if _returns(node.body):
        _leave_if_returned(body)


def _returns(node: nodes.Node) -> bool:
    """Whether a loop's body may leave more than the loop."""
    leaves = isinstance(node, nodes.Return) or (
        isinstance(node, nodes.Call) and node.name == "exit"
    )
    return leaves or any(map(_returns, nodes.children(node)))


def _leave_if_returned(body: Body) -> None:
    """Go on leaving what a callback meant to leave."""
    flag = body.emit("load", body.frame_pointer(), type=I64, off=RETURNED)
    left, on = body.b.block("left"), body.b.block("on")
    body.b.branch(body.as_condition(flag), left, on)
    body.start(left)
    if body.calls and body.calls[-1].end is not None:
        _leave_call(body, flag, body.calls[-1].end)
    body.b.ret(body.const(1 if body.function.entry is None else 0))
    body.start(on)


def _leave_call(body: Body, flag: Value, end: Block) -> None:
    """Jump to the end of the function at hand, if it is that which is left."""
    here, further = body.b.block("here"), body.b.block("further")
    body.b.branch(body.emit("eq", flag, body.const(PROBE + len(body.calls))), here, further)
    body.start(here)
    body.b.emit("store", body.frame_pointer(), body.const(0), off=RETURNED)
    body.b.jump(end)
    body.start(further)


def _pair(body: Body, info: MapInfo, key: Value, value: Value, type: Tuple) -> Value:
    """`$kv`: copies of key and value."""
    assert info.key is not None
    key_type, want = type.of
    first = body.coerce(body.load(key, 0, info.key), info.key, key_type)
    if isinstance(info.value, Aggregate):
        have = value_type(info)
        operand = body.stored(body.load(key, 0, info.key)) if is_scalar(info.key) else key
        second = map_value(body, info, operand)
    else:
        have = info.value
        second = body.load(value, 0, have)
    second = body.coerce(second, have, want)
    return body.pack(
        [(type.offsets[0], first, key_type), (type.offsets[1], second, want)], type.size
    )


def frame_layout(locals_: Sequence[Local]) -> tuple[dict[Local, int], int]:
    """Offsets of captured variables in the frame, and its size; first the RETURNED flag."""
    offsets, end = {}, 8
    for local in locals_:
        offsets[local] = end
        end += (local.type.size + 7) // 8 * 8
    return offsets, end
