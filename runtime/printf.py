"""printf formats, compiled to a function from a record to text (LANGUAGE §7.2)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from operator import call
from typing import Any, NamedTuple

from bpfscript.diagnostics import CompilerBug
from bpfscript.types import Bool, Int, Type

from .gfp import gfp_flags
from .values import Shape, Show, Values, buffer_bytes, integer_code, layout, printable

Buffer = bytes | bytearray | memoryview
Formatter = Callable[[Buffer], str]

_CONVERSION = re.compile(
    r"%(?P<left>-?)(?P<plus>\+?) ?(?P<base>\#?)(?P<zero>0?)(?:(?P<width>\d+)|\*)?"
    r"(?:\.(?:\d*|\*))?(?P<length>hh|h|ll|[lLjztq])?(?P<kind>rx|rh|gr|[diouxXcpsr%])"
)
_BITS = {None: 32, "hh": 8, "h": 16}  # other lengths: 64
PREFIX = {"o": "0", "x": "0x", "X": "0X"}
_CHARACTERS = [bytes([b]).decode("utf-8", "surrogateescape") for b in range(256)]


class Conversion(NamedTuple):
    kind: str
    bits: int
    left: bool
    plus: bool
    base: bool
    zero: bool
    width: int


def formatter(
    text: str, fields: Sequence[Type], offsets: Sequence[int], values: Values
) -> Formatter:
    """What shows records with these fields by the format `text`, which the compiler checked.

    Raises CompilerBug where conversions and fields do not go together.
    """
    literals, shapes = parts(text, fields, values)
    if not fields:
        constant = literals[0]
        return lambda data: constant
    shows = [shape.show for shape in shapes]
    unpack = layout([(o, s.code) for o, s in zip(offsets, shapes, strict=True)]).unpack_from
    template = "%s".join(literal.replace("%", "%%") for literal in literals)

    def show(data: Buffer) -> str:
        return template % tuple(map(call, shows, unpack(data)))

    return show


def parts(text: str, fields: Sequence[Type], values: Values) -> tuple[list[str], list[Shape]]:
    """The literal texts of a format, and what shows the fields between them."""
    literals, conversions = split(text)
    if len(conversions) != len(fields):
        raise CompilerBug(f"{len(conversions)} conversions for {len(fields)} fields: {text!r}")
    pairs = zip(conversions, fields, strict=True)
    return literals, [_padded(_shape(c, t, values), c) for c, t in pairs]


def split(text: str) -> tuple[list[str], list[Conversion]]:
    """Literal texts and the conversions between them."""
    literals, conversions, end = [""], [], 0
    for found in _conversions(text):
        literals[-1] += text[end : found.start()]
        end = found.end()
        if found["kind"] == "%":
            literals[-1] += "%"
            continue
        conversions.append(
            Conversion(
                kind=found["kind"],
                bits=_BITS.get(found["length"], 64),
                left=bool(found["left"]),
                plus=bool(found["plus"]),
                base=bool(found["base"]),
                zero=bool(found["zero"]),
                width=int(found["width"] or 0),
            )
        )
        literals.append("")
    literals[-1] += text[end:]
    return literals, conversions


def _conversions(text: str) -> Iterator[re.Match[str]]:
    at = text.find("%")
    while at >= 0:
        if found := _CONVERSION.match(text, at):
            yield found
        at = text.find("%", found.end() if found else at + 1)  # a lone one stands for itself


def _shape(c: Conversion, t: Type, values: Values) -> Shape:
    match c.kind:
        case "s":
            if c.plus:
                values = type(values)(
                    values.manifest, values.symbols, escape=values.escape, plus=True
                )
            return values.shape(t)
        case "r":
            return Shape(f"{t.size}s", lambda raw: printable(buffer_bytes(raw)))
        case "rx":
            return Shape(
                f"{t.size}s", lambda raw: "".join(f"\\x{b:02x}" for b in buffer_bytes(raw))
            )
        case "rh":
            return Shape(f"{t.size}s", lambda raw: buffer_bytes(raw).hex(" "))
        case "c":
            return Shape("B", _CHARACTERS.__getitem__)
        case "p":
            return _number(64, False, t, lambda v: hex(v) if v else "0")
        case "gr":
            return _number(64, False, t, gfp_flags)
        case "d" | "i":
            show = "{:+d}".format if c.plus else str
            return _number(c.bits, True, t, show, "%+d" if c.plus else "%d")
    digits = ("{:" + c.kind.replace("u", "d") + "}").format
    prefix = PREFIX.get(c.kind) if c.base else None
    if prefix:
        return _number(c.bits, False, t, lambda v: prefix + digits(v) if v else "0")
    return _number(c.bits, False, t, digits, "%" + c.kind.replace("u", "d"))


def _number(bits: int, signed: bool, t: Type, show: Show, same: str = "") -> Shape:
    """Reads an integer of type `t` as one of `bits`, as a C conversion would."""
    if t.size * 8 >= bits:  # the low bytes come first
        return Shape(integer_code(bits // 8, signed), show, same=same)
    narrow = isinstance(t, Int) and t.signed
    code = "B" if isinstance(t, Bool) else integer_code(t.size, narrow)
    if signed or not narrow:
        return Shape(code, show, same=same)
    mask = (1 << bits) - 1
    return Shape(code, lambda v: show(v & mask))


def _padded(shape: Shape, c: Conversion) -> Shape:
    """With the width of the conversion, in bytes as printf counts."""
    if not c.width:
        return shape
    show, head, fill = shape.show, shape.head, "0" if c.zero else " "

    def pad(text: str) -> str:
        length = len(text) if text.isascii() else len(text.encode("utf-8", "surrogateescape"))
        padding = fill * (c.width - length)
        return text + padding if c.left else padding + text

    def padded(value: Any) -> str:
        text = show(value)
        return pad(text[:head]) + text[head:] if head else pad(text)

    same = "" if c.zero else shape.same
    same = same and f"{same[:-1]}{'-' * c.left}{c.width}{same[-1]}"
    return Shape(shape.code, padded, same=same, steady=shape.steady)
