"""How two types meet: what a variable, a map or a branch becomes (LANGUAGE §2.2, §2.6)."""

from __future__ import annotations

from bpfscript.plain import replace
from bpfscript.types import (
    Array,
    Buffer,
    Int,
    Pointer,
    Record,
    Stack,
    String,
    Struct,
    Timestamp,
    Tuple,
    Type,
)


def literal_type(value: int) -> Int:
    """Type of an integer literal: the smallest signed one, uint64 beyond INT64_MAX."""
    for bits in (8, 16, 32, 64):
        if -(1 << (bits - 1)) <= value < 1 << (bits - 1):
            return Int(bits, True, flexible=value >= 0)
    return Int(64, False)


def unsigned_type(value: int) -> Int:
    """The smallest unsigned type of a non-negative number, as `sizeof` gives it."""
    return Int(next(bits for bits in (8, 16, 32, 64) if value < 1 << bits), False)


def promote_integers(a: Int, b: Int) -> Int:
    """The integer type that a place has which takes both."""
    bits = max(a.bits, b.bits)
    enum = a.enum if a.enum == b.enum else None
    if a.signed == b.signed:
        return Int(bits, a.signed, flexible=a.flexible and b.flexible, enum=enum)
    signed, unsigned = (a, b) if a.signed else (b, a)
    if signed.flexible:
        return Int(bits, False, enum=unsigned.enum)
    if signed.bits > unsigned.bits:
        return Int(signed.bits, True)
    return Int(min(bits * 2, 64), True)


def promote(a: Type, b: Type) -> Type | None:
    """The least type that takes both, or None: they are of different kinds."""
    match a, b:
        case Int(), Int():
            return promote_integers(a, b)
        case (String(), String()) | (Buffer(), Buffer()):
            return a if a.size >= b.size else b
        case Pointer(), Pointer():
            return a if a.space != "none" or b.space == "none" else replace(a, space=b.space)
        case Tuple(), Tuple() if len(a.of) == len(b.of):
            elements = _promote_all(a.of, b.of)
            return Tuple(elements) if elements is not None else None
        case Record(), Record() if set(a.names) == set(b.names):
            other = dict(zip(b.names, b.of, strict=True))
            elements = _promote_all(a.of, tuple(other[name] for name in a.names))
            return Record(a.names, elements) if elements is not None else None
        case Timestamp(), Timestamp():
            return a if a == b else None
    return a if a == b else None


def _promote_all(left: tuple[Type, ...], right: tuple[Type, ...]) -> tuple[Type, ...] | None:
    joined = [promote(a, b) for a, b in zip(left, right, strict=True)]
    return None if None in joined else tuple(t for t in joined if t is not None)


def holds(target: Type, value: Type) -> bool:
    """Whether every value of one type is a value of the other: converting it loses nothing."""
    match target, value:
        case Int(), Int():
            if value.signed == target.signed or value.flexible:
                return target.bits >= value.bits
            return target.signed and target.bits > value.bits
        case (Tuple(), Tuple()) if len(target.of) == len(value.of):
            return all(map(holds, target.of, value.of))
        case (Record(), Record()) if set(target.names) == set(value.names):
            other = dict(zip(value.names, value.of, strict=True))
            pairs = zip(target.names, target.of, strict=True)
            return all(holds(t, other[name]) for name, t in pairs)
        case (String(), String()) | (Buffer(), Buffer()):
            return target.size >= value.size
        case Pointer(), Pointer():
            return True
    return target == value


def base_name(t: Type) -> str:
    """Name of the kind of a type, as messages about functions show it."""
    match t:
        case Int():
            return "int"
        case String():
            return "string"
        case Buffer():
            return "buffer"
        case Pointer():
            return "pointer"
        case Array():
            return "array"
        case Tuple():
            return "tuple"
        case Record():
            return "record"
        case Struct():
            return "c_type"
        case Stack():
            return f"{t.kind[0]}stack"
    return str(t)
