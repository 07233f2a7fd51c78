"""Where the program runs: context, current thread, stacks. `Entry.kind` says what the context is.

kind                                       context
kprobe kretprobe uprobe uretprobe usdt     struct pt_regs
profile interval software hardware watchpoint
                                           struct bpf_perf_event_data: the registers come first
rawtracepoint                              uint64 arguments
fentry fexit                               likewise, with types: helpers give them as integers
iter                                       struct bpf_iter__KIND
syscall_enter                              arguments of sys_enter: struct pt_regs *, number
syscall_exit                               arguments of sys_exit: struct pt_regs *, return value
begin end self tracepoint                  nothing that operations here ask for
"""

from __future__ import annotations

from bpfscript.arch import ARCHES, Arch
from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Instr, Value
from bpfscript.ir.types import I32, I64, KERNEL, I
from bpfscript.target import kernel_namespace

from .code import Code
from .legal_typed import typed_task, words

FUNCTION_KINDS = ("kprobe", "kretprobe", "uprobe", "uretprobe", "usdt")
SAMPLE_KINDS = ("profile", "interval", "software", "hardware", "watchpoint")
REGISTER_KINDS = FUNCTION_KINDS + SAMPLE_KINDS
TRAMPOLINE_KINDS = ("fentry", "fexit")
RAW_KINDS = ("rawtracepoint", "raw_tracepoint")
SYSCALL_KINDS = ("syscall_enter", "syscall_exit")
USER_STACK = 1 << 8  # BPF_F_USER_STACK, include/uapi/linux/bpf.h
SKIPPED = 3  # frames of a raw tracepoint between a program and what it traces; in the low 8 bits
# A trampoline has two: the program and itself.


def arch(code: Code) -> Arch:
    return ARCHES[code.target.arch]


def argument(code: Code, instr: Instr) -> Value:
    index, kind = instr.attrs["index"], code.entry.kind
    assert isinstance(index, int)
    if kind in RAW_KINDS or kind == "iter":
        return code.load(code.context, I64, 8 * index)
    if kind in TRAMPOLINE_KINDS:
        slot = code.slot(8)
        code.call("get_func_arg", code.context, code.const(index), slot)
        return code.load(slot, I64)
    system_call = kind in SYSCALL_KINDS
    names = arch(code).syscall_arguments if system_call else arch(code).arguments
    if index >= len(names):
        raise CompilerBug(f"argument {index} is in no register of {code.target.arch}")
    return saved_register(code, names[index])


def return_value(code: Code, instr: Instr) -> Value:
    if code.entry.kind == "syscall_exit":
        return code.load(code.context, I64, 8)
    if code.entry.kind == "fexit":
        slot = code.slot(8)
        code.call("get_func_ret", code.context, slot)
        return code.load(slot, I64)
    return saved_register(code, arch(code).return_value)


def register(code: Code, instr: Instr) -> Value:
    return saved_register(code, str(instr.attrs["name"]))


def saved_register(code: Code, name: str) -> Value:
    """A register of the traced code, from wherever this kind of program finds it."""
    offset, kind = arch(code).registers[name], code.entry.kind
    if kind in REGISTER_KINDS:
        return code.load(code.context, I64, offset)
    if kind in SYSCALL_KINDS:
        if code.target.has("task_pt_regs") and name not in ("cs", "ss"):  # those are in unions
            code.chose("read", "load", "the registers of a system call have a type")
            return code.load(code.call("task_pt_regs", typed_task(code)), I64, offset)
        registers = code.value("to_ptr", code.load(code.context, I64), type=KERNEL)
        return kernel_word(code, registers, offset)
    raise CompilerBug(f"a {kind} program has no registers")


def kernel_word(code: Code, pointer: Value, offset: int, type: I = I64) -> Value:
    """An integer of kernel memory, 0 if it cannot be read: the helper clears the slot then."""
    slot = code.slot(8)
    size = code.const(type.bits // 8)
    code.call("probe_read_kernel", slot, size, code.at_offset(pointer, offset))
    return code.load(slot, type)


def function_address(code: Code, instr: Instr) -> Value:
    if code.entry.kind in ("kretprobe", "uretprobe", *TRAMPOLINE_KINDS):
        return code.call("get_func_ip", code.context)
    return saved_register(code, arch(code).instruction_pointer)


def user_mode(code: Code, instr: Instr) -> Value:
    kind = code.entry.kind
    if kind in REGISTER_KINDS:
        # x86: the low two bits of cs are the privilege level, 3 for user code.
        level = code.op("and", saved_register(code, "cs"), 3)
        return code.resize(code.op("eq", level, 3), 64)
    return code.const(int(kind in ("begin", "end", "self")))


def probe_id(code: Code, instr: Instr) -> Value:
    return current_probe(code)


def current_probe(code: Code) -> Value:
    """Which match fired: known, found by the prologue, or the cookie given when attaching."""
    if len(code.entry.probe.names) == 1:
        return code.const(0)
    if code.number is not None:
        return code.number
    cookie = code.call("get_attach_cookie", code.context)
    return code.clamp(cookie, len(code.entry.probe.names))


def probe_name(code: Code, instr: Instr) -> Value:
    size, names = instr.attrs["size"], code.entry.probe.names
    assert isinstance(size, int)
    table = b"".join(padded(name, size) for name in names)
    rodata = code.value("rodata", data=table)
    if len(names) == 1:
        return rodata
    return code.value("ptr_add", rodata, code.op("mul", current_probe(code), size))


def padded(name: str, size: int) -> bytes:
    """A string as its type holds it."""
    return name.encode()[:size].ljust(size, b"\0")


def comm(code: Code, instr: Instr) -> Value:
    slot, btf = code.slot(16), code.target.btf
    offset = btf.member_offset("task_struct", "comm") if btf else None
    if offset is not None and code.target.has("get_current_task_btf"):
        code.chose("read", "two loads", "comm is a member of the current thread")
        words(code, slot, typed_task(code), offset, 16)  # the kernel pads it with zeros
        return slot
    code.call("get_current_comm", slot, code.const(16))
    return slot


def current_task(code: Code, instr: Instr) -> Value:
    return task(code)


def task(code: Code) -> Value:
    return code.value("to_ptr", code.call("get_current_task"), type=KERNEL)


def process(code: Code) -> Value:
    """uint64: the process as our PID namespace counts, 0 if it does not have it."""
    return code.op("lshr", _process_ids(code), 32)


def _process_ids(code: Code) -> Value:
    """uint64: process and thread, likewise."""
    if (namespace := code.target.pid_namespace) is None:
        return code.call("get_current_pid_tgid")
    device, inode = map(code.const, kernel_namespace(namespace))
    ids = code.slot(8)
    code.call("get_ns_current_pid_tgid", device, inode, ids, code.const(8))
    return code.load(ids, I64)


def stack_trace(code: Code, instr: Instr) -> Value:
    """The process, then the frames; the helper clears what it does not fill."""
    kind, limit = instr.attrs["kind"], instr.attrs["limit"]
    assert isinstance(limit, int)
    slot = code.slot(8 + 8 * limit)
    owner = process(code) if kind == "user" else code.const(0)
    code.store(slot, owner)
    ours, entry = 0, code.function.entry
    if entry:
        ours = SKIPPED if entry.syscalls else 2 * (entry.kind in TRAMPOLINE_KINDS)
    flags = code.const(USER_STACK if kind == "user" else ours)
    frames = code.at_offset(slot, 8)
    code.call("get_stack", code.context, frames, code.const(8 * limit), flags)
    return slot


# Raw system call tracepoints

NOT_OURS = 0xFFFF


def prologue(code: Code) -> None:
    """Leave at once unless the system call is one of `Entry.syscalls`; sets `code.number`.

    One tracepoint sees every system call, so what comes first is one comparison or one table.
    """
    calls = code.entry.syscalls
    how = "a comparison" if len(calls) == 1 else f"a table of {max(calls) + 1} numbers"
    why = "one raw tracepoint sees every system call"
    code.module.chose("program", code.function.name, f"{code.entry.section} with {how}", why)
    number = _syscall_number(code)
    if len(calls) == 1:
        ((ours, id),) = calls.items()
        _leave_unless(code, code.op("eq", number, ours))
        code.number = code.const(id)
    else:
        table = [calls.get(n, NOT_OURS) for n in range(max(calls) + 1)]
        data = b"".join(id.to_bytes(2, "little") for id in table)
        _leave_unless(code, code.op("ult", number, len(table)))
        row = code.value("ptr_add", code.value("rodata", data=data), code.op("shl", number, 1))
        id_found = code.resize(code.load(row, I(16)), 64)
        # Below the number of names, not just other than NOT_OURS: the verifier asks for a bound.
        _leave_unless(code, code.op("ult", id_found, len(code.entry.probe.names)))
        code.number = id_found
    _leave_if_compat(code)


def _syscall_number(code: Code) -> Value:
    if code.entry.kind == "syscall_enter":
        return code.load(code.context, I64, 8)
    return saved_register(code, arch(code).syscall_number)


def _leave_if_compat(code: Code) -> None:
    """The numbers of 32-bit system calls mean others. thread_info is the start of task_struct."""
    btf, flag = code.target.btf, arch(code).compat_flag
    offset = btf.member_offset("thread_info", "status") if btf and flag else None
    if offset is not None:
        if code.module.portable:
            of = "byte_offset struct thread_info:status"
            place = code.value("ptr_add", task(code), code.value("core", of=of, value=offset))
            status = kernel_word(code, place, 0, I32)
        elif code.target.has("get_current_task_btf"):
            status = code.load(typed_task(code), I32, offset)
        else:
            status = kernel_word(code, task(code), offset, I32)
        _leave_unless(code, code.op("eq", code.op("and", status, flag), 0))


def _leave_unless(code: Code, condition: Value) -> None:
    leave, stay = code.block("not_ours"), code.block("ours")
    code.cold.add(leave)
    code.branch(condition, stay, leave)
    code.at(leave)
    code.ret(code.const(0))
    code.at(stay)
