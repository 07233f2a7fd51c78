"""The state of lowering one function, and how typed values live in IR.

Scalars (integers, booleans, pointers as addresses, and what is one of them underneath) are IR
integers; a boolean is i1 in registers and one byte in memory. Everything else is a pointer to
memory that holds the value, not to be written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bpfscript.diagnostics import CompilerBug, Diagnostic, ScriptError, Span
from bpfscript.ir.builder import Builder
from bpfscript.ir.core import Attr, Block, Function, Instr, Module, Value
from bpfscript.ir.ssa import Variables
from bpfscript.ir.types import I1, I8, I64, STACK, I
from bpfscript.ir.types import Type as IrType
from bpfscript.manifest import EVENT_HEADER, Event, Place
from bpfscript.plain import dataclass, field
from bpfscript.target import Target
from bpfscript.types import (
    Aggregate,
    Array,
    Bool,
    CgroupPath,
    Int,
    Pointer,
    Record,
    String,
    Symbol,
    Timestamp,
    Tuple,
    Type,
    Username,
    align_up,
)  # fmt: skip

from .typed import Checked, Instance, Local

RETURNED = 0  # offset in the frame: what a callback means to leave, PROBE or more: a function
PROBE = 1


@dataclass(slots=True)
class Loop:
    """Where `continue` and `break` go. In a callback (`exits`) they return from it instead."""

    header: Block | None
    end: Block | None


@dataclass(slots=True)
class Called:
    """Where `return` goes in a function. In a callback it returns from that (`end` None)."""

    result: Local | None
    end: Block | None


@dataclass
class Body:
    """One function in the making. Callbacks of `for` share their instance's frame by pointer."""

    checked: Checked
    target: Target
    module: Module
    instance: Instance
    function: Function
    frame: Value | None = None
    frame_offsets: dict[Local, int] = field(default_factory=dict)
    loops: list[Loop] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    slots: dict[Local, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.b = Builder(self.function)
        self.variables = Variables(self.b)

    # Blocks

    def start(self, block: Block) -> None:
        """Go on in a block whose every predecessor is known."""
        self.variables.seal(block)
        self.b.at(block)

    @property
    def block(self) -> Block:
        if self.b.current is None:
            raise CompilerBug("lowering outside of a block")
        return self.b.current

    @property
    def open(self) -> bool:
        """Whether the current block still lacks its terminator."""
        return not self.b.ended

    @contextmanager
    def spanned(self, span: Span) -> Iterator[None]:
        before, self.b.span = self.b.span, span
        try:
            yield
        finally:
            self.b.span = before

    # Instructions

    def emit(self, op: str, /, *args: Value, type: IrType | None = None, **attrs: Attr) -> Value:
        return self.b.value(op, *args, type=type, **attrs)

    def const(self, value: int, type: IrType = I64) -> Value:
        return self.emit("const", type=type, value=value)

    def entry_slot(self, size: int) -> Value:
        """Memory that lives as long as the function."""
        slot = Value(STACK)
        self.function.blocks[0].instrs.insert(0, Instr("slot", [], {"size": size}, slot))
        return slot

    def branch_on(self, condition: Value, then: Block, otherwise: Block) -> None:
        self.b.branch(condition, then, otherwise)

    def as_condition(self, value: Value) -> Value:
        return value if value.type == I1 else self.emit("ne", value, self.const(0, value.type))

    # Typed values

    def int_of(self, value: Value, signed: bool, bits: int = 64) -> Value:
        """An IR integer in another width."""
        assert isinstance(value.type, I)
        if value.type.bits == bits:
            return value
        if value.type.bits > bits:
            return self.emit("trunc", value, type=I(bits))
        widen = "sext" if signed and value.type.bits > 1 else "zext"
        return self.emit(widen, value, type=I(bits))

    def stored(self, value: Value) -> Value:
        """The value as memory holds it: a boolean takes a byte."""
        return self.emit("zext", value, type=I8) if value.type == I1 else value

    def load(self, pointer: Value, offset: int, type: Type) -> Value:
        """A value of a type from direct memory."""
        if isinstance(type, Bool):
            byte = self.emit("load", pointer, type=I8, off=offset)
            return self.emit("ne", byte, self.const(0, I8))
        if is_scalar(type):
            return self.emit("load", pointer, type=ir_type(type), off=offset)
        return pointer if not offset else self.emit("ptr_add", pointer, self.const(offset))

    def store(self, pointer: Value, offset: int, value: Value, type: Type) -> None:
        """A value into direct memory that takes `type.size` bytes."""
        if is_scalar(type):
            self.b.emit("store", pointer, self.stored(value), off=offset)
        else:
            self.b.copy(pointer, value, type.size, off=offset)

    def pack(self, parts: Sequence[tuple[int, Value, Type]], size: int) -> Value:
        """Fresh memory of `size` bytes with each value at its offset and zeros between."""
        return self.emit(
            "pack",
            *(self.stored(v) for _, v, _ in parts),
            offsets=tuple(offset for offset, _, _ in parts),
            sizes=tuple(t.size for _, _, t in parts),
            size=size,
        )

    def in_memory(self, value: Value, type: Type) -> Value:
        """A pointer to a copy of the value."""
        return self.pack([(0, value, type)], type.size)

    def zero(self, type: Type) -> Value:
        if is_scalar(type):
            return self.const(0, ir_type(type))
        return self.emit("rodata", data=bytes(type.size))

    # Variables

    def read(self, local: Local) -> Value:
        if local in self.frame_offsets:
            return self.load(self.frame_pointer(), self.frame_offsets[local], local.type)
        if local.addressed:
            return self.load(self.slot(local), 0, local.type)
        if is_scalar(local.type):
            return self.variables.read(local, self.block, ir_type(local.type))
        return self.slot(local)

    def write(self, local: Local, value: Value) -> None:
        """Set a variable to a value of its own type."""
        if local in self.frame_offsets:
            self.store(self.frame_pointer(), self.frame_offsets[local], value, local.type)
        elif is_scalar(local.type) and not local.addressed:
            self.variables.write(local, self.block, value)
        else:
            self.store(self.slot(local), 0, value, local.type)

    def slot(self, local: Local) -> Value:
        if local not in self.slots:
            self.slots[local] = self.entry_slot(local.type.size)
        return self.slots[local]

    def address(self, local: Local) -> Value:
        """Where an `addressed` variable lies."""
        if local in self.frame_offsets:
            return self.emit("ptr_add", self.frame_pointer(), self.const(self.frame_offsets[local]))
        return self.slot(local)

    def frame_pointer(self) -> Value:
        if self.frame is None:
            raise CompilerBug("a captured variable without a frame")
        return self.frame

    # Events

    def event(
        self,
        kind: str,
        fields: Sequence[tuple[Value, Type]] = (),
        span: Span | None = None,
        **more: object,
    ) -> None:
        """Send an event to user space; its layout goes into the manifest."""
        types = tuple(t for _, t in fields)
        layout = Tuple(types)
        event = Event(
            kind,
            fields=types,
            offsets=tuple(EVENT_HEADER + offset for offset in layout.offsets),
            size=align_up(EVENT_HEADER + layout.size, 8),
            place=Place.at(span) if span else None,
            **more,  # type: ignore[arg-type]
        )
        index = self.module.event_index(event)
        self.b.emit("emit", *(self.stored(v) for v, _ in fields), event=index)

    # Conversion

    def coerce(self, value: Value, have: Type, want: Type) -> Value:
        """A value of one type as another that the checker found it fits."""
        if have == want and not _elements(want):
            return value
        if is_scalar(want):
            return self._coerce_scalar(value, have, want)
        if _elements(want) and _elements(have):
            return self._coerce_elements(value, have, want)
        if have.size == want.size:
            return value
        size = min(have.size, want.size)
        part = String(size)  # that many bytes
        return self.pack([(0, value, part)], want.size)

    def _coerce_scalar(self, value: Value, have: Type, want: Type) -> Value:
        if not isinstance(value.type, I):  # an array of bytes, read as the integer it holds
            if isinstance(want, Bool):
                first = self.emit("load", value, type=I8, off=0)
                return self.emit("ne", first, self.const(0, I8))
            wanted = ir_type(want)
            return self.emit("load", value, type=wanted, off=0)
        if isinstance(want, Bool):
            return self.as_condition(value)
        wanted = ir_type(want)
        assert isinstance(wanted, I)
        return self.int_of(value, is_signed(have), wanted.bits)

    def _coerce_elements(self, value: Value, have: Type, want: Type) -> Value:
        if have == want:
            return value
        parts = []
        of = {name: (offset, t) for name, offset, t in _elements(have)}
        for name, offset, t in _elements(want):
            if name not in of:
                raise CompilerBug(f"cannot make {want} of {have}")
            source, type = of[name]
            parts.append((offset, self.coerce(self.load(value, source, type), type, t), t))
        return self.pack(parts, want.size)


def is_scalar(type: Type) -> bool:
    """Whether values of a type live in a register."""
    kernel_symbol = isinstance(type, Symbol) and type.kind == "kernel"
    simple = (Int, Bool, Pointer, Username, CgroupPath, Timestamp)
    return (
        kernel_symbol or isinstance(type, simple) or (isinstance(type, Aggregate) and type.readable)
    )


def is_signed(type: Type) -> bool:
    return isinstance(type, Int | Aggregate) and type.signed


def ir_type(type: Type) -> IrType:
    """Type of the IR value that stands for a value of a type."""
    if isinstance(type, Int):
        return I(type.bits)
    if isinstance(type, Bool):
        return I1
    return I64 if is_scalar(type) else STACK


def unsupported(span: Span, what: str, hint: str | None = None) -> ScriptError:
    """The script is right, but this version does not do it."""
    return ScriptError([Diagnostic(f"{what} is not supported yet", span, hint=hint)])


def _elements(type: Type) -> list[tuple[str, int, Type]]:
    """(name, offset, type) of the elements of a tuple, record or array of numbers."""
    if isinstance(type, Tuple):
        names: tuple[str, ...] = tuple(map(str, range(len(type.of))))
        return list(zip(names, type.offsets, type.of, strict=True))
    if isinstance(type, Record):
        return list(zip(type.names, type.offsets, type.of, strict=True))
    if isinstance(type, Array) and is_scalar(type.of):
        return [(str(i), i * type.of.size, type.of) for i in range(type.count)]
    return []
