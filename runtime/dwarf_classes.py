"""Which C++ objects are passed as a pointer to them: those that are not trivial to copy or destroy.

Itanium C++ ABI, section 3.1.2.3. Compilers need not say so in debug information; gcc does not.
"""

from __future__ import annotations

from elftools.dwarf.die import DIE

from .dwarf_entries import AGGREGATES, attribute, name_of, referred

_BY_REFERENCE, _BY_VALUE = 5, 4  # DW_CC_pass_by_*
_REFERENCES = ("DW_TAG_reference_type", "DW_TAG_rvalue_reference_type")
_QUALIFIERS = ("DW_TAG_const_type", "DW_TAG_volatile_type", "DW_TAG_typedef")
_DEPTH = 16


def by_reference(die: DIE, depth: int = 0) -> bool:
    """Whether objects of a class are passed so."""
    convention = attribute(die, "DW_AT_calling_convention")
    if convention in (_BY_REFERENCE, _BY_VALUE) or depth > _DEPTH:
        return bool(convention == _BY_REFERENCE)
    name = name_of(die).partition("<")[0]
    for child in die.iter_children():
        if child.tag == "DW_TAG_subprogram":
            if _makes_difference(child, name, die):
                return True
        elif child.tag in ("DW_TAG_member", "DW_TAG_inheritance"):
            part = _plain(referred(child))
            static = "DW_AT_external" in child.attributes or "DW_AT_declaration" in child.attributes
            if part and part.tag in AGGREGATES and not static and by_reference(part, depth + 1):
                return True
    return False


def _makes_difference(method: DIE, name: str, of: DIE) -> bool:
    """A destructor or a constructor that copies or moves, of the programmer's own; any virtual."""
    if "DW_AT_virtuality" in method.attributes:
        return True
    if "DW_AT_artificial" in method.attributes or "DW_AT_defaulted" in method.attributes:
        return False
    if name_of(method) == f"~{name}":
        return True
    return name_of(method) == name and _copies(method, of)


def _copies(constructor: DIE, of: DIE) -> bool:
    parameters = [c for c in constructor.iter_children() if c.tag == "DW_TAG_formal_parameter"]
    if len(parameters) != 2:  # the object itself, and where it comes from
        return False
    source = referred(parameters[1])
    if source is None or source.tag not in _REFERENCES:
        return False
    original = _plain(referred(source))
    return original is not None and original.offset == of.offset


def _plain(die: DIE | None) -> DIE | None:
    """A type without its qualifiers."""
    for _ in range(_DEPTH):
        if die is None or die.tag not in _QUALIFIERS:
            return die
        die = referred(die)
    return None
