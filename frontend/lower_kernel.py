"""Functions that take a kernel object by a pointer whose type the verifier knows: path, sockets."""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.diagnostics import Diagnostic, ScriptError
from bpfscript.ir.core import Block, Value
from bpfscript.ir.types import BTF, I64, KERNEL
from bpfscript.types import INT32, UINT64, Pointer, Struct, Type

from . import nodes, relocated
from .body import Body
from .functions import PERCPU_OFFSETS, TASK_BY_ID
from .locations import is_args
from .lower_expressions import lower_as


def path(body: Body, node: nodes.Call) -> Value:
    """The path in a struct path; where it does not fit, its end."""
    size = body.checked.types[node].size
    text = body.entry_slot(size)
    body.b.emit("fill", text, off=0, size=size)
    _with_object(body, node, lambda of: body.b.call("d_path", of, text, body.const(size)))
    return text


def socket_cookie(body: Body, node: nodes.Call) -> Value:
    return _with_object(body, node, lambda of: body.b.call("get_socket_cookie", of))


def process_name(body: Body, node: nodes.Call) -> Value:
    """`comm`, or `comm(pid)`: the name of a process that the kernel finds by its id."""
    if not node.args:
        return body.emit("comm")
    given, size = node.args[0], body.checked.types[node].size
    assert not isinstance(given, nodes.TypeName | nodes.Typeof)
    pid = lower_as(body, given, INT32)
    btf, text = body.target.btf, body.entry_slot(size)
    if btf is None or not btf.find(TASK_BY_ID, "func"):
        body.event("warnf", span=node.span, text=f"comm(PID) needs {TASK_BY_ID} of Linux 6.2")
        return body.emit("rodata", data=b"[unknown]".ljust(size, b"\0"))
    if body.checked.options.portable:
        relocated.assume_release(body)
    found, missing, end = body.b.block("found"), body.b.block("missing"), body.b.block("named")
    task = body.b.call("task_from_pid", pid)
    body.b.branch(body.emit("ne", task, body.const(0)), found, missing)
    body.start(found)
    place = body.emit("to_ptr", task, type=BTF)
    start = btf.member_offset("task_struct", "comm") or 0
    for offset in range(0, 16, 8):  # the kernel pads it with zeros
        word = body.emit("load", place, type=I64, off=start + offset)
        body.b.emit("store", text, word, off=offset)
    body.b.emit("fill", text, off=16, size=size - 16)
    body.b.call("task_release", task)
    body.b.jump(end)
    body.start(missing)
    body.event("warnf", [(pid, INT32)], node.span, text="No such process (pid=%d)")
    body.b.copy(text, body.emit("rodata", data=b"N/A".ljust(size, b"\0")), size)
    body.b.jump(end)
    body.start(end)
    return text


def percpu_address(body: Body, node: nodes.Call) -> Value:
    """The address of a variable on one CPU, this one unless another is given; 0: there is none."""
    name = body.checked.constants[node.args[0]]
    assert isinstance(name, bytes)
    symbols = [body.target.kernel_symbol(s) for s in (name.decode(), PERCPU_OFFSETS)]
    variable, offsets = (body.const(address or 0) for address in symbols)
    if len(node.args) == 1:
        cpu = body.b.call("get_smp_processor_id")
    else:
        given = node.args[1]
        assert not isinstance(given, nodes.TypeName | nodes.Typeof)
        cpu = lower_as(body, given, UINT64)
    known = body.emit("ult", cpu, body.const(body.target.cpus))
    cpu = body.emit("select", known, cpu, body.const(0))
    place = body.emit("add", offsets, body.emit("shl", cpu, body.const(3)))
    offset = body.emit("read_int", body.emit("to_ptr", place, type=KERNEL), type=I64, off=0)
    return body.emit("select", known, body.emit("add", variable, offset), body.const(0))


def _with_object(body: Body, node: nodes.Call, use: Callable[[Value], Value]) -> Value:
    """What `use` gives for the address of the first argument; 0 if a pointer to it is null."""
    what = node.args[0]
    way = _way(body, what)
    if way is not None and isinstance(body.checked.types[what], Pointer):
        way = [*way, 0]
    if way is None or len(way) < 2 or body.function.entry is None:
        text = f"{node.name}() takes only what args or ctx lead to"
        raise ScriptError([Diagnostic(text, what.span, hint=f"as in {node.name}(args.x.y)")])
    if body.checked.options.portable:
        relocated.assume_release(body)
    first, *further = way
    end = body.b.block("object", I64)
    pointer = body.emit("load", body.function.params[0], type=I64, off=first)
    for offset in further[:-1]:
        _unless_null(body, pointer, end)
        place = body.emit("to_ptr", pointer, type=BTF)
        pointer = body.emit("load", place, type=I64, off=offset)
    _unless_null(body, pointer, end)
    body.b.jump(end, use(body.emit("add", pointer, body.const(further[-1]))))
    body.start(end)
    return end.params[0]


def _unless_null(body: Body, pointer: Value, end: Block) -> None:
    there = body.b.block("there")
    known = body.emit("ne", pointer, body.const(0))
    body.b.branch(known, there, end, else_args=(body.const(0),))
    body.start(there)


def _way(body: Body, node: nodes.Node) -> list[int] | None:
    """Offset in the probe's context, then one behind each pointer on the way to a place."""
    if isinstance(node, nodes.Unary) and node.op == "*":
        way = _way(body, node.operand)
        return None if way is None else [*way, 0]
    if isinstance(node, nodes.Variable):
        only = _only_value(body, node)
        return None if only is None else _way(body, only)
    if not isinstance(node, nodes.FieldAccess):
        return None
    if is_args(node.operand):
        argument = (body.instance.arguments or {})[node.name]
        typed = body.instance.attachments[0].kind in ("fentry", "fexit")
        return [8 * argument.offset] if typed and argument.source == "raw" else None
    of = body.checked.types[node.operand]
    offset = _offset(body, of.to if isinstance(of, Pointer) else of, node.name)
    if isinstance(node.operand, nodes.Identifier) and node.operand.name == "ctx":
        return [offset]
    way = _way(body, node.operand)
    if way is None:
        return None
    return [*way, offset] if isinstance(of, Pointer) else [*way[:-1], way[-1] + offset]


def _only_value(body: Body, node: nodes.Variable) -> nodes.Expr | None:
    """What a variable stands for all its life, if that is one expression."""
    local, values = body.checked.locals.get(node), list[nodes.Expr | None]()
    for each in nodes.walk(body.instance.probe):
        match each:
            case nodes.Let(variable=target, value=value) if value is not None:
                pass
            case nodes.Assign(target=nodes.Variable() as target, op=op):
                value = None if op else each.value
            case nodes.Increment(target=nodes.Variable() as target):
                value = None
            case nodes.Call(name="find", args=(_, _, nodes.Variable() as target)):
                value = None
            case nodes.AddressOf(of=nodes.Variable() as target):
                value = None
            case _:
                continue
        if body.checked.locals.get(target) is local:
            values.append(value)
    return values[0] if local and len(values) == 1 else None


def _offset(body: Body, type: Type, name: str) -> int:
    assert isinstance(type, Struct)
    return next(f.offset for f in body.checked.structs[type.name] if f.name == name)
