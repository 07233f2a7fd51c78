"""Function calls → IR: one row for each function of the language."""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.c_library import CFunction
from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Value
from bpfscript.ir.types import I1, I64, KERNEL
from bpfscript.types import (
    INT64,
    UINT32,
    UINT64,
    Aggregate,
    Bool,
    Int,
    Mac,
    String,
    Type,
)  # fmt: skip

from . import nodes, relocated
from .body import Body, is_scalar, is_signed, unsupported
from .c_functions import signature
from .locations import Location, locate, read, remote_pointer
from .lower_builtins import BUILTINS, argument_number, from_global, numbered_argument, symbol
from .lower_compare import memcmp
from .lower_expressions import assign, lower, lower_as, map_key, value_type
from .lower_kernel import path, percpu_address, process_name, socket_cookie
from .lower_packets import skboutput
from .lower_statements import leave
from .lower_text import TEXTS
from .typed import MapInfo


def call(body: Body, node: nodes.Call) -> Value:
    """The value of a call; of one that has none, a zero that nobody uses."""
    name = node.name
    if name in CALLS:
        return CALLS[name](body, node) or _nothing(body)
    if not node.args and (number := argument_number(name)) is not None:
        return numbered_argument(body, number)
    if name in BUILTINS and (not node.args or name in ("kstack", "ustack", "dw_ustack")):
        return BUILTINS[name](body, node)
    if function := body.checked.library.find(name):
        return _c_call(body, node, function)
    raise unsupported(node.span, f"{name}()")


def _c_call(body: Body, node: nodes.Call, function: CFunction) -> Value:
    """Registers hold 64 bits of each argument, and of the result what its type has."""
    parameters, result = signature(function)
    args = [
        body.int_of(lower_as(body, expression(node, i), type), is_signed(type))
        for i, type in enumerate(parameters.values())
    ]
    value = body.emit("call_c", *args, name=function.code.name)
    if isinstance(result, Bool):
        return body.as_condition(body.int_of(value, False, 8))
    return body.int_of(value, False, result.bits) if isinstance(result, Int) else value


def _nothing(body: Body) -> Value:
    return body.const(0) if body.open else Value(I64)


def expression(node: nodes.Call, index: int) -> nodes.Expr:
    """An argument that is an expression, by the checker's word."""
    argument = node.args[index]
    if isinstance(argument, nodes.TypeName | nodes.Typeof):
        raise CompilerBug(f"{node.name}() with a type as argument {index + 1}")
    return argument


def literal(body: Body, node: nodes.Call, index: int, default: object = None) -> object:
    """Value of an argument that the checker made sure is a literal."""
    if index >= len(node.args):
        return default
    value = relocated.constant(body, node.args[index])
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


# Output


def fields(body: Body, arguments: tuple[nodes.Expr, ...]) -> list[tuple[Value, Type]]:
    """Arguments as event fields, aggregates as integers."""
    return [(lower(body, a), field_type(body, a)) for a in arguments]


def field_type(body: Body, node: nodes.Expr) -> Type:
    type = body.checked.types[node]
    if isinstance(type, Aggregate) and isinstance(node, nodes.Map):
        return value_type(body.checked.maps[node.name])
    return type


def _formatted(kind: str, place: bool = False) -> Callable[[Body, nodes.Call], None]:
    def emit(body: Body, node: nodes.Call) -> None:
        text = str(literal(body, node, 0))
        arguments = tuple(expression(node, i) for i in range(1, len(node.args)))
        body.event(kind, fields(body, arguments), node.span if place else None, text=text)

    return emit


def _printf(body: Body, node: nodes.Call) -> None:
    if body.instance.pinned:
        from .lower_iter import seq_printf

        arguments = [expression(node, i) for i in range(1, len(node.args))]
        seq_printf(body, str(literal(body, node, 0)), arguments)
    else:
        _formatted("printf")(body, node)


def _print(body: Body, node: nodes.Call) -> None:
    what = expression(node, 0)
    if isinstance(what, nodes.Map) and (what.key is None):
        top, divisor = literal(body, node, 1, 0), literal(body, node, 2, 0)
        body.event("print_map", map=what.name, top=top, divisor=divisor)
        return
    if isinstance(what, nodes.Map):
        info = body.checked.maps[what.name]
        if isinstance(info.value, Aggregate) and not info.value.readable and info.key is not None:
            key = lower_as(body, what.key, info.key) if what.key else body.zero(info.key)
            body.event("print_element", [(key, info.key)], map=what.name)
            return
    body.event("print", fields(body, (what,)))


def _whole_map(kind: str) -> Callable[[Body, nodes.Call], None]:
    def emit(body: Body, node: nodes.Call) -> None:
        what = expression(node, 0)
        assert isinstance(what, nodes.Map)
        body.event(kind, map=what.name)

    return emit


def _time(body: Body, node: nodes.Call) -> None:
    body.event("time", text=literal(body, node, 0, "%H:%M:%S\n"))


def _join(body: Body, node: nodes.Call) -> None:
    """Up to 16 strings behind an array of pointers."""
    string = String(1024)
    pointer = lower(body, expression(node, 0))
    type = body.checked.types[node.args[0]]
    base = remote_pointer(body, pointer, type)
    parts: list[tuple[Value, Type]] = []
    for index in range(16):
        address = body.emit("read_int", base, type=I64, off=8 * index)
        source = remote_pointer(body, address, type)
        text = body.emit("read_string", source, body.const(string.size), size=string.size)
        parts.append((text, string))
    body.event("join", parts, text=literal(body, node, 1, " "))


def _exit(body: Body, node: nodes.Call) -> None:
    code = lower_as(body, expression(node, 0), INT64) if node.args else body.const(0)
    body.event("exit", [(code, INT64)])
    leave(body)


# Maps


def _map_argument(body: Body, node: nodes.Call) -> tuple[MapInfo, nodes.Map]:
    what = expression(node, 0)
    assert isinstance(what, nodes.Map)
    return body.checked.maps[what.name], what


def _delete(body: Body, node: nodes.Call) -> Value:
    info, what = _map_argument(body, node)
    key = expression(node, 1) if len(node.args) > 1 else what.key
    return body.emit("map_delete", map_key(body, info, key), map=info.name)


def _has_key(body: Body, node: nodes.Call) -> Value:
    info, _ = _map_argument(body, node)
    return body.emit("map_has", map_key(body, info, expression(node, 1)), map=info.name)


def _find(body: Body, node: nodes.Call) -> Value:
    """Whether the key is there; if so its value goes to the variable."""
    from .lower_expressions import map_value

    info, _ = _map_argument(body, node)
    key = map_key(body, info, expression(node, 1))
    target = expression(node, 2)
    assert isinstance(target, nodes.Variable)
    found = body.emit("map_has", key, map=info.name)
    copy, end = body.b.block("found"), body.b.block("endfind")
    body.b.branch(found, copy, end)
    body.start(copy)
    assign(body, target, map_value(body, info, key), value_type(info))
    body.b.jump(end)
    body.start(end)
    return found


def _len(body: Body, node: nodes.Call) -> Value:
    what = expression(node, 0)
    if isinstance(what, nodes.Map) and what.key is None:
        return body.emit("map_length", map=what.name)
    stack = lower(body, what)
    return body.emit("frame_count", stack, size=body.checked.types[what].size)


# Strings and memory


def _str(body: Body, node: nodes.Call) -> Value:
    what = expression(node, 0)
    type, want = body.checked.types[what], body.checked.types[node]
    assert isinstance(want, String)
    if is_scalar(type):
        return read_string(body, lower(body, what), type, want.size, node)
    value = lower(body, what)
    if len(node.args) == 1:
        return body.coerce(value, String(type.size), want)
    limit = literal(body, node, 1) if node.args[1] in body.checked.constants else None
    if not isinstance(limit, int):
        length = _length(body, node, type.size)
        address = body.emit("to_ptr", body.emit("to_int", value), type=KERNEL)
        return body.emit("read_string", address, length, size=want.size)
    kept = min(limit - 1, type.size)  # `limit` counts the NUL
    return body.pack([(0, value, String(kept))] if kept > 0 else [], want.size)


def read_string(
    body: Body, address: Value, type: Type, size: int, node: nodes.Call | None = None
) -> Value:
    """The string at an address. One that fills its `size` bytes has no NUL there: it was cut off.

    So the helper, which always writes a NUL, gets room for one more, as upstream does below 1024.
    """
    room = size + 1 if size < 1024 else size
    limit = _length(body, node, room) if node else body.const(room)
    return body.emit("read_string", remote_pointer(body, address, type), limit, size=room)


def _length(body: Body, node: nodes.Call, size: int) -> Value:
    """The length argument, at most `size`."""
    if len(node.args) < 2:
        return body.const(size)
    argument = expression(node, 1)
    length = body.int_of(
        body.stored(lower(body, argument)), is_signed(body.checked.types[argument])
    )
    fits = body.emit("ule", length, body.const(size))
    return body.emit("select", fits, length, body.const(size))


def _buf(body: Body, node: nodes.Call) -> Value:
    what = expression(node, 0)
    type, want = body.checked.types[what], body.checked.types[node]
    room = want.size - 4
    if is_scalar(type):
        pointer = remote_pointer(body, lower(body, what), type)
        return body.emit("read_buffer", pointer, _length(body, node, room), size=want.size)
    where = locate(body, what, lower)
    length = _length(body, node, min(room, type.size))
    if where.remote:
        pointer = body.emit("ptr_add", where.pointer, body.const(where.offset))
        return body.emit("read_buffer", pointer, length, size=want.size)
    value = read(body, where)
    kept = String(min(room, type.size))
    return body.pack([(0, body.int_of(length, False, 32), UINT32), (4, value, kept)], want.size)


def _strncmp(body: Body, node: nodes.Call) -> Value:
    one, other = (lower(body, expression(node, i)) for i in (0, 1))
    sizes = tuple(body.checked.types[node.args[i]].size for i in (0, 1))
    limit = literal(body, node, 2)
    assert isinstance(limit, int)
    if limit == 0:
        return body.const(0)
    same = body.emit("string_eq", one, other, sizes=sizes, limit=min(limit, *sizes))
    return body.int_of(body.emit("xor", same, body.const(1, I1)), False)


def _find_string(body: Body, node: nodes.Call) -> Value:
    one, other = (lower(body, expression(node, i)) for i in (0, 1))
    sizes = tuple(body.checked.types[node.args[i]].size for i in (0, 1))
    return body.emit("string_find", one, other, sizes=sizes)


def _strstr(body: Body, node: nodes.Call) -> Value:
    """Not found is -2 (ENOENT) where the kernel has bpf_strnstr, which upstream calls; else -1."""
    found, btf = _find_string(body, node), body.target.btf
    if btf is not None and btf.find("bpf_strnstr", "func"):
        missing = body.emit("slt", found, body.const(0))
        found = body.emit("select", missing, body.const(-2), found)
    return body.coerce(found, INT64, body.checked.types[node])


def _strcontains(body: Body, node: nodes.Call) -> Value:
    return body.emit("sle", body.const(0), _find_string(body, node))


def _strlen(body: Body, node: nodes.Call) -> Value:
    what = expression(node, 0)
    type = body.checked.types[what]
    value = lower(body, what)
    if is_scalar(type):
        size = body.checked.limits.max_strlen
        value = read_string(body, value, type, size)
        return body.emit("string_length", value, size=size)
    return body.emit("string_length", value, size=type.size)


def _macaddr(body: Body, node: nodes.Call) -> Value:
    what = expression(node, 0)
    type = body.checked.types[what]
    if is_scalar(type):
        return body.emit("read_mem", remote_pointer(body, lower(body, what), type), off=0, size=6)
    where = locate(body, what, lower)
    return read(body, Location(where.pointer, where.offset, Mac()))


def _ntop(body: Body, node: nodes.Call) -> Value:
    what = expression(node, len(node.args) - 1)
    type, want = body.checked.types[what], body.checked.types[node]
    value = lower(body, what)
    family = body.const(10 if type.size == 16 else 2, body.int_of(body.const(0), False, 32).type)
    if len(node.args) == 2:
        given = expression(node, 0)
        family = body.int_of(lower(body, given), is_signed(body.checked.types[given]), 32)
    if is_scalar(type):
        address = body.int_of(body.stored(value), is_signed(type), 32)
        return body.pack([(0, family, UINT32), (4, address, UINT32)], want.size)
    return body.pack([(0, family, UINT32), (4, value, type)], want.size)


def _bswap(body: Body, node: nodes.Call) -> Value:
    type = body.checked.types[node]
    value = lower_as(body, expression(node, 0), type)
    return value if type.size == 1 else body.emit("bswap", value)


# Addresses, time, control


def _ksym(body: Body, node: nodes.Call) -> Value:
    what = expression(node, 0)
    value = body.int_of(body.stored(lower(body, what)), is_signed(body.checked.types[what]))
    return symbol(body, value, body.checked.types[node])


def _kaddr(body: Body, node: nodes.Call) -> Value:
    name = str(literal(body, node, 0))
    address = body.target.kernel_symbol(name)
    if address is None:
        raise unsupported(node.span, f"kaddr(): the kernel symbol {name}")
    return body.const(address)


def _uaddr(body: Body, node: nodes.Call) -> Value:
    from .user_addresses import address

    return address(body, node, str(literal(body, node, 0)))


def _reg(body: Body, node: nodes.Call) -> Value:
    return body.emit("register", name=str(literal(body, node, 0)))


def _same(body: Body, node: nodes.Call) -> Value:
    """A value that only its type changes: kptr, uptr, cgroup_path."""
    what = expression(node, 0)
    value, type = lower(body, what), body.checked.types[what]
    return body.int_of(body.stored(value), is_signed(type)) if is_scalar(type) else value


def _strftime(body: Body, node: nodes.Call) -> Value:
    what = expression(node, 1)
    return body.coerce(lower(body, what), body.checked.types[what], INT64)


_CLOCKS = {"boot": "ktime_get_boot_ns", "monotonic": "ktime_get_ns", "tai": "ktime_get_tai_ns",
           "sw_tai": "ktime_get_boot_ns"}  # fmt: skip


def _nsecs(body: Body, node: nodes.Call) -> Value:
    mode = "boot"
    if node.args:
        argument = node.args[0]
        mode = argument.name if isinstance(argument, nodes.Identifier | nodes.TypeName) else mode
    if mode == "sw_tai":
        offset = from_global(body, "boot_to_tai")
        return body.emit("add", body.b.call("ktime_get_boot_ns"), offset)
    return body.b.call(_CLOCKS[mode])


def _signal(helper: str) -> Callable[[Body, nodes.Call], None]:
    def send(body: Body, node: nodes.Call) -> None:
        body.b.call(helper, lower_as(body, expression(node, 0), UINT64))

    return send


def _override(body: Body, node: nodes.Call) -> None:
    """The traced function returns this value in place of being run."""
    value = lower_as(body, expression(node, 0), UINT64)
    body.b.call("override_return", body.function.params[0], value)


def _write_user(body: Body, node: nodes.Call) -> Value:
    """Copy from kernel memory, at most as much as strings are long; whether it worked."""
    room = body.checked.limits.max_strlen
    source, size = expression(node, 1), lower_as(body, expression(node, 2), UINT64)
    fits = body.emit("ule", size, body.const(room))
    size = body.emit("select", fits, size, body.const(room))
    pointer = remote_pointer(body, lower(body, source), body.checked.types[source])
    data = body.emit("read_buffer", pointer, size, size=room + 4)
    start = body.emit("ptr_add", data, body.const(4))
    to = lower_as(body, expression(node, 0), UINT64)
    failed = body.b.call("probe_write_user", to, start, size)
    return body.emit("eq", failed, body.const(0))


def _is_err(body: Body, node: nodes.Call) -> Value:
    address = lower_as(body, expression(node, 0), UINT64)
    return body.emit("ule", body.const(-4095), address)


def _debugf(body: Body, node: nodes.Call) -> None:
    text = str(literal(body, node, 0)).encode("utf-8", "surrogateescape") + b"\0"
    data = body.emit("rodata", data=text)
    arguments = [expression(node, i) for i in range(1, len(node.args))]
    values = [lower_as(body, a, Int(64, is_signed(body.checked.types[a]))) for a in arguments]
    values += [body.const(0)] * (3 - len(values))
    body.b.call("trace_printk", data, body.const(len(text)), *values)


def _answered(body: Body, node: nodes.Call) -> None:
    """The checker has said what there was to say."""


CALLS: dict[str, Callable[[Body, nodes.Call], Value | None]] = {
    "static_assert": _answered,
    "assert_str": _answered,
    "printf": _printf,
    "errorf": _formatted("errorf", place=True),
    "warnf": _formatted("warnf", place=True),
    "cat": _formatted("cat"),
    "system": _formatted("system"),
    "print": _print,
    "clear": _whole_map("clear"),
    "zero": _whole_map("zero"),
    "time": _time,
    "join": _join,
    "exit": _exit,
    "delete": _delete,
    "has_key": _has_key,
    "find": _find,
    "len": _len,
    "str": _str,
    "buf": _buf,
    "strncmp": _strncmp,
    "strstr": _strstr,
    "strcontains": _strcontains,
    "strlen": _strlen,
    "macaddr": _macaddr,
    "ntop": _ntop,
    "bswap": _bswap,
    "ksym": _ksym,
    "usym": _ksym,
    "kaddr": _kaddr,
    "uaddr": _uaddr,
    "reg": _reg,
    "kptr": _same,
    "uptr": _same,
    "cgroup_path": _same,
    "strftime": _strftime,
    "nsecs": _nsecs,
    "signal": _signal("send_signal"),
    "signal_thread": _signal("send_signal_thread"),
    "override": _override,
    "write_user": _write_user,
    "comm": process_name,
    "memcmp": memcmp,
    "is_err": _is_err,
    "path": path,
    "percpu_kaddr": percpu_address,
    "socket_cookie": socket_cookie,
    "skboutput": skboutput,
    "debugf": _debugf,
    **TEXTS,
}
