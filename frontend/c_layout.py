"""Where the members of a C struct or union lie: System V ABI, x86-64 supplement §3.1.2.

The rules are the same on every 64-bit Linux.
"""

from __future__ import annotations

from collections.abc import Sequence

from bpfscript.plain import dataclass
from bpfscript.types import Array, Field, Type, Unsupported, align_up


@dataclass(frozen=True, slots=True)
class Member:
    """`name` "": anonymous, `inner` are its members. `bits` None: not a bitfield.

    packed, least: attributes of its own, the alignment that they ask for.
    """

    name: str
    type: Type
    bits: int | None = None
    packed: bool = False
    least: int = 0
    inner: tuple[Field, ...] | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    fields: tuple[Field, ...]
    size: int
    align: int


def alignment(type: Type) -> int:
    """Alignment of a type in C."""
    if isinstance(type, Array):
        return alignment(type.of)
    if isinstance(type, Unsupported):  # float, double, long double
        return max(type.size, 1)
    return type.align


def lay_out(members: Sequence[Member], *, union: bool, packed: bool, least: int) -> Layout:
    """`least`: alignment that the definition asks for."""
    fields: list[Field] = []
    bit = end = 0  # in bits
    align = 1
    for member in members:
        at = 0 if union else bit
        loose = packed or member.packed
        step = max(1 if loose else alignment(member.type), member.least)
        if member.bits is None:
            at = align_up(at, 8 * step)
            fields += _placed(member, at)
            after = at + 8 * member.type.size
        else:
            at, after = _bitfield(member, align_up(at, 8 * member.least or 1), loose)
            if member.name:
                fields.append(Field(member.name, member.type, at // 8, member.bits, at % 8))
        if member.bits is None or member.name:
            align = max(align, step)
        bit, end = after, max(end, after)
    align = max(align, least)
    return Layout(tuple(fields), align_up(align_up(end, 8) // 8, align), align)


def _placed(member: Member, at: int) -> list[Field]:
    if member.inner is None:
        return [Field(member.name, member.type, at // 8)]
    return [Field(f.name, f.type, at // 8 + f.offset, f.bits, f.bit_offset) for f in member.inner]


def _bitfield(member: Member, at: int, packed: bool) -> tuple[int, int]:
    """First bit, and the one behind: it does not cross a boundary of its type unless packed."""
    assert member.bits is not None
    unit = 8 * member.type.size
    if member.bits == 0 or (not packed and at % unit + member.bits > unit):
        at = align_up(at, unit)
    return at, at + member.bits
