"""What passes ask of instructions and values: effects, definitions, uses; and replacing values."""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.ir.core import Block, Function, Instr, Value
from bpfscript.ir.helpers import HELPERS
from bpfscript.ir.ops import CALLS, OPS, PURE, READS, WRITES
from bpfscript.ir.types import DIRECT, Ptr

_SIGN = 1 << 63


def effects(instr: Instr) -> int:
    """The row's effects; of a call, those of the helper."""
    if instr.op != "call":
        return OPS[instr.op].effects
    helper = HELPERS[str(instr.attrs["helper"])]
    if helper.writes:
        return WRITES | CALLS
    return PURE | CALLS if helper.pure else READS | CALLS


def definitions(function: Function) -> dict[Value, Instr]:
    """The instruction that makes each value; parameters have none."""
    return {i.result: i for i in function.instructions() if i.result}


def operands(instr: Instr) -> Iterator[Value]:
    """Everything an instruction uses, block arguments included."""
    yield from instr.args
    for edge in instr.targets:
        yield from edge.args


def use_blocks(function: Function) -> dict[Value, set[Block]]:
    """The blocks in which each value is used; a block argument is used where the edge starts."""
    found: dict[Value, set[Block]] = {}
    for block in function.blocks:
        for instr in block.instrs:
            for value in operands(instr):
                found.setdefault(value, set()).add(block)
    return found


def place(pointer: Value, made: dict[Value, Instr]) -> tuple[Value, int | None]:
    """What a pointer was moved from, and by how many bytes, signed; None if that varies."""
    offset: int | None = 0
    while (moved := made.get(pointer)) and moved.op == "ptr_add":
        pointer, step = moved.args
        by = made[step].attrs.get("value") if step in made and made[step].op == "const" else None
        if isinstance(by, int) and offset is not None:
            offset = (offset + by + _SIGN) % (2 * _SIGN) - _SIGN
        else:
            offset = None
    return pointer, offset


def replace(function: Function, stands_for: dict[Value, Value]) -> None:
    """Use other values instead, following chains."""
    if not stands_for:
        return

    def final(value: Value) -> Value:
        while value in stands_for:
            value = stands_for[value]
        return value

    for instr in function.instructions():
        instr.args = [final(a) for a in instr.args]
        for edge in instr.targets:
            edge.args = [final(a) for a in edge.args]


def reads_memory(instr: Instr, made: dict[Value, Instr]) -> bool:
    """Whether the result depends on memory that may change.

    `pack` copies what its pointers point to, which changes if that is a variable's memory and not
    memory that belongs to a value.
    """
    if effects(instr) & READS:
        return True
    if instr.op != "pack":
        return False
    pointers = (a for a in instr.args if isinstance(a.type, Ptr) and a.type.space in DIRECT)
    return not all(_constant_memory(p, made) for p in pointers)


def _constant_memory(pointer: Value, made: dict[Value, Instr]) -> bool:
    root = made.get(place(pointer, made)[0])
    return root is not None and (root.op == "rodata" or OPS[root.op].high)
