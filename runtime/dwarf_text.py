"""Parameters of a function as its source declares them: `const char* path`, `struct file* file`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .dwarf_places import parameters

if TYPE_CHECKING:
    from elftools.dwarf.die import DIE

_WORDS = {
    "DW_TAG_structure_type": "struct ",
    "DW_TAG_union_type": "union ",
    "DW_TAG_enumeration_type": "enum ",
}
_MARKS = {
    "DW_TAG_pointer_type": "*",
    "DW_TAG_reference_type": "&",
    "DW_TAG_rvalue_reference_type": "&&",
}
_QUALIFIERS = {"DW_TAG_const_type": "const", "DW_TAG_volatile_type": "volatile"}
_DEEPEST = 32  # damaged data may go in circles


def declarations(function: DIE) -> list[str]:
    """One `type name` for each parameter of a subprogram."""
    return [f"{type_name(child)} {_name(child)}".rstrip() for child in parameters(function)]


def type_name(die: DIE, depth: int = 0) -> str:
    """The type that an entry refers to; `void` if to none."""
    if "DW_AT_type" not in die.attributes or depth > _DEEPEST:
        return "void"
    type = die.get_DIE_from_attribute("DW_AT_type")
    tag = str(type.tag)
    if mark := _MARKS.get(tag):
        return f"{type_name(type, depth + 1)}{mark}"
    if qualifier := _QUALIFIERS.get(tag):
        name = type_name(type, depth + 1)
        return (
            f"{name} {qualifier}"
            if name.endswith(tuple(_MARKS.values()))
            else f"{qualifier} {name}"
        )
    if tag == "DW_TAG_restrict_type":
        return f"{type_name(type, depth + 1)} restrict"
    if tag == "DW_TAG_array_type":
        return f"{type_name(type, depth + 1)}[]"
    if tag == "DW_TAG_subroutine_type":
        return f"{type_name(type, depth + 1)} ()"
    return f"{_WORDS.get(tag, '')}{_name(type)}".rstrip()


def _name(die: DIE) -> str:
    """Its own name, or that of what it is an instance of."""
    for name in ("DW_AT_abstract_origin", "DW_AT_specification"):
        if name in die.attributes and "DW_AT_name" not in die.attributes:
            die = die.get_DIE_from_attribute(name)
    given = die.attributes.get("DW_AT_name")
    return given.value.decode("utf-8", "replace") if given else ""
