"""Builtin variables → IR: one row each."""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.ir.core import Value
from bpfscript.ir.types import I64
from bpfscript.manifest import GLOBALS_LAYOUT, Internal
from bpfscript.target import kernel_namespace
from bpfscript.types import INT64, UINT64, Stack, Symbol

from . import nodes
from .body import Body, ir_type

Node = nodes.Identifier | nodes.Call


def argument_number(name: str) -> int | None:
    """N of `argN`."""
    return int(name[3:]) if name.startswith("arg") and name[3:].isdigit() else None


def numbered_argument(body: Body, number: int) -> Value:
    """Value of `argN`."""
    if body.instance.kind != "usdt":
        return body.emit("argument", index=number)
    from .lower_usdt import usdt_argument

    return usdt_argument(body, number)


def pid_tgid(body: Body, *, initial: bool = False) -> Value:
    """uint64: process id in the high half, thread id in the low one, as our PID namespace or the
    initial one counts; 0 for processes that it does not have."""
    if initial or (namespace := body.target.pid_namespace) is None:
        return body.b.call("get_current_pid_tgid")
    device, inode = map(body.const, kernel_namespace(namespace))
    ids = body.emit("slot", size=8)
    body.b.call("get_ns_current_pid_tgid", device, inode, ids, body.const(8))
    return body.emit("load", ids, off=0, type=I64)


def process(body: Body, node: Node | None = None) -> Value:
    shifted = body.emit("lshr", pid_tgid(body), body.const(32))
    return body.int_of(shifted, False, 32)


def thread(body: Body, node: Node) -> Value:
    return body.int_of(pid_tgid(body), False, 32)


def from_global(body: Body, name: str) -> Value:
    """What the runtime fills in before any program runs."""
    pointer = body.emit("map_value", map=Internal.GLOBALS)
    return body.emit("load", pointer, type=ir_type(UINT64), off=8 * GLOBALS_LAYOUT.index(name))


def _elapsed(body: Body, node: Node) -> Value:
    return body.emit("sub", body.b.call("ktime_get_boot_ns"), from_global(body, "start"))


def _gid(body: Body, node: Node) -> Value:
    return body.emit("lshr", body.b.call("get_current_uid_gid"), body.const(32))


def _uid(body: Body, node: Node) -> Value:
    return body.emit("and", body.b.call("get_current_uid_gid"), body.const(0xFFFFFFFF))


def _jiffies(body: Body, node: Node) -> Value:
    return body.b.call("jiffies64")


def _func(body: Body, node: Node) -> Value:
    return symbol(body, body.emit("function_address"), body.checked.types[node])


def symbol(body: Body, address: Value, type: object) -> Value:
    """An address as types.Symbol."""
    if isinstance(type, Symbol) and type.kind == "user":
        pid = body.emit("lshr", pid_tgid(body), body.const(32))
        return body.pack([(0, address, UINT64), (8, pid, UINT64)], type.size)
    return address


def stack(body: Body, node: Node) -> Value:
    type = body.checked.types[node]
    assert isinstance(type, Stack)
    unwound = isinstance(node, nodes.Identifier | nodes.Call) and node.name.endswith("dw_ustack")
    return body.emit("stack_trace", kind="dwarf" if unwound else type.kind, limit=type.limit)


def _current_task(body: Body, node: Node) -> Value:
    return body.emit("to_int", body.emit("current_task"))


def _context(body: Body, node: Node) -> Value:
    return body.emit("to_int", body.function.params[0])


def _return_value(body: Body, node: Node) -> Value:
    return body.coerce(body.emit("return_value"), INT64, body.checked.types[node])


def _usermode(body: Body, node: Node) -> Value:
    return body.int_of(body.emit("user_mode"), False, 8)


def _helper(name: str) -> Callable[[Body, Node], Value]:
    return lambda body, node: body.coerce(
        body.b.call(name), UINT64, body.checked.types.get(node, UINT64)
    )


BUILTINS: dict[str, Callable[[Body, Node], Value]] = {
    "pid": process,
    "tid": thread,
    "uid": _uid,
    "gid": _gid,
    "username": _uid,
    "comm": lambda body, node: body.emit("comm"),
    "nsecs": _helper("ktime_get_boot_ns"),
    "elapsed": _elapsed,
    "cpu": _helper("get_smp_processor_id"),
    "ncpus": lambda body, node: body.const(body.target.cpus),
    "numaid": _helper("get_numa_node_id"),
    "rand": _helper("get_prandom_u32"),
    "jiffies": _jiffies,
    "cgroup": _helper("get_current_cgroup_id"),
    "cpid": lambda body, node: from_global(body, "child"),
    "func": _func,
    "retval": _return_value,
    "kstack": stack,
    "ustack": stack,
    "dw_ustack": stack,
    "ctx": _context,
    "curtask": _current_task,
    "usermode": _usermode,
}
BUILTINS |= {f"__builtin_{name}": row for name, row in BUILTINS.items()}
