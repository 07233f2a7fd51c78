"""BPF helpers on the interpreter's machine. Errors are -errno, as in the kernel."""

from __future__ import annotations

import struct
from collections.abc import Callable
from errno import EFAULT
from typing import TYPE_CHECKING, Any

from bpfscript.arch import ARCHES
from bpfscript.ir.interp_machine import REGISTER_FILE
from bpfscript.ir.interp_maps import MapStore
from bpfscript.ir.interp_memory import NULL, Address, Region, read, undefined, write

if TYPE_CHECKING:
    from bpfscript.ir.interp import Interpreter

USER_STACK = 1 << 8  # BPF_F_USER_STACK

UNMODELLED = frozenset({"get_stackid", "snprintf", "trace_printk", "seq_printf"})
"""Helpers of HELPERS that no program made here calls."""


def _lookup(run: Interpreter, map: MapStore, key: Address, cpu: int | None = None) -> Address:
    machine = run.machine
    if cpu is not None and cpu >= machine.cpus:
        return NULL
    data = read(key, 0, map.definition.key_size)
    region = map.lookup(data, machine.cpu if cpu is None else cpu)
    return Address(region) if region else NULL


def _update(run: Interpreter, map: MapStore, key: Address, value: Address, flags: int) -> int:
    definition = map.definition
    data = read(value, 0, definition.value_size)
    return map.update(read(key, 0, definition.key_size), data, flags, run.machine.cpu)


def _delete(run: Interpreter, map: MapStore, key: Address) -> int:
    return map.delete(read(key, 0, map.definition.key_size))


def _for_each(run: Interpreter, map: MapStore, callback: int, frame: Address, flags: int) -> int:
    done = 0
    for key in map.entries():
        value = map.lookup(key, run.machine.cpu)
        assert value
        pointer = Address(Region("key", bytearray(key), writable=False))
        done += 1
        if run.call(run.function_at(callback), [map, pointer, Address(value), frame]):
            break
    return done


def _loop(run: Interpreter, times: int, callback: int, frame: Address, flags: int) -> int:
    for i in range(times):
        if run.call(run.function_at(callback), [i, frame]):
            return i + 1
    return times


def _probe_read(space: str) -> Callable[..., int]:
    def helper(run: Interpreter, to: Address, size: int, source: int | Address) -> int:
        if isinstance(source, Address):
            data: bytes | None = read(source, 0, size)
        else:
            data = run.machine.peek(space, source, size)
        write(to, 0, bytes(size) if data is None else data)
        return -EFAULT if data is None else 0

    return helper


def _probe_read_str(space: str) -> Callable[..., int]:
    def helper(run: Interpreter, to: Address, size: int, source: int) -> int:
        data = run.machine.peek_string(space, source, size)
        write(to, 0, bytes(size) if data is None else data)
        return -EFAULT if data is None else len(data)

    return helper


def _comm(run: Interpreter, to: Address, size: int) -> int:
    write(to, 0, run.machine.comm[: size - 1].ljust(size, b"\0"))
    return 0


def _ns_pid_tgid(run: Interpreter, device: int, inode: int, to: Address, size: int) -> int:
    tgid, pid = divmod(run.machine.pid_tgid, 1 << 32)
    write(to, 0, (tgid << 32 | pid).to_bytes(8, "little")[:size])
    return 0


def _get_stack(run: Interpreter, ctx: Address, to: Address, size: int, flags: int) -> int:
    frames = run.machine.stacks.get("user" if flags & USER_STACK else "kernel", ())
    data = b"".join(f.to_bytes(8, "little") for f in frames)[: size // 8 * 8]
    write(to, 0, data.ljust(size, b"\0"))
    return len(data) if data else -EFAULT


def _func_arg(run: Interpreter, ctx: Address, index: int, to: Address) -> int:
    write(to, 0, read(ctx, 8 * index, 8))
    return 0


def _func_ret(run: Interpreter, ctx: Address, to: Address) -> int:
    value = run.machine.register(ARCHES[run.machine.arch].return_value)
    write(to, 0, value.to_bytes(8, "little"))
    return 0


def _strncmp(run: Interpreter, left: Address, size: int, right: Address) -> int:
    for i in range(size):
        a, b = read(left, i, 1)[0], read(right, i, 1)[0]
        if a != b or not a:
            return a - b
    return 0


def _output(run: Interpreter, ring: MapStore, data: Address, size: int, flags: int) -> int:
    return 0 if run.machine.send(read(data, 0, size)) else -11  # EAGAIN


def _reserve(run: Interpreter, ring: MapStore, size: int, flags: int) -> Address:
    return NULL if run.machine.ring_room == 0 else Address(undefined("record", size))


def _submit(run: Interpreter, record: Address, flags: int) -> int:
    assert record.region
    run.machine.send(read(record, 0, len(record.region.data)))
    return 0


def _iter_new(run: Interpreter, to: Address, start: int, end: int) -> int:
    write(to, 0, struct.pack("<ii", start, end))
    return 0


def _iter_next(run: Interpreter, at: Address) -> int:
    now, end = struct.unpack("<ii", read(at, 0, 8))
    write(at, 0, struct.pack("<ii", now + 1, end))
    return int(now < end)


def _path(run: Interpreter, path: Address, to: Address, size: int) -> int:
    text = b"/path\0"
    write(to, 0, text)
    return len(text)


def _effect(name: str) -> Callable[..., int]:
    def helper(run: Interpreter, *args: Any) -> int:
        run.machine.effects.append((name, args[-1]))
        return 0

    return helper


def _clock(name: str) -> Callable[[Interpreter], int]:
    return lambda run: run.machine.clocks[name]


HELPER_CODE: dict[str, Callable[..., int | Address]] = {
    "map_lookup_elem": _lookup,
    "map_lookup_percpu_elem": _lookup,
    "map_update_elem": _update,
    "map_delete_elem": _delete,
    "for_each_map_elem": _for_each,
    "loop": _loop,
    "ktime_get_ns": _clock("ktime_get_ns"),
    "ktime_get_boot_ns": _clock("ktime_get_boot_ns"),
    "ktime_get_tai_ns": _clock("ktime_get_tai_ns"),
    "jiffies64": _clock("jiffies64"),
    "get_prandom_u32": lambda run: run.machine.random,
    "get_smp_processor_id": lambda run: run.machine.cpu,
    "get_numa_node_id": lambda run: run.machine.numa_node,
    "get_current_pid_tgid": lambda run: run.machine.pid_tgid,
    "get_current_uid_gid": lambda run: run.machine.uid_gid,
    "get_current_cgroup_id": lambda run: run.machine.cgroup,
    "get_current_task": lambda run: run.machine.task,
    "get_current_task_btf": lambda run: run.machine.task,
    "task_pt_regs": lambda run, task: REGISTER_FILE,
    "get_func_ip": lambda run, ctx: run.machine.function_address,
    "d_path": _path,
    "get_socket_cookie": lambda run, socket: socket,
    "get_func_arg": _func_arg,
    "get_func_ret": _func_ret,
    "get_attach_cookie": lambda run, ctx: run.machine.cookie,
    "get_current_comm": _comm,
    "get_ns_current_pid_tgid": _ns_pid_tgid,
    "get_stack": _get_stack,
    "probe_read_kernel": _probe_read("kernel"),
    "probe_read_user": _probe_read("user"),
    "probe_read_str": _probe_read_str("kernel"),
    "probe_read_kernel_str": _probe_read_str("kernel"),
    "probe_read_user_str": _probe_read_str("user"),
    "ringbuf_output": _output,
    "ringbuf_reserve": _reserve,
    "ringbuf_submit": _submit,
    "ringbuf_discard": lambda run, record, flags: 0,
    "ringbuf_query": lambda run, ring, what: (1 << 18) * (what == 1),  # an empty ring
    "strncmp": _strncmp,
    "iter_num_new": _iter_new,
    "iter_num_next": _iter_next,
    "task_from_pid": lambda run, pid: run.machine.task,
    "task_release": lambda run, task: 0,
    "iter_num_destroy": lambda run, at: 0,
    "send_signal": _effect("send_signal"),
    "send_signal_thread": _effect("send_signal_thread"),
    "override_return": _effect("override_return"),
    "probe_write_user": _effect("probe_write_user"),
}
"""By name in HELPERS: (run, operands) -> result, which is taken modulo 2^64."""
