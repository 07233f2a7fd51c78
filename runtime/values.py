"""Values of BPF memory as text (LANGUAGE §7.1).

A type becomes a `Shape` once: how `struct` takes the value out of memory as one object, and the
function that shows this object. Showing an event is then one unpack and one call per field.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from operator import call
from typing import Any, NamedTuple, TypeVar

from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import Manifest
from bpfscript.types import (
    Aggregate,
    Array,
    Bool,
    Buffer,
    CgroupPath,
    Field,
    Inet,
    Int,
    Mac,
    Pointer,
    Record,
    Stack,
    String,
    Struct,
    Symbol,
    Timestamp,
    TimestampMode,
    Tuple,
    Type,
    Unsupported,
    Username,
    Void,
)

from . import names
from .stacks import Stacks
from .symbols import Symbols

T = TypeVar("T")
Show = Callable[[Any], str]


class Shape(NamedTuple):
    """code: of the `struct` module, yields exactly one object. head: length of the opening bracket,
    the first fragment of a composite, which is all that a width of printf reaches. same: the
    conversion of Python's `%` that shows the object alike, if there is one. steady: the text
    depends on the object alone."""

    code: str
    show: Show
    head: int = 0
    same: str = ""
    steady: bool = False


_INTEGERS = {1: "b", 2: "h", 4: "i", 8: "q"}
# control characters: of ASCII but \t and \n, of Latin 1, and the bytes 0x80-0x9f outside of UTF-8
_CONTROLS = (*range(9), *range(11, 32), *range(127, 160), *range(0xDC80, 0xDCA0))
_HARMLESS = {code: f"\\x{code & 0xFF:02x}" for code in _CONTROLS}


def integer_code(size: int, signed: bool) -> str:
    """`struct` code of an integer of `size` bytes."""
    code = _INTEGERS[size]
    return code if signed else code.upper()


def layout(parts: Sequence[tuple[int, str]]) -> struct.Struct:
    """Unpacks a record: (offset, code) of what to take, ascending, without overlaps."""
    codes, end = ["<"], 0
    for offset, code in parts:
        codes.append(f"{offset - end}x{code}")
        end = offset + struct.calcsize("<" + code)
    return struct.Struct("".join(codes))


def code_of(t: Type) -> str:
    """`struct` code that takes a value out of memory as one object."""
    match t:
        case Int():
            return integer_code(t.size, t.signed)
        case Bool():
            return "B"
        case Pointer() | Username() | CgroupPath() | Symbol(kind="kernel"):
            return "Q"
        case Timestamp():
            return "q"
        case Aggregate() if t.name not in ("avg", "stats"):
            return integer_code(8, t.signed)
        case Aggregate():
            return "16s"
        case TimestampMode() | Void() | Unsupported():
            return "0s"
    return f"{t.size}s"


def parts_of(
    offsets: Sequence[int], parts: Sequence[tuple[str, Callable[[Any], T]]]
) -> Callable[[bytes | memoryview], list[T]]:
    """What makes something of each value that lies in a tuple: (code, maker) of each."""
    unpack = layout([(o, code) for o, (code, _) in zip(offsets, parts, strict=True)]).unpack_from
    makers = [make for _, make in parts]
    return lambda raw: list(map(call, makers, unpack(raw)))


def field_of(field: Field, make: Callable[[Any], T]) -> Callable[[bytes], T]:
    """The same for a field of a struct. Those of unions overlap, so each reads for itself."""
    if not field.bits:
        unpack, offset = struct.Struct("<" + code_of(field.type)).unpack_from, field.offset
        return lambda raw: make(unpack(raw, offset)[0])
    span = slice(field.offset, field.offset + (field.bit_offset + field.bits + 7) // 8)
    mask, shift = (1 << field.bits) - 1, field.bit_offset
    sign = 1 << (field.bits - 1) if isinstance(field.type, Int) and field.type.signed else 0

    def bits(raw: bytes) -> T:
        value = int.from_bytes(raw[span], "little") >> shift & mask
        return make((value ^ sign) - sign)

    return bits


def mean_of(t: Aggregate, make: Callable[[int, int, int], T]) -> Callable[[bytes], T]:
    """Makes something of an avg or stats in memory: of count, average and total."""
    unpack = struct.Struct(f"<{integer_code(8, t.signed)}Q").unpack

    def mean(raw: bytes) -> T:
        total, count = unpack(raw)
        return make(count, average(total, count), total)

    return mean


def printable(raw: bytes) -> str:
    """A buffer: printable ASCII as is, other bytes `\\xhh`."""
    return "".join(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in raw)


def harmless(text: str) -> str:
    """Control characters as `\\xhh`."""
    return text.translate(_HARMLESS)


def buffer_bytes(raw: bytes) -> bytes:
    return raw[4 : 4 + int.from_bytes(raw[:4], "little")]


def _null(_: object) -> str:
    return "null"


class Values:
    """Makes shapes. escape: control characters in names and strings come out as `\\xhh`, for a
    terminal. plus: signed integers carry their sign, also inside composites (`%+s`)."""

    def __init__(
        self, manifest: Manifest, symbols: Symbols, *, escape: bool = False, plus: bool = False
    ) -> None:
        self.manifest, self.symbols = manifest, symbols
        self.escape, self.plus = escape, plus
        self._stacks = Stacks(symbols)

    def shape(self, t: Type) -> Shape:
        match t:
            case Int():
                show = self.integer(t)
                return Shape(code_of(t), show, same="%d" if show is str else "")
            case Bool():
                return Shape(code_of(t), lambda v: "true" if v else "false")
            case Pointer():
                return Shape(code_of(t), self.pointer)
            case Buffer():
                return Shape(code_of(t), self.buffer)
            case Array():
                return self._array(t)
            case Struct():
                return self._struct(t)
            case Tuple():
                return self._tuple(t)
            case Record():
                return self._record(t)
            case Aggregate():
                return self._aggregate(t)
        if (word := self._word(t)) is None:
            return Shape(code_of(t), _null)
        return Shape(code_of(t), self.word(word), steady=isinstance(t, String))

    # What JSON does differently

    def integer(self, t: Int) -> Show:
        if t.enum:
            constants = self.manifest.enums.get(t.enum, {})
            return lambda v: constants.get(v) or str(v)
        return "{:+d}".format if self.plus and t.signed else str

    def pointer(self, value: int) -> str:
        return hex(value)

    def buffer(self, raw: bytes) -> str:
        return printable(buffer_bytes(raw))

    def word(self, show: Show) -> Show:
        """Text that the script did not write."""
        return (lambda v: show(v).translate(_HARMLESS)) if self.escape else show

    brackets = ("(", ", ", ")")

    def members(self, names: Sequence[str], texts: Sequence[str]) -> str:
        """A struct or record of shown fields."""
        if not names:
            return "{}"
        inner = ", ".join(f".{n} = {v}" for n, v in zip(names, texts, strict=True))
        return f"{{ {inner} }}"

    # Composites

    def _array(self, t: Array) -> Shape:
        inner = self.shape(t.of)
        unpack = struct.Struct("<" + inner.code * t.count).unpack
        return Shape(code_of(t), lambda raw: f"[{','.join(map(inner.show, unpack(raw)))}]", 1)

    def _parts(self, of: Sequence[Type], offsets: Sequence[int]) -> Callable[[bytes], list[str]]:
        """Shows what lies at the offsets of a tuple."""
        return parts_of(offsets, [(shape.code, shape.show) for shape in map(self.shape, of)])

    def _tuple(self, t: Tuple) -> Shape:
        parts = self._parts(t.of, t.offsets)
        opening, separator, closing = self.brackets
        return Shape(code_of(t), lambda raw: opening + separator.join(parts(raw)) + closing, 1)

    def _record(self, t: Record) -> Shape:
        parts = self._parts(t.of, t.offsets)
        return Shape(code_of(t), lambda raw: self.members(t.names, parts(raw)), 2)

    def _struct(self, t: Struct) -> Shape:
        if t.name not in self.manifest.structs:
            raise CompilerBug(f"the manifest lacks the fields of {t.name}")
        fields = self.manifest.structs[t.name]
        names = [f.name for f in fields]
        shows = [field_of(f, self.shape(f.type).show) for f in fields]
        return Shape(code_of(t), lambda raw: self.members(names, [show(raw) for show in shows]), 2)

    def _aggregate(self, t: Aggregate) -> Shape:
        """An aggregate that was read as a value: only stats stay more than a number."""
        number = self.integer(Int(64, t.signed))
        if t.name == "avg":
            return Shape(code_of(t), mean_of(t, lambda count, mean, total: number(mean)), 2)
        if t.name == "stats":
            return Shape(code_of(t), mean_of(t, partial(self.stats, number)), 2)
        return Shape(code_of(t), number)

    def stats(self, number: Show, count: int, mean: int, total: int) -> str:
        shown = [number(n) for n in (count, mean, total)]
        return self.members(("count", "average", "total"), shown)

    # Leaves that are text in every format

    def _word(self, t: Type) -> Show | None:
        match t:
            case String():
                return self._string
            case Stack():
                return self._stacks.shower(t)
            case Symbol(kind="kernel"):
                return self._stacks.kernel_name
            case Symbol():
                return self._stacks.user_name
            case Username():
                return names.user_name
            case Timestamp():
                return names.timestamp(t.format, t.mode)
            case Mac():
                return names.hardware_address
            case Inet():
                return names.internet_address
            case CgroupPath():
                return names.cgroup_path(t.filter)
        return None

    def _string(self, raw: bytes) -> str:
        end = raw.find(0)
        if end < 0:
            trailer = self.manifest.settings.str_trunc_trailer if raw else ""
            return raw.decode("utf-8", "surrogateescape") + trailer
        return raw[:end].decode("utf-8", "surrogateescape")


def average(total: int, count: int) -> int:
    """The quotient, truncated toward zero; 0 of nothing."""
    return quotient(total, count) if count else 0


def quotient(a: int, b: int) -> int:
    """C division for b > 0."""
    return a // b if a >= 0 else -(-a // b)
