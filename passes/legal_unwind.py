"""User stacks unwound by DWARF call frame information (x86-64), see `unwind_tables`.

    stack_trace {kind="dwarf", limit=n}
    →  %p = call map_lookup_elem .processes, tgid
       store frame, the user's pc, rsp, rbp; call loop n, %step, frame, 0
    step(i, frame):  frames[i] = pc; look the rule for pc up; store frame, what it makes of pc, …

The kernel calls `step` back (bpf_loop), so that its verifier walks it once, not for each frame. It
gets no context: what it goes by is in the frame, before the stack. A frame that has no rule is
followed by FAILED. Cost: two binary searches and at most three reads of user memory a frame.
"""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.ir.core import Block, Function, Instr, Value
from bpfscript.ir.types import I32, I64, STACK, USER
from bpfscript.manifest import MapDef, MapType
from bpfscript.unwind_tables import (
    FAILED,
    PLACE,
    PLACES,
    PROCESSES,
    RANGE,
    ROW,
    ROWS,
    RULE,
    RULES,
    How,
)

from . import legal_context
from .code import Code
from .legal_events import runtime_error
from .legal_typed import typed_task

NO_TABLES = (
    "No DWARF unwind data available for this process. Use -p or --dwarf-pid to specify target PIDs."
)
HALVINGS = 26  # a range has fewer than 1 << HALVINGS entries
PC, SP, BP, FIRST, COUNT, STACK_AT = range(0, 48, 8)  # offsets in the frame
FRAMES_AT = STACK_AT + 8  # after the stack's pid


def stack_trace(code: Code, instr: Instr) -> Value:
    """A types.Stack: of the kernel's making, or unwound."""
    if instr.attrs["kind"] == "dwarf":
        return _unwound(code, instr)
    return legal_context.stack_trace(code, instr)


def _unwound(code: Code, instr: Instr) -> Value:
    limit = instr.attrs["limit"]
    assert isinstance(limit, int)
    _maps(code)
    frame, process = code.slot(FRAMES_AT + 8 * limit), legal_context.process(code)
    # It cannot be read: the helper clears all of the frame.
    code.call("probe_read_kernel", frame, code.const(FRAMES_AT + 8 * limit), code.const(0))
    code.store(frame, process, STACK_AT)
    found = code.lookup(PROCESSES, code.index_key(code.resize(process, 32)))
    step = f"{code.function.name}_step{len(code.module.functions)}"
    known, unknown, end = (code.block(name) for name in ("target", "no_target", "unwound"))
    code.cold.add(unknown)
    code.branch(code.present(found), known, unknown)
    code.at(known)
    registers = code.call("task_pt_regs", typed_task(code))
    offsets = legal_context.arch(code).registers
    for at, name in ((PC, "ip"), (SP, "sp"), (BP, "bp")):
        code.store(frame, code.load(registers, I64, offsets[name]), at)
    for at, part in ((FIRST, 0), (COUNT, 8)):
        code.store(frame, code.load(found, I64, part), at)
    _Step(code, step, limit)
    callback = code.value("func_ptr", function=step)
    code.call("loop", code.const(limit), callback, frame, code.const(0))
    code.jump(end)
    code.at(unknown)
    if code.module.warnings:
        runtime_error(code, NO_TABLES)
    code.jump(end)
    code.at(end)
    return code.at_offset(frame, STACK_AT)


def _maps(code: Code) -> None:
    """The tables; how many entries they have is known when they are filled."""
    for name, kind, size in (
        (PROCESSES, MapType.HASH, RANGE.size),
        (PLACES, MapType.ARRAY, PLACE.size),
        (ROWS, MapType.ARRAY, ROW.size),
        (RULES, MapType.ARRAY, RULE.size),
    ):
        code.module.maps.setdefault(name, MapDef(name, kind, None, None, 4, size, 1))


class _Step:
    """Writes the function that adds a frame and finds its caller; it returns 1 to stop."""

    def __init__(self, maker: Code, name: str, limit: int) -> None:
        index, self.frame = Value(I64), Value(STACK)
        function = Function(name, [index, self.frame])
        maker.module.functions.append(function)
        self.code = code = Code(maker.module, maker.target, function)
        code.span = maker.span
        code.at(code.block("start"))
        self.stop, self.fail = code.block("stop"), code.block("fail")
        self._write(index, limit)
        code.at(self.stop)
        code.ret(code.const(1))
        code.at(self.fail)
        code.store(self.frame, code.const(FAILED), PC)
        code.ret(code.const(0))

    def _write(self, index: Value, limit: int) -> None:
        code, frame = self.code, self.frame
        pc = code.load(frame, I64, PC)
        place = code.value("ptr_add", frame, code.op("shl", code.clamp(index, limit), 3))
        code.store(place, pc, FRAMES_AT)
        self._go_on(code.op("ne", pc, FAILED), self.stop)
        sp, bp = code.load(frame, I64, SP), code.load(frame, I64, BP)
        rule = self._rule(pc)
        how = code.resize(code.load(rule, I32), 64)
        offsets = [code.resize(code.load(rule, I32, at), 64, signed=True) for at in (4, 8, 12)]
        self._go_on(_has(code, how, How.KNOWN), self.fail)
        self._go_on(code.negate(_has(code, how, How.LAST)), self.stop)
        cfa = code.add(code.value("select", _has(code, how, How.CFA_FROM_BP), bp, sp), offsets[0])
        cfa = self._if(how, How.CFA_BEHIND, lambda: self._read(cfa), cfa)
        from_sp = _has(code, how, How.RA_FROM_SP)
        ra = self._read(code.add(code.value("select", from_sp, sp, cfa), offsets[1]))
        base = code.value("select", _has(code, how, How.BP_FROM_BP), bp, cfa)
        base = code.value("select", _has(code, how, How.BP_FROM_SP), sp, base)
        bp = self._if(how, How.BP_SAVED, lambda: self._read(code.add(base, offsets[2])), bp)
        self._go_on(code.op("ne", ra, 0), self.stop)
        # Before where a call returns is the call, which may be the last of its function. The
        # kernel called no signal's handler: there the address itself says more.
        signal = code.resize(_has(code, how, How.SIGNAL), 64)
        code.store(place, code.add(pc, signal), FRAMES_AT)
        returns = code.op("xor", signal, 1)
        for at, value in ((PC, code.op("sub", ra, returns)), (SP, cfa), (BP, bp)):
            code.store(frame, value, at)
        code.ret(code.const(0))

    def _rule(self, pc: Value) -> Value:
        """Pointer to the rule for an address."""
        code, frame = self.code, self.frame
        place = self._last(PLACES, code.load(frame, I64, FIRST), code.load(frame, I64, COUNT), pc)
        bias, first, count = (code.load(place, I64, at) for at in (8, 16, 24))
        self._go_on(code.op("ne", count, 0), self.fail)
        key = code.op("or", code.op("shl", code.op("sub", pc, bias), 32), 0xFFFFFFFF)
        row = self._last(ROWS, first, count, key)
        return self._entry(RULES, code.resize(code.load(row, I64), 32))

    def _last(self, map: str, first: Value, count: Value, key: Value) -> Value:
        """Pointer to the last entry of a range whose first word is not above the key."""
        code = self.code
        head = code.block("halve", I64, I64, I64)
        more, inside, done = code.block("more"), code.block("inside"), code.block("found")
        code.jump(head, code.const(0), first, count)
        code.at(head)
        i, low, left = head.params
        code.branch(code.op("ult", i, HALVINGS), more, done)
        code.at(more)
        code.branch(code.op("ult", code.const(1), left), inside, done)
        code.at(inside)
        half = code.op("lshr", left, 1)
        middle = code.add(low, half)
        entry = self._entry(map, code.resize(middle, 32))
        up = code.value("ule", code.load(entry, I64), key)
        code.jump(
            head, code.add(i, 1), code.value("select", up, middle, low),
            code.value("select", up, code.op("sub", left, half), half),
        )  # fmt: skip
        code.at(done)
        return self._entry(map, code.resize(low, 32))

    def _entry(self, map: str, index: Value) -> Value:
        entry = self.code.lookup(map, self.code.index_key(index))
        self._go_on(self.code.present(entry), self.fail)
        return entry

    def _read(self, address: Value) -> Value:
        """A word of user memory."""
        code, slot = self.code, self.code.slot(8)
        place = code.value("to_ptr", address, type=USER)
        result = code.call("probe_read_user", slot, code.const(8), place)
        self._go_on(code.op("eq", result, 0), self.fail)
        return code.load(slot, I64)

    def _if(self, how: Value, bit: How, then: Callable[[], Value], otherwise: Value) -> Value:
        return self.code.choose(_has(self.code, how, bit), then, lambda: otherwise)

    def _go_on(self, condition: Value, otherwise: Block) -> None:
        next = self.code.block("go")
        self.code.branch(condition, next, otherwise)
        self.code.at(next)


def _has(code: Code, how: Value, bit: How) -> Value:
    return code.op("ne", code.op("and", how, int(bit)), 0)
