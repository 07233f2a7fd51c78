"""Types in debug information → types of the language (DWARF 5, chapter 5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from elftools.dwarf.die import DIE
from elftools.dwarf.dwarf_expr import DWARFExprParser

from bpfscript.target import FunctionType
from bpfscript.types import (
    BOOL,
    INT8,
    UINT64,
    VOID,
    Array,
    Field,
    Int,
    Pointer,
    String,
    Struct,
    Type,
    Unsupported,
)  # fmt: skip

from .dwarf_classes import by_reference
from .dwarf_entries import AGGREGATES, attribute, name_of, referred
from .dwarf_places import is_go, parameters, place

TYPE_TAGS: dict[str | None, tuple[str, ...]] = {
    "struct": ("DW_TAG_structure_type", "DW_TAG_class_type"),
    "union": ("DW_TAG_union_type",),
    "enum": ("DW_TAG_enumeration_type",),
    None: (
        "DW_TAG_typedef", "DW_TAG_base_type", "DW_TAG_structure_type", "DW_TAG_class_type",
        "DW_TAG_union_type", "DW_TAG_enumeration_type",
    ),
}  # fmt: skip
"""Tags of the types that a keyword may stand before."""

_SUGARED = (
    "DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_restrict_type",
    "DW_TAG_atomic_type", "DW_TAG_shared_type", "DW_TAG_packed_type", "DW_TAG_immutable_type",
)  # fmt: skip
_POINTERS = ("DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type")
_BOOLEAN, _SIGNED, _SIGNED_CHAR, _UNSIGNED, _UNSIGNED_CHAR, _UTF = 2, 5, 6, 7, 8, 16  # DW_ATE_*
_DEPTH = 64  # a damaged file may refer in circles


class TypeReader:
    """Converts entries. `definition` finds the full type that a declaration stands for."""

    def __init__(self, definition: Callable[[DIE], DIE]) -> None:
        self._definition = definition
        self._structs: dict[str, DIE] = {}  # by the name they got
        self._fields: dict[str, tuple[Field, ...]] = {}
        self._enums: dict[str, DIE] = {}

    def function(self, die: DIE, entry: int) -> FunctionType:
        given = list(parameters(die))
        typed = []
        for child in given:
            origin = referred(child, "DW_AT_abstract_origin") or child
            typed.append((name_of(origin), self._passed(self._of(origin))))
        places = tuple(place(child, entry) for child in given) if is_go(die) else None
        result = die
        for link in ("DW_AT_abstract_origin", "DW_AT_specification"):
            result = referred(result, link) or result
        return FunctionType(tuple(typed), self._passed(self._of(result)), places)

    def _passed(self, type: Type) -> Type:
        die = self._structs.get(type.name) if isinstance(type, Struct) else None
        return Pointer(type) if die and by_reference(die) else type

    def type(self, die: DIE | None, depth: int = 0, alias: str = "") -> Type:
        """Type of an entry; none is `void`. alias: the name by which a type without one goes."""
        if die is None:
            return VOID
        if depth > _DEPTH:
            return Unsupported(0)
        tag, size = die.tag, attribute(die, "DW_AT_byte_size") or 0
        if tag == "DW_TAG_base_type":
            return _base(attribute(die, "DW_AT_encoding"), size)
        if tag in _SUGARED:
            alias = name_of(die) if tag == "DW_TAG_typedef" else alias
            return self.type(referred(die), depth + 1, alias)
        if tag in _POINTERS:
            return Pointer(self.type(referred(die), depth + 1))
        if tag == "DW_TAG_array_type":
            return self._array(die, depth)
        if tag == "DW_TAG_enumeration_type":
            return self._enum(die, size, depth, alias)
        if tag in AGGREGATES:
            return self._struct(die, alias)
        if tag == "DW_TAG_subroutine_type":
            return VOID
        if tag == "DW_TAG_unspecified_type" and name_of(die) == "decltype(nullptr)":
            return Pointer(VOID)
        return VOID if tag == "DW_TAG_unspecified_type" else Unsupported(size)

    def _of(self, die: DIE, depth: int = 0) -> Type:
        return self.type(referred(die), depth)

    def _array(self, die: DIE, depth: int) -> Type:
        type = self._of(die, depth + 1)
        counts = [_count(c) for c in die.iter_children() if c.tag == "DW_TAG_subrange_type"]
        for count in reversed(counts):
            type = String(count) if type == INT8 and count else Array(type, count)
        return type

    def _enum(self, die: DIE, size: int, depth: int, alias: str) -> Type:
        name = name_of(die) or alias
        underlying = self._of(die, depth + 1)
        signed = isinstance(underlying, Int) and underlying.signed
        if name:
            self._enums.setdefault(name, die)
        return Int(8 * size, signed, enum=name or None) if size in (1, 2, 4, 8) else VOID

    def enum(self, name: str) -> dict[int, str] | None:
        """value → name of an enum that some type was made of."""
        die = self._enums.get(name)
        if die is None:
            return None
        constants = (c for c in die.iter_children() if c.tag == "DW_TAG_enumerator")
        return {attribute(c, "DW_AT_const_value"): name_of(c) for c in constants}

    # Structs

    def _struct(self, die: DIE, alias: str) -> Struct:
        if attribute(die, "DW_AT_declaration") and "DW_AT_signature" not in die.attributes:
            die = self._definition(die)
        keyword = "union" if die.tag == "DW_TAG_union_type" else "struct"
        name = f"{keyword} {name_of(die) or alias or f'{{#{die.offset}}}'}"
        size = attribute(die, "DW_AT_byte_size") or 0
        other = self._structs.setdefault(name, die)
        if other.offset != die.offset and not _alike(other, die):
            name = f"{name} {{#{die.offset}}}"  # another unit means something else by the name
            self._structs.setdefault(name, die)
        return Struct(name, size, 8)

    def fields(self, struct: Struct) -> tuple[Field, ...]:
        """Fields of a struct that some type was made of."""
        if struct.name not in self._structs:
            return ()
        if struct.name not in self._fields:
            self._fields[struct.name] = tuple(self._members(self._structs[struct.name]))
        return self._fields[struct.name]

    def _members(self, die: DIE, base: int = 0, depth: int = 0) -> Iterator[Field]:
        """Fields at bit `base`; those of unnamed structs and of C++ bases are among them."""
        if depth > _DEPTH:
            return
        for child in die.iter_children():
            if child.tag not in ("DW_TAG_member", "DW_TAG_inheritance"):
                continue
            if "DW_AT_external" in child.attributes or "DW_AT_declaration" in child.attributes:
                continue  # a static member
            type, name = self._of(child), name_of(child)
            bit, bits = _place(child, type.size)
            inner = self._structs.get(type.name) if isinstance(type, Struct) else None
            if inner and not name:
                yield from self._members(inner, base + bit, depth + 1)
            else:
                at = base + bit
                yield Field(name, type, at // 8, bits, at % 8 if bits else 0)


def _base(encoding: int | None, size: int) -> Type:
    if encoding == _BOOLEAN:
        return BOOL
    integers = (_SIGNED, _SIGNED_CHAR, _UNSIGNED, _UNSIGNED_CHAR, _UTF)
    if encoding in integers and size in (1, 2, 4, 8):
        return Int(8 * size, encoding in (_SIGNED, _SIGNED_CHAR))
    if encoding in integers and size == 16:
        return Array(UINT64, 2)
    return Unsupported(size)


def _count(subrange: DIE) -> int:
    """Elements of one dimension; 0 if only the program knows."""
    count, last = attribute(subrange, "DW_AT_count"), attribute(subrange, "DW_AT_upper_bound")
    if isinstance(count, int):
        return count
    lowest = attribute(subrange, "DW_AT_lower_bound") or 0
    return last - lowest + 1 if isinstance(last, int) and 0 <= last < 1 << 32 else 0


def _place(member: DIE, size: int) -> tuple[int, int]:
    """(bits from the start of the struct, width if it is a bitfield)"""
    bits, first = (
        attribute(member, "DW_AT_bit_size") or 0,
        attribute(member, "DW_AT_data_bit_offset"),
    )
    if isinstance(first, int):
        return first, bits
    byte = attribute(member, "DW_AT_data_member_location") or 0
    if not isinstance(byte, int):  # DWARF 2: an expression that adds a constant
        parsed = DWARFExprParser(member.dwarfinfo.structs).parse_expr(byte)
        byte = next((op.args[0] for op in parsed if op.op_name == "DW_OP_plus_uconst"), 0)
    start = attribute(member, "DW_AT_bit_offset")
    if bits and start is not None:  # up to DWARF 3: from the highest bit of the storage unit
        unit = attribute(member, "DW_AT_byte_size") or size
        return 8 * byte + 8 * unit - start - bits, bits
    return 8 * byte, bits


def _alike(one: DIE, other: DIE) -> bool:
    """Whether two definitions are the same, as far as their members' names and places go."""

    def shape(die: DIE) -> list[tuple[str, Any]]:
        members = (c for c in die.iter_children() if c.tag == "DW_TAG_member")
        return [(name_of(m), attribute(m, "DW_AT_data_member_location")) for m in members]

    sizes = {attribute(die, "DW_AT_byte_size") for die in (one, other)}
    return len(sizes) == 1 and shape(one) == shape(other)
