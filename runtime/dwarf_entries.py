"""Entries of debug information: what they say, and what they refer to."""

from __future__ import annotations

from typing import Any

from elftools.dwarf.die import DIE

AGGREGATES = ("DW_TAG_structure_type", "DW_TAG_class_type", "DW_TAG_union_type")


def attribute(die: DIE, name: str) -> Any:
    """Value of an attribute, or None."""
    found = die.attributes.get(name)
    return None if found is None else found.value


def name_of(die: DIE) -> str:
    """Its own name, "" if it has none."""
    found = attribute(die, "DW_AT_name")
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else ""


def referred(die: DIE, name: str = "DW_AT_type") -> DIE | None:
    """The entry that an attribute refers to."""
    return die.get_DIE_from_attribute(name) if name in die.attributes else None
