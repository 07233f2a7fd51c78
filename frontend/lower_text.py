"""Functions that bpftrace keeps in its own library → IR: names of numbers, strings put together."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from bpfscript import syscalls
from bpfscript.ir.core import Value
from bpfscript.types import INT32, String

from . import nodes
from .body import Body
from .lower_builtins import BUILTINS, pid_tgid
from .lower_expressions import lower, lower_as

ENTRY = 64  # bytes of a name
ERRORS = 134  # errno numbers that asm-generic/errno.h knows, 0 among them

# What asm/unistd.h calls the system calls that tracefs calls differently.
UNISTD = {
    "newstat": "stat", "newfstat": "fstat", "newlstat": "lstat", "newuname": "uname",
    "sendfile64": "sendfile", "umount": "umount2", "sysctl": "_sysctl",
}  # fmt: skip


def _argument(node: nodes.Call, index: int) -> nodes.Expr:
    argument = node.args[index]
    assert not isinstance(argument, nodes.TypeName | nodes.Typeof)
    return argument


def _named(body: Body, number: Value, names: list[str], otherwise: str) -> Value:
    """The name of a number (i64) from a table of constants."""
    data = b"".join(name.encode()[: ENTRY - 1].ljust(ENTRY, b"\0") for name in [*names, otherwise])
    last = body.const(len(names))
    known = body.emit("ult", number, last)
    index = body.emit("select", known, number, last)
    table = body.emit("rodata", data=data)
    offset = body.emit("mul", index, body.const(ENTRY))
    return body.in_memory(body.emit("ptr_add", table, offset), String(ENTRY))


def _number(body: Body, node: nodes.Call) -> Value:
    """The argument as it is seen as int32."""
    return body.int_of(lower_as(body, _argument(node, 0), INT32), signed=True)


def _strerror(body: Body, node: nodes.Call) -> Value:
    code = _number(body, node)
    negative = body.emit("slt", code, body.const(0))
    code = body.emit("select", negative, body.emit("sub", body.const(0), code), code)
    texts = [os.strerror(number) for number in range(ERRORS)]
    known = ["Unknown error" if text.startswith("Unknown error") else text for text in texts]
    return _named(body, code, known, "Unknown error")


def _signal_name(body: Body, node: nodes.Call) -> Value:
    return _named(body, _number(body, node), _signals(), "N/A")


def _signals() -> list[str]:
    """strsignal(3) of 0 to 64; there are two that the C library keeps to itself."""
    known = {int(s): signal.strsignal(s) for s in signal.Signals if s < signal.SIGRTMIN}
    real_time = {n: f"Real-time signal {n - 34}" for n in range(34, 65)}
    return [known.get(n) or real_time.get(n) or f"Unknown signal {n}" for n in range(65)]


def _syscall_name(body: Body, node: nodes.Call) -> Value:
    by_number = {number: name for name, number in syscalls.numbers(body.target.arch).items()}
    names = [by_number.get(number, "Unknown syscall") for number in range(max(by_number) + 1)]
    shown = [UNISTD.get(name, name) for name in names]
    return _named(body, _number(body, node), shown, "Unknown syscall")


def _str_concat(body: Body, node: nodes.Call) -> Value:
    """Room for both and zeros, the first, and over its NUL the second with zeros after it."""
    head, tail = (lower(body, _argument(node, i)) for i in (0, 1))
    first, second = (body.checked.types[argument] for argument in node.args)
    size, want = first.size + second.size, body.checked.types[node].size
    tail = body.pack([(0, tail, second)], size)
    room = max(first.size + size, want)
    whole = body.entry_slot(room)
    body.b.emit("fill", whole, off=0, size=room)
    body.b.copy(whole, head, first.size)
    length = body.emit("string_length", head, size=first.size)
    fits = body.emit("ult", length, body.const(first.size))
    length = body.emit("select", fits, length, body.const(first.size - 1))
    body.b.copy(body.emit("ptr_add", whole, length), tail, size)
    return whole


def _strcap(body: Body, node: nodes.Call) -> Value:
    """Of a pointer: how long the string is that it leads to. Others are known while compiling."""
    from .lower_calls import CALLS

    length = CALLS["strlen"](body, node)
    assert length is not None
    return length


def _process(half: int, ours: str) -> Callable[[Body, nodes.Call], Value]:
    """`pid(init)` has the number in the initial namespace, `pid()` and `pid(curr_ns)` in ours."""

    def emit(body: Body, node: nodes.Call) -> Value:
        word = node.args[0] if node.args else None
        if not isinstance(word, nodes.Identifier) or word.name != "init":
            return BUILTINS[ours](body, node)
        return body.int_of(
            body.emit("lshr", pid_tgid(body, initial=True), body.const(half)), False, 32
        )

    return emit


TEXTS: dict[str, Callable[[Body, nodes.Call], Value | None]] = {
    "strerror": _strerror,
    "signal_name": _signal_name,
    "syscall_name": _syscall_name,
    "str_concat": _str_concat,
    "strcap": _strcap,
    "pid": _process(32, "pid"),
    "tid": _process(0, "tid"),
}
