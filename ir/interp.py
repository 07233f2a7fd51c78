"""Runs IR on a fake machine, high operations and legal ones: the oracle for passes and backends.

An integer is a Python int from 0 below 2^width, so is a pointer to kernel or user memory; one to
direct memory is an `Address`, a map object a `MapStore`. What the kernel's verifier has to refuse
raises `Trap`: memory out of bounds, undefined or null.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bpfscript.arch import ARCHES
from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Entry, Function, Instr, Module, Value
from bpfscript.ir.interp_helpers import HELPER_CODE
from bpfscript.ir.interp_high import HIGH_CODE
from bpfscript.ir.interp_machine import Machine
from bpfscript.ir.interp_memory import (
    Address,
    Region,
    Trap,
    constant,
    read,
    undefined,
    write,
)
from bpfscript.ir.ops import OPS
from bpfscript.ir.types import BTF, CTX, I

BUDGET = 1_000_000  # as the kernel's verifier, BPF_COMPLEXITY_LIMIT_INSNS
CALL_DEPTH = 8  # MAX_CALL_FRAMES
FUNCTIONS = 0xFFFF_FFFF_C000_0000  # address of the module's first function, others 16 bytes apart


def run(
    function: Function,
    machine: Machine,
    module: Module | None = None,
    args: Sequence[int | Address] | None = None,
    *,
    budget: int = BUDGET,
) -> int:
    """What the function returns. `module` is for functions that name maps, events, functions.

    Without `args` it gets the machine's context. Raises Trap, also after `budget` instructions.
    """
    interpreter = Interpreter(module or Module([function]), machine, function.entry, budget)
    if args is None:
        wants_context = [p.type for p in function.params] == [CTX]
        args = [constant("ctx", machine.context(function.entry))] if wants_context else []
    if function.entry and _not_ours(function, function.entry, machine):
        return 0
    return interpreter.call(function, list(args))


def _not_ours(function: Function, entry: Entry, machine: Machine) -> bool:
    # Legal IR looks at the number of the system call itself.
    high = any(OPS[i.op].high for i in function.instructions())
    number = machine.register(ARCHES[machine.arch].syscall_number)
    return high and bool(entry.syscalls) and number not in entry.syscalls


class Interpreter:
    """One run. Tables of operations get it as their first argument."""

    def __init__(self, module: Module, machine: Machine, entry: Entry | None, budget: int) -> None:
        machine.prepare(module)
        self.module: Module = module
        self.machine: Machine = machine
        self.budget = budget
        self.functions = {f.name: f for f in module.functions}
        self.iterations = machine.iterations
        self.slots: list[dict[Instr, Region]] = []  # of each function that is being called
        self._entry = entry

    @property
    def entry(self) -> Entry:
        """Raises CompilerBug in a function that is no program."""
        if self._entry is None:
            raise CompilerBug("only a program knows where it runs")
        return self._entry

    def function_at(self, address: int) -> Function:
        return self.module.functions[(address - FUNCTIONS) // 16]

    def call(self, function: Function, args: list[Any]) -> int:
        if len(self.slots) == CALL_DEPTH:
            raise Trap("budget", f"more than {CALL_DEPTH} calls deep")
        self.slots.append({})
        result = self._run_blocks(function, args)
        self.slots.pop()
        return result

    def _run_blocks(self, function: Function, args: list[Any]) -> int:
        values: dict[Value, Any] = dict(zip(function.params, args, strict=True))
        block = function.blocks[0]
        while True:
            for instr in block.instrs:
                self.budget -= 1
                if self.budget < 0:
                    raise Trap("budget", f"{function.name} goes on")
                operands = [values[a] for a in instr.args]
                if instr.op == "return":
                    return int(operands[0])
                if instr.targets:
                    edge = instr.targets[0 if not operands or operands[0] else 1]
                    given = [values[a] for a in edge.args]
                    block = edge.block
                    values.update(zip(block.params, given, strict=True))
                    break
                result = CODE[instr.op](self, instr, operands)
                if instr.result:
                    type = instr.result.type
                    if isinstance(result, int):
                        result %= 1 << (type.bits if isinstance(type, I) else 64)
                    values[instr.result] = result


def _bits(instr: Instr) -> int:
    type = instr.args[0].type
    assert isinstance(type, I)
    return type.bits


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _attr(instr: Instr, name: str) -> Any:
    return instr.attrs[name]


Code = Callable[[Interpreter, Instr, list[Any]], Any]


def _arithmetic(compute: Callable[[int, int, int], int]) -> Code:
    """From (a, b, width), unsigned."""
    return lambda run, instr, args: compute(args[0], args[1], _bits(instr))


def _on_signed(compute: Callable[[int, int], int]) -> Code:
    def code(run: Interpreter, instr: Instr, args: list[Any]) -> int:
        bits = _bits(instr)
        return compute(_signed(args[0], bits), _signed(args[1], bits))

    return code


def _sdiv(a: int, b: int) -> int:
    quotient = abs(a) // abs(b) if b else 0
    return quotient if (a < 0) == (b < 0) else -quotient


def _ptr_add(run: Interpreter, instr: Instr, args: list[Any]) -> int | Address:
    pointer, by = args
    if not isinstance(pointer, Address):
        return int(pointer + by)
    if pointer.region is None:
        raise Trap("null", "arithmetic on null")
    return Address(pointer.region, pointer.offset + _signed(by, 64))


def _is_null(run: Interpreter, instr: Instr, args: list[Any]) -> int:
    (pointer,) = args
    return int(pointer.region is None if isinstance(pointer, Address) else pointer == 0)


def _to_int(run: Interpreter, instr: Instr, args: list[Any]) -> int:
    (pointer,) = args
    if not isinstance(pointer, Address):
        return int(pointer)
    return pointer.region.base + pointer.offset if pointer.region else 0


def _slot(run: Interpreter, instr: Instr, args: list[Any]) -> Address:
    # The same memory whenever this call comes by: a loop does not take more and more stack.
    region = run.slots[-1].setdefault(instr, undefined("slot", _attr(instr, "size")))
    return Address(region)


def _load(run: Interpreter, instr: Instr, args: list[Any]) -> int:
    assert instr.result and isinstance(instr.result.type, I)
    if instr.args[0].type == BTF:
        size, address = instr.result.type.bits // 8, args[0] + _attr(instr, "off")
        return int.from_bytes(run.machine.peek("kernel", address, size) or b"", "little")
    return int.from_bytes(read(args[0], _attr(instr, "off"), instr.result.type.bits // 8), "little")


def _store(run: Interpreter, instr: Instr, args: list[Any]) -> None:
    type = instr.args[1].type
    assert isinstance(type, I)
    write(args[0], _attr(instr, "off"), args[1].to_bytes(type.bits // 8, "little"))


def _cmpxchg(run: Interpreter, instr: Instr, args: list[Any]) -> int:
    offset = _attr(instr, "off")
    found = int.from_bytes(read(args[0], offset, 8), "little")
    if found == args[1]:
        write(args[0], offset, args[2].to_bytes(8, "little"))
    return found


def _fill(run: Interpreter, instr: Instr, args: list[Any]) -> None:
    write(args[0], _attr(instr, "off"), bytes(_attr(instr, "size")))


def _copy(run: Interpreter, instr: Instr, args: list[Any]) -> None:
    data = read(args[1], _attr(instr, "from"), _attr(instr, "size"))
    write(args[0], _attr(instr, "off"), data)


def _map_value(run: Interpreter, instr: Instr, args: list[Any]) -> Address:
    return Address(run.machine.maps[_attr(instr, "map")].lookup(bytes(4), run.machine.cpu))


def _call(run: Interpreter, instr: Instr, args: list[Any]) -> int | Address:
    name = _attr(instr, "helper")
    if name not in HELPER_CODE:
        raise Trap("unmodelled", f"helper {name}")
    return HELPER_CODE[name](run, *args)


def _func_ptr(run: Interpreter, instr: Instr, args: list[Any]) -> int:
    names = [f.name for f in run.module.functions]
    return FUNCTIONS + 16 * names.index(_attr(instr, "function"))


def _may_continue(run: Interpreter, instr: Instr, args: list[Any]) -> int:
    run.iterations -= 1
    return int(run.iterations >= 0)


def _call_c(run: Interpreter, instr: Instr, args: list[Any]) -> Any:
    raise Trap("unmodelled", f"{_attr(instr, 'name')}, which is machine code")


LEGAL_CODE: dict[str, Code] = {
    "const": lambda run, instr, args: _attr(instr, "value"),
    "core": lambda run, instr, args: _attr(instr, "value"),
    "add": _arithmetic(lambda a, b, bits: a + b),
    "sub": _arithmetic(lambda a, b, bits: a - b),
    "mul": _arithmetic(lambda a, b, bits: a * b),
    "udiv": _arithmetic(lambda a, b, bits: a // b if b else 0),
    "urem": _arithmetic(lambda a, b, bits: a % b if b else a),
    "sdiv": _on_signed(_sdiv),
    "and": _arithmetic(lambda a, b, bits: a & b),
    "or": _arithmetic(lambda a, b, bits: a | b),
    "xor": _arithmetic(lambda a, b, bits: a ^ b),
    "shl": _arithmetic(lambda a, b, bits: a << b % bits),
    "lshr": _arithmetic(lambda a, b, bits: a >> b % bits),
    "ashr": _arithmetic(lambda a, b, bits: _signed(a, bits) >> b % bits),
    "bswap": lambda run, instr, args: int.from_bytes(
        args[0].to_bytes(_bits(instr) // 8, "little"), "big"
    ),
    "eq": _arithmetic(lambda a, b, bits: a == b),
    "ne": _arithmetic(lambda a, b, bits: a != b),
    "ult": _arithmetic(lambda a, b, bits: a < b),
    "ule": _arithmetic(lambda a, b, bits: a <= b),
    "slt": _on_signed(lambda a, b: a < b),
    "sle": _on_signed(lambda a, b: a <= b),
    "zext": lambda run, instr, args: args[0],
    "sext": lambda run, instr, args: _signed(args[0], _bits(instr)),
    "trunc": lambda run, instr, args: args[0],
    "select": lambda run, instr, args: args[1] if args[0] else args[2],
    "opaque": lambda run, instr, args: args[0],
    "slot": _slot,
    "rodata": lambda run, instr, args: constant("rodata", _attr(instr, "data")),
    "ptr_add": _ptr_add,
    "is_null": _is_null,
    "to_int": _to_int,
    "to_ptr": lambda run, instr, args: args[0],
    "load": _load,
    "store": _store,
    "cmpxchg": _cmpxchg,
    "fill": _fill,
    "copy": _copy,
    "map_ptr": lambda run, instr, args: run.machine.maps[_attr(instr, "map")],
    "map_value": _map_value,
    "call": _call,
    "func_ptr": _func_ptr,
    "call_function": lambda run, instr, args: run.call(
        run.functions[_attr(instr, "function")], args
    ),
    "call_c": _call_c,
    "may_continue": _may_continue,
}

CONTROL = frozenset({"jump", "branch", "return"})
"""Operations that `Interpreter` itself runs."""

CODE: dict[str, Code] = LEGAL_CODE | HIGH_CODE
"""By name in OPS: (run, instruction, operands) -> result; an integer is taken modulo its width."""
