"""How memory is cleared and copied: what is known of a pointer's alignment, and into which widths
bytes go.

The kernel refuses unaligned access to the stack on every machine, and allows it elsewhere on those
it runs on.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.ir.core import Function, Instr, Value
from bpfscript.ir.types import STACK, I

INLINE_LIMIT = 256
"""Bytes that loads and stores clear or copy (an eighth of it if they go byte by byte).

Beyond that it is one call of probe_read_kernel, which copies from any kernel memory, and fills with
zeros what it cannot read, such as address 0."""

_WORD = 8


def chunks(size: int, align: int) -> Iterator[tuple[int, int]]:
    """(offset, width) that cover `size` bytes from a place aligned to `align`, widest first."""
    offset, width = 0, align
    while offset < size:
        while width > size - offset:
            width //= 2
        yield offset, width
        offset += width


def alignments(function: Function) -> dict[Value, int]:
    """Power of two up to 8 that divides each integer and each stack pointer; 8 for other pointers.

    Optimistic over block parameters, then lowered until nothing changes. Pointers that are
    parameters of the function are aligned.
    """
    constants = {
        i.result: int(i.attrs["value"])  # type: ignore[arg-type]  # an int by its row
        for i in function.instructions()
        if i.op == "const" and i.result
    }
    found: dict[Value, int] = {p: 1 if isinstance(p.type, I) else _WORD for p in function.params}

    def of(value: Value) -> int:
        return found.get(value, _WORD)

    changed = True
    while changed:
        changed = False
        for block in function.blocks:
            for instr in block.instrs:
                if instr.result and of(instr.result) != (new := _align(instr, found, constants)):
                    found[instr.result] = new
                    changed = True
                for edge in instr.targets:
                    for param, arg in zip(edge.block.params, edge.args, strict=True):
                        if of(arg) < of(param):
                            found[param] = of(arg)
                            changed = True
    return found


def _align(instr: Instr, found: dict[Value, int], constants: dict[Value, int]) -> int:
    of = [found.get(a, _WORD) for a in instr.args]
    if instr.result and instr.result.type != STACK and not isinstance(instr.result.type, I):
        return _WORD
    match instr.op:
        case "const":
            assert instr.result
            return divides(constants[instr.result])
        case "slot":
            return _WORD
        case "ptr_add" | "add" | "sub" | "or":
            return min(of)
        case "mul" | "and":
            return max(of)
        case "select":
            return min(of[1:])
        case "zext" | "sext" | "trunc":
            return of[0]
        case "shl" if instr.args[1] in constants:  # by what is computed, the verifier forgets all
            return min(of[0] << (constants[instr.args[1]] & 3), _WORD)
    return 1


def divides(number: int) -> int:
    """Greatest power of two up to 8 that divides a number."""
    return min(number & -number or _WORD, _WORD)
