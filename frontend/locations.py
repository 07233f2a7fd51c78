"""Where a field, an element or a dereference lies, found without reading what is on the way.

`a.b[2].c` adds up offsets and reads once, so a chain through a large struct costs no copy of it.
"""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.arch import ARCHES
from bpfscript.core_relocations import Steps
from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Value
from bpfscript.ir.types import CTX, I1, I8, I16, I32, I64, KERNEL, USER
from bpfscript.ir.types import Type as IrType
from bpfscript.plain import dataclass, replace
from bpfscript.types import (
    UINT64,
    Array,
    Bool,
    Buffer,
    Field,
    Int,
    Pointer,
    Record,
    Struct,
    Tuple,
    Type,
    align_up,
)  # fmt: skip

from . import nodes, relocated
from .body import Body, ir_type, is_scalar, is_signed
from .probes import PROBES
from .typed import Argument

Lower = Callable[[Body, nodes.Expr], Value]


@dataclass(frozen=True, slots=True)
class Location:
    """A value of `type` at pointer + offset; a bitfield of `bits`, `bit_offset` from the lowest.

    core: a struct of the kernel and the way from there on, whose length the loader adds.
    """

    pointer: Value
    offset: int
    type: Type
    bits: int = 0
    bit_offset: int = 0
    core: Steps = ()

    @property
    def remote(self) -> bool:
        """Whether only probe reads reach it."""
        return self.pointer.type in (KERNEL, USER)

    def at(self, offset: int, type: Type, field: Field | None = None) -> Location:
        """A part of it."""
        bits, shift = (field.bits, field.bit_offset) if field else (0, 0)
        return Location(self.pointer, self.offset + offset, type, bits, shift, self.core)


def locate(body: Body, node: nodes.Node, lower: Lower) -> Location:
    """The place an expression names; of any other expression the memory that holds its value."""
    return _fixed(body, _locate(body, node, lower))


def fetch(body: Body, node: nodes.Node, lower: Lower) -> Value:
    """The value at the place an expression names."""
    return read(body, _locate(body, node, lower))


def _fixed(body: Body, where: Location) -> Location:
    """A location without `core`."""
    if not where.core:
        return where
    pointer = relocated.address(body, where)
    return Location(pointer, 0, where.type, where.bits, where.bit_offset)


def _locate(body: Body, node: nodes.Node, lower: Lower) -> Location:
    type = body.checked.types[node]
    match node:
        case nodes.Unary(op="*", operand=operand):
            return Location(_address(body, operand, lower), 0, type)
        case nodes.FieldAccess(operand=operand, name=name):
            if is_args(operand):
                return _argument_location(body, body.instance.arguments or {}, name)
            return _field(body, _target(body, operand, lower), name, type)
        case nodes.Index(operand=operand, index=index):
            return _element(body, operand, index, type, lower)
    return Location(lower(body, node), 0, type)  # type: ignore[arg-type]


def read(body: Body, where: Location) -> Value:
    """The value at a location, as values of its type live in IR."""
    if where.core:
        return _read_relocated(body, where)
    if where.bits:
        return _read_bitfield(body, where)
    if not is_scalar(where.type):
        return _read_memory(body, where)
    if not where.remote:
        return body.load(where.pointer, where.offset, where.type)
    if isinstance(where.type, Bool):
        byte = body.emit("read_int", where.pointer, type=I8, off=where.offset)
        return body.emit("ne", byte, body.const(0, I8))
    return body.emit("read_int", where.pointer, type=ir_type(where.type), off=where.offset)


def _read_relocated(body: Body, where: Location) -> Value:
    if (value := relocated.integer(body, where)) is not None:
        return value
    at = _fixed(body, where)
    if is_scalar(where.type):
        return read(body, at)
    relocated.assume_layout(body, where)
    return body.emit("read_mem", at.pointer, off=0, size=where.type.size)


def _read_memory(body: Body, where: Location) -> Value:
    if where.remote:
        if where.pointer.type == KERNEL:
            relocated.assume_layout(body, where)
        return body.emit("read_mem", where.pointer, off=where.offset, size=where.type.size)
    pointer = body.load(where.pointer, where.offset, where.type)
    return body.in_memory(pointer, where.type) if pointer.type == CTX else pointer


def _read_bitfield(body: Body, where: Location) -> Value:
    """Load the smallest integer that covers the bits, then shift them to both ends."""
    needed = where.bit_offset + where.bits
    covering: IrType = next(t for t in (I8, I16, I32, I64) if t.bits >= min(needed, 64))
    if where.remote:
        word = body.emit("read_int", where.pointer, type=covering, off=where.offset)
    else:
        word = body.emit("load", where.pointer, type=covering, off=where.offset)
    wide = body.int_of(word, signed=False)
    left = body.emit("shl", wide, body.const(64 - needed))
    shift = "ashr" if is_signed(where.type) else "lshr"
    value = body.emit(shift, left, body.const(64 - where.bits))
    wanted = ir_type(where.type)
    return (
        body.as_condition(value) if wanted == I1 else body.int_of(value, True, where.type.size * 8)
    )


def is_args(node: nodes.Node) -> bool:
    """`args`, `*args`, `args()`."""
    match node:
        case nodes.Identifier(name="args") | nodes.Call(name="args"):
            return True
        case nodes.Unary(op="*", operand=operand):
            return is_args(operand)
    return False


def remote_pointer(body: Body, address: Value, type: Type) -> Value:
    """An address as a pointer into the space of its type, or the default of this kind of probe."""
    space = type.space if isinstance(type, Pointer) else "none"
    if space == "none":
        space = "user" if PROBES[body.instance.kind].space == "user" else "kernel"
    return body.emit(
        "to_ptr", body.int_of(address, is_signed(type)), type=USER if space == "user" else KERNEL
    )


def argument(body: Body, argument: Argument) -> Value:
    """Value of `args.NAME`."""
    relocated.assume_argument(body, argument)
    match argument.source:
        case "context":
            return read(body, Location(body.function.params[0], argument.offset, argument.type))
        case "data_loc":
            ctx = body.function.params[0]
            word = body.emit("load", ctx, type=I32, off=argument.offset)
            offset = body.emit("and", body.int_of(word, False), body.const(0xFFFF))
            return body.emit("to_int", body.emit("ptr_add", ctx, offset))
        case "syscall_return":
            raw = body.emit("return_value")
        case "syscall_number":
            raw = body.emit("syscall_number")
        case "registers":
            words = range(align_up(argument.type.size, 8) // 8)
            parts = [
                (8 * i, body.emit("argument", index=argument.offset + i), UINT64) for i in words
            ]
            return body.pack(parts, 8 * len(parts))
        case "stack":
            return read(body, _on_stack(body, argument))
        case "pieces":
            return _of_pieces(body, argument)
        case "float" | "nowhere":
            return body.zero(argument.type)
        case "syscall" | "raw" | "register":
            raw = body.emit("argument", index=argument.offset)
        case other:
            raise CompilerBug(f"argument from {other}")
    return body.coerce(raw, UINT64, argument.type)


def _of_pieces(body: Body, argument: Argument) -> Value:
    parts: list[tuple[int, Value, Type]] = []
    for register, offset, size in argument.pieces:
        type = Int(8 * size, signed=False)
        word = body.emit("register", name=register)
        parts.append((offset, body.coerce(word, UINT64, type), type))
    if isinstance(argument.type, Struct | Array):
        return body.pack(parts, argument.type.size)
    return body.coerce(parts[0][1], parts[0][2], argument.type)


def _argument_location(body: Body, arguments: dict[str, Argument], name: str) -> Location:
    found = arguments[name]
    relocated.assume_argument(body, found)
    if found.source == "context":
        return Location(body.function.params[0], found.offset, found.type)
    if found.source == "stack":
        return _on_stack(body, found)
    return Location(argument(body, found), 0, found.type)


def _on_stack(body: Body, argument: Argument) -> Location:
    register = ARCHES[body.target.arch].stack_pointer
    pointer = body.emit("to_ptr", body.emit("register", name=register), type=USER)
    return Location(pointer, argument.offset, argument.type)


def _address(body: Body, node: nodes.Expr, lower: Lower) -> Value:
    return remote_pointer(body, lower(body, node), body.checked.types[node])


def _target(body: Body, node: nodes.Expr, lower: Lower) -> Location:
    """What `.` applies to: the struct itself, or what is behind any number of pointers."""
    type = body.checked.types[node]
    if not isinstance(type, Pointer):
        return _locate(body, node, lower)
    pointer = _address(body, node, lower)
    while isinstance(type.to, Pointer):
        address = body.emit("read_int", pointer, type=I64, off=0)
        type = type.to
        pointer = remote_pointer(body, address, type)
    return Location(pointer, 0, type.to)


def _field(body: Body, where: Location, name: str, type: Type) -> Location:
    match where.type:
        case Struct(name=struct):
            field = next(f for f in body.checked.structs[struct] if f.name == name)
            if steps := relocated.path(body, where, name):
                return replace(where, type=type, core=steps, bits=field.bits, bit_offset=0)
            return where.at(field.offset, type, field)
        case Tuple(offsets=offsets):
            return where.at(offsets[int(name)], type)
        case Record(names=names, offsets=offsets):
            return where.at(offsets[names.index(name)], type)
    raise CompilerBug(f"field {name} of {where.type}")


def _element(
    body: Body, operand: nodes.Expr, index: nodes.Expr, type: Type, lower: Lower
) -> Location:
    of = body.checked.types[operand]
    known = relocated.constant(body, index)
    if isinstance(of, Tuple) and isinstance(known, int):
        return locate(body, operand, lower).at(of.offsets[known], type)
    if isinstance(of, Pointer):
        base = Location(_address(body, operand, lower), 0, type)
        count = None
    else:
        base = _locate(body, operand, lower)
        header = 4 if isinstance(of, Buffer) else 0
        count = of.count if isinstance(of, Array) else of.size - header
        base = base.at(header, type)
    if isinstance(known, int) and not isinstance(known, bool):
        if base.core and isinstance(of, Array) and 0 <= known < (of.count or known + 1):
            return replace(base, type=type, core=(*base.core, known))
        if not (known and relocated.kernels(body, type)):
            return base.at(known * type.size, type)
    base = _fixed(body, base)
    number = body.int_of(lower(body, index), is_signed(body.checked.types[index]))
    if count is not None:
        number = body.emit("bound", number, count=count)
    offset = body.emit("mul", number, relocated.stride(body, type))
    if base.pointer.type == CTX:  # its loads need constant offsets: work on a copy
        whole = Location(base.pointer, base.offset, of)
        base = Location(read(body, whole), 0, type)
    return replace(base, pointer=body.emit("ptr_add", base.pointer, offset))
