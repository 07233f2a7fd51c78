"""Expressions → IR: `lower` to the type that the checker found, `lower_as` to a wider one."""

from __future__ import annotations

from bpfscript.diagnostics import Span
from bpfscript.ir.core import Value
from bpfscript.ir.types import I1, I8, I64
from bpfscript.types import (
    BOOL,
    INT64,
    UINT64,
    Aggregate,
    Array,
    Bool,
    Buffer,
    Int,
    Pointer,
    Record,
    String,
    Timestamp,
    Tuple,
    Type,
)  # fmt: skip

from . import nodes, relocated
from .body import Body, ir_type, is_scalar, is_signed, unsupported
from .join import promote
from .locations import argument, fetch, is_args
from .lower_builtins import BUILTINS, argument_number, numbered_argument
from .typed import MapInfo


def lower(body: Body, node: nodes.Expr) -> Value:
    """The value of an expression, as values of its type live in IR."""
    with body.spanned(node.span):
        if node in body.checked.questions:
            value = relocated.ask(body, body.checked.questions[node])
            return body.coerce(value, UINT64, body.checked.types[node])
        if node in body.checked.constants and relocated.foldable(body, node):
            return constant(body, node)
        return _lower(body, node)


def lower_as(body: Body, node: nodes.Expr, want: Type) -> Value:
    """The value converted to a type that it fits. Tuples are built in it at once."""
    type = body.checked.types[node]
    constants = body.checked.constants
    if isinstance(want, String) and (node in constants or is_probe_name(node)):
        with body.spanned(node.span):
            return string_constant(body, node, want.size)
    if isinstance(node, nodes.TupleLiteral) and isinstance(want, Tuple):
        elements = zip(want.offsets, node.elements, want.of, strict=True)
        return body.pack([(o, lower_as(body, e, t), t) for o, e, t in elements], want.size)
    if isinstance(node, nodes.RecordLiteral) and isinstance(want, Record):
        made = {n: e for n, e in zip(node.names, node.elements, strict=True)}
        fields = zip(want.offsets, want.names, want.of, strict=True)
        return body.pack([(o, lower_as(body, made[n], t), t) for o, n, t in fields], want.size)
    return body.coerce(lower(body, node), type, want)


def condition(body: Body, node: nodes.Expr) -> Value:
    """An expression as i1: not zero."""
    value = lower(body, node)
    type = body.checked.types[node]
    return body.coerce(value, type, BOOL) if type != BOOL else value


def constant(body: Body, node: nodes.Node) -> Value:
    value = relocated.constant(body, node)
    assert value is not None
    type = body.checked.types[node]
    if isinstance(value, bytes):
        return body.emit("rodata", data=value.ljust(type.size, b"\0")[: type.size])
    return body.const(int(value), ir_type(type))


def string_constant(body: Body, node: nodes.Node, size: int) -> Value:
    """A string known at compile time, or the name of the probe, in `size` bytes."""
    value = body.checked.constants.get(node)
    if isinstance(value, bytes):
        return body.emit("rodata", data=value.ljust(size, b"\0"))
    if len(body.instance.names) == 1:
        return body.emit("rodata", data=body.instance.names[0].encode().ljust(size, b"\0"))
    if body.function.entry is None:
        raise unsupported(node.span, "'probe' inside a for loop over a map, of several probes")
    return body.emit("probe_name", size=size)


def is_probe_name(node: nodes.Node) -> bool:
    names = ("probe", "__builtin_probe")
    return isinstance(node, nodes.Identifier | nodes.Call) and node.name in names


def _lower(body: Body, node: nodes.Expr) -> Value:
    from .lower_calls import call
    from .lower_statements import block, inlined

    type = body.checked.types[node]
    match node:
        case nodes.Variable():
            return body.read(body.checked.locals[node])
        case nodes.Map():
            return map_read(body, node)
        case nodes.Identifier(name=name) if is_probe_name(node):
            return string_constant(body, node, type.size)
        case nodes.Identifier(name=name) if (number := argument_number(name)) is not None:
            return numbered_argument(body, number)
        case nodes.Identifier(name=name) if name in BUILTINS:
            return BUILTINS[name](body, node)
        case nodes.Identifier(name=name):
            raise unsupported(node.span, f"'{name}'")
        case nodes.Call():
            return call(body, node)
        case nodes.Unary(op="*") | nodes.Index():
            return fetch(body, node, lower)
        case nodes.FieldAccess(operand=operand, name=name):
            if is_args(operand):
                return argument(body, (body.instance.arguments or {})[name])
            return fetch(body, node, lower)
        case nodes.Unary():
            return _unary(body, node, type)
        case nodes.Increment():
            return _increment(body, node)
        case nodes.Binary():
            return _binary(body, node, type)
        case nodes.Ternary(condition=test, then=then, otherwise=otherwise):
            return _choose(body, test, then, otherwise, type)
        case nodes.If(condition=test, then=then, otherwise=otherwise) if otherwise is not None:
            return _choose(body, test, then, otherwise, type)
        case nodes.Inlined():
            return inlined(body, node)
        case nodes.Block():
            return block_value(body, node, type)
        case nodes.Cast(operand=operand):
            return _cast(body, lower(body, operand), body.checked.types[operand], type, node.span)
        case nodes.TupleLiteral() | nodes.RecordLiteral():
            return lower_as(body, node, type)
        case nodes.Comptime(operand=operand):
            return lower_as(body, operand, type)
        case nodes.If():
            block(body, node)
            return body.zero(type)
        case nodes.AddressOf(of=of):
            return body.emit("to_int", _address(body, of))
    raise unsupported(node.span, f"this expression ({node.__class__.__name__.lower()})")


def block_value(body: Body, node: nodes.Block, type: Type) -> Value:
    from .lower_statements import statements

    statements(body, node.statements)
    if not body.open:  # it returned: what follows is never reached
        body.start(body.b.block("unreachable"))
    return lower_as(body, node.result, type) if node.result else body.zero(type)


# Maps


def map_key(body: Body, info: MapInfo, key: nodes.Expr | None) -> Value:
    """The key operand of a map operation."""
    if info.key is None or key is None:
        return body.const(0, ir_type(Int(32, False)))
    return body.stored(lower_as(body, key, info.key))


def map_read(body: Body, node: nodes.Map) -> Value:
    info = body.checked.maps[node.name]
    return map_value(body, info, map_key(body, info, node.key))


def map_value(body: Body, info: MapInfo, key: Value) -> Value:
    """The value of a key; an aggregate as an integer."""
    if isinstance(info.value, Aggregate):
        return body.emit("aggregate_read", key, map=info.name)
    if not is_scalar(info.value):
        return body.emit("map_read_mem", key, map=info.name)
    if isinstance(info.value, Bool):
        byte = body.emit("map_read", key, type=I8, map=info.name)
        return body.as_condition(byte)
    return body.emit("map_read", key, type=ir_type(info.value), map=info.name)


def _address(body: Body, of: nodes.Variable | nodes.Map) -> Value:
    if isinstance(of, nodes.Variable):
        return body.address(body.checked.locals[of])
    return body.emit("map_ptr", map=of.name)


def value_type(info: MapInfo) -> Type:
    """Type of what reading a map gives."""
    if isinstance(info.value, Aggregate):
        return INT64 if info.value.signed and info.value.name != "count" else UINT64
    return info.value


def assign(body: Body, target: nodes.Variable | nodes.Map, value: Value, type: Type) -> None:
    """Set a variable or map element to a value of a type that fits."""
    if isinstance(target, nodes.Variable):
        local = body.checked.locals[target]
        body.write(local, body.coerce(value, type, local.type))
        return
    info = body.checked.maps[target.name]
    stored = body.stored(body.coerce(value, type, info.value))
    body.b.emit("map_write", map_key(body, info, target.key), stored, map=info.name)


# Operators


def _unary(body: Body, node: nodes.Unary, type: Type) -> Value:
    if node.op == "!":
        return body.emit("xor", condition(body, node.operand), body.const(1, I1))
    value = body.coerce(lower(body, node.operand), body.checked.types[node.operand], type)
    if node.op == "-":
        return body.emit("sub", body.const(0, value.type), value)
    return body.emit("xor", value, body.const(-1, value.type))


def _increment(body: Body, node: nodes.Increment) -> Value:
    """Read, step, write; pointers step by what they point to."""
    target, type = node.target, body.checked.types[node]
    have = _target_type(body, target)
    old = body.coerce(lower(body, target), have, type)
    one = body.const(1, old.type)
    step = relocated.stride(body, type.to) if isinstance(type, Pointer) else one
    new = body.emit("add" if node.op == "++" else "sub", old, step)
    assign(body, target, new, type)
    return new if node.prefix else old


def _target_type(body: Body, target: nodes.Variable | nodes.Map) -> Type:
    if isinstance(target, nodes.Variable):
        return body.checked.locals[target].type
    return value_type(body.checked.maps[target.name])


_ARITHMETIC = {
    "+": "add", "-": "sub", "*": "mul", "&": "and", "|": "or", "^": "xor", "<<": "shl",
    ">>": "lshr",
}  # fmt: skip
_COMPARE = {"==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "lt", ">=": "le"}


def _binary(body: Body, node: nodes.Binary, type: Type) -> Value:
    if node.op in ("&&", "||"):
        return _short_circuit(body, node)
    left, right = lower(body, node.left), lower(body, node.right)
    types = body.checked.types
    return binary(body, node.op, left, types[node.left], right, types[node.right], type)


def binary(
    body: Body, op: str, left: Value, left_type: Type, right: Value, right_type: Type, type: Type
) -> Value:
    """`left op right` of types that the checker allowed together; also what `op=` computes."""
    if op in _COMPARE:
        return _compare(body, op, left, left_type, right, right_type)
    if isinstance(type, Pointer):
        left = _scaled(body, left, left_type, type)
        right = _scaled(body, right, right_type, type)
        return body.emit(_ARITHMETIC[op], left, right)
    left = body.int_of(body.stored(left), is_signed(left_type))
    right = body.int_of(body.stored(right), is_signed(right_type))
    if op in ("/", "%"):
        return body.coerce(
            body.emit("divide", left, right, op="udiv" if op == "/" else "urem"), INT64, type
        )
    return body.coerce(body.emit(_ARITHMETIC[op], left, right), INT64, type)


def _scaled(body: Body, value: Value, have: Type, pointer: Pointer) -> Value:
    """An operand of pointer arithmetic: integers count in elements."""
    if isinstance(have, Pointer):
        return value
    wide = body.int_of(body.stored(value), is_signed(have))
    step = relocated.stride(body, pointer.to) if pointer.to.size else body.const(1)
    return body.emit("mul", wide, step)


def _compare(body: Body, op: str, left: Value, lt: Type, right: Value, rt: Type) -> Value:
    if isinstance(lt, Timestamp) and lt != rt:  # another format: another text
        return body.const(int(op == "!="), I1)
    if is_scalar(lt) and is_scalar(rt):
        return _compare_scalars(body, op, left, lt, right, rt)
    if isinstance(lt, String) and isinstance(rt, String):
        sizes = (lt.size, rt.size)
        same = body.emit("string_eq", left, right, sizes=sizes, limit=min(sizes))
    elif isinstance(lt, Buffer) and isinstance(rt, Buffer):
        size = max(lt.size, rt.size)
        left, right = _padded(body, left, lt, size), _padded(body, right, rt, size)
        same = body.emit("memory_eq", left, right, size=size)
    else:
        common = promote(lt, rt) or lt
        left, right = body.coerce(left, lt, common), body.coerce(right, rt, common)
        if isinstance(common, Tuple | Record):
            same = _same_elements(body, left, right, common)
        else:
            same = body.emit("memory_eq", left, right, size=common.size)
    return same if op == "==" else body.emit("xor", same, body.const(1, I1))


def _padded(body: Body, value: Value, type: Type, size: int) -> Value:
    return value if type.size == size else body.pack([(0, value, type)], size)


def _same_elements(body: Body, left: Value, right: Value, type: Tuple | Record) -> Value:
    """All elements agree; strings up to their NUL."""
    same = body.const(1, I1)
    for offset, t in zip(type.offsets, type.of, strict=True):
        one, other = body.load(left, offset, t), body.load(right, offset, t)
        same = body.emit("and", same, _compare(body, "==", one, t, other, t))
    return same


def _compare_scalars(body: Body, op: str, left: Value, lt: Type, right: Value, rt: Type) -> Value:
    common = promote(lt, rt) if isinstance(lt, Int) and isinstance(rt, Int) else None
    signed = is_signed(common) if common else is_signed(lt) and is_signed(rt)
    left = body.int_of(body.stored(left), is_signed(lt))
    right = body.int_of(body.stored(right), is_signed(rt))
    name = _COMPARE[op]
    if name in ("eq", "ne"):
        return body.emit(name, left, right)
    if op in (">", ">="):
        left, right = right, left
    return body.emit(("s" if signed else "u") + name, left, right)


def _short_circuit(body: Body, node: nodes.Binary) -> Value:
    """The right side runs only when the left one leaves the answer open."""
    right, end = body.b.block("right"), body.b.block("end", I1)
    left = condition(body, node.left)
    if node.op == "&&":
        body.b.branch(left, right, end, else_args=(body.const(0, I1),))
    else:
        body.b.branch(left, end, right, then_args=(body.const(1, I1),))
    body.start(right)
    body.b.jump(end, condition(body, node.right))
    body.start(end)
    return end.params[0]


def _choose(
    body: Body, test: nodes.Expr, then: nodes.Expr | None, otherwise: nodes.Expr, type: Type
) -> Value:
    """`c ? a : b` and `if` as an expression; `c ?: b` gives c itself when it is not zero.

    Values in memory go to one place: the kernel's verifier follows pointers to two of them apart.
    """
    decided = body.checked.constants.get(test)
    if isinstance(test, nodes.Comptime) and decided is not None:  # the other arm has no types
        return _arm(body, (then or test) if decided else otherwise, type)
    b = body.b
    scalar = type.size > 0 and is_scalar(type)
    place = None if scalar or not type.size else body.emit("slot", size=type.size)
    join = b.block("join", ir_type(type)) if scalar else b.block("join")
    yes, no = b.block("yes"), b.block("no")
    if then is None:
        tested = lower(body, test)
        test_type = body.checked.types[test]
        b.branch(body.coerce(tested, test_type, BOOL), yes, no)
    else:
        b.branch(condition(body, test), yes, no)
    for arm, node in ((yes, then), (no, otherwise)):
        body.start(arm)
        value = _arm(body, node, type) if node else body.coerce(tested, test_type, type)
        if body.open and place:
            body.store(place, 0, value, type)
        if body.open:
            b.jump(join, *([value] if scalar else []))
    body.start(join)
    return place or (join.params[0] if scalar else body.const(0))


def _arm(body: Body, node: nodes.Expr, type: Type) -> Value:
    if type.size:
        return lower_as(body, node, type)
    from .lower_statements import expression_statement

    expression_statement(body, node)
    return body.const(0) if body.open else Value(I64)


def _cast(body: Body, value: Value, have: Type, want: Type, span: Span) -> Value:
    if isinstance(want, Pointer) and isinstance(have, Int):  # an address has no sign
        return body.int_of(value, False)
    if is_scalar(have) and is_scalar(want):
        return body.coerce(value, have, want)
    if is_scalar(have) and isinstance(want, Array):  # its bytes, zero-extended
        number = Int(8 * have.size, False)
        return body.pack([(0, body.stored(value), number)], want.size)
    if is_scalar(have):
        raise unsupported(span, f"casting from {have} to {want}")
    return body.coerce(value, have, want)
