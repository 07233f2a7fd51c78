"""Pointers into memory of known size stay inside it.

    %q = ptr_add %p, %i; load %q : i64     with %p of 32 bytes
    →  %c = ult %i, 25; %j = select %c, %i, 0; %q = ptr_add %p, %j

The verifier wants a bound for each offset that varies ("unbounded memory access"), and for the
length of what a helper writes. Indexes that
have one, from a comparison or from how they are made, are left alone. Cost: linear in uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Block, Function, Instr, Module, Value
from bpfscript.ir.types import I1, I64, I
from bpfscript.target import Target

from .initialised import FILLED, element_size, filled_place
from .ranges import Ranges

_FAR = 1 << 20  # bytes: no object is that large


def bounds(module: Module, target: Target) -> None:
    for function in module.functions:
        _bound_function(module, function)


def _bound_function(module: Module, function: Function) -> None:
    ranges = Ranges(function)
    reach = _reach(module, function, ranges)
    for block in ranges.graph.order:
        for instr in list(block.instrs):
            if instr.op == "ptr_add" and ranges.constant(instr.args[1]) is None:
                size = object_size(module, ranges.made, instr.args[0], ranges.step)
                if size is not None and instr.result:
                    room = size - reach.get(instr.result, 1)
                    _bound(function, ranges, block, instr, 1, room)
            elif instr.attrs.get("helper") in FILLED:
                pointer, length = FILLED[str(instr.attrs["helper"])]
                size = object_size(module, ranges.made, instr.args[pointer])
                if size is not None and ranges.constant(instr.args[length]) is None:
                    _bound(function, ranges, block, instr, length, size)


def _bound(
    function: Function, ranges: Ranges, block: Block, instr: Instr, operand: int, room: int
) -> None:
    """Clamp an operand that is not known to be at most `room`."""
    if room < 0:
        raise CompilerBug(f"{function.name}: an access reaches {-room} bytes beyond its memory")
    index = instr.args[operand]
    if ranges.upper(index, block) <= room:
        return
    new = []
    if any(block in loop.body for loop in ranges.loops):  # what it is afterwards must not differ
        seen, index = index, Value(I64)
        new.append(Instr("opaque", [seen], result=index))
    limit, zero, below, clamped = Value(I64), Value(I64), Value(I1), Value(I64)
    new += [
        Instr("const", attrs={"value": room + 1}, result=limit),
        Instr("const", attrs={"value": 0}, result=zero),
        Instr("ult", [index, limit], result=below),
        Instr("select", [below, index, zero], result=clamped),
    ]
    at = block.instrs.index(instr)
    block.instrs[at:at] = new
    ranges.added(block, new)
    instr.args[operand] = clamped


def object_size(
    module: Module,
    made: dict[Value, Instr],
    pointer: Value,
    most: Callable[[Value], int] = lambda pointer: _FAR,
) -> int | None:
    """Bytes behind a pointer into an object; None if it is not known to be one.

    most: by how many bytes a pointer is moved at most, _FAR or beyond if that is not known.
    """
    instr = made.get(pointer)
    if instr is None:
        return None
    match instr.op:
        case "slot":
            return _int(instr.attrs["size"])
        case "rodata":
            data = instr.attrs["data"]
            assert isinstance(data, bytes)
            return len(data)
        case "map_value":
            return module.maps[str(instr.attrs["map"])].value_size
        case "ptr_add":
            whole, step = object_size(module, made, instr.args[0], most), made.get(instr.args[1])
            known = step is not None and step.op == "const"
            by = _int(step.attrs["value"]) if step and known else most(pointer)
            return whole - by if whole is not None and (known or by <= whole) else None
        case "call":
            object = made.get(instr.args[0]) if instr.args else None
            if object and object.op == "map_ptr" and "lookup" in str(instr.attrs["helper"]):
                return module.maps[str(object.attrs["map"])].value_size
    return None


def _reach(module: Module, function: Function, ranges: Ranges) -> dict[Value, int]:
    """How many bytes from each pointer on are accessed, where that is known."""
    found: dict[Value, int] = {}

    def note(pointer: Value, end: int) -> None:
        found[pointer] = max(found.get(pointer, 1), end)

    for block in reversed(function.blocks):
        for instr in reversed(block.instrs):
            attrs = instr.attrs
            match instr.op:
                case "load":
                    assert instr.result and isinstance(instr.result.type, I)
                    note(instr.args[0], _int(attrs["off"]) + instr.result.type.bits // 8)
                case "store":
                    type = instr.args[1].type
                    assert isinstance(type, I)
                    note(instr.args[0], _int(attrs["off"]) + type.bits // 8)
                case "ptr_add" if instr.result and block in ranges.graph.index:
                    step = ranges.upper(instr.args[1], block)
                    if step < _FAR:
                        note(instr.args[0], step + found.get(instr.result, 1))
                case "fill":
                    note(instr.args[0], _int(attrs["off"]) + _int(attrs["size"]))
                case "copy":
                    note(instr.args[0], _int(attrs["off"]) + _int(attrs["size"]))
                    note(instr.args[1], _int(attrs["from"]) + _int(attrs["size"]))
                case "call":
                    for pointer, size in _handed(module, ranges, instr):
                        note(pointer, size)
    return found


def _handed(module: Module, ranges: Ranges, call: Instr) -> Iterator[tuple[Value, int]]:
    """Pointers that a helper gets, and how many bytes it takes or gives there, if that is fixed."""
    for index, pointer in enumerate(call.args):
        size = element_size(module, ranges.made, call, index)
        if size is not None:
            yield pointer, size
    if filled := filled_place(ranges.made, call):
        yield filled


def _int(attr: object) -> int:
    assert isinstance(attr, int)
    return attr
