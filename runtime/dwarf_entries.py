"""Entries of debug information: what they say, and what they refer to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.dwarf.ranges import BaseAddressEntry

_SCOPES = ("DW_TAG_namespace", "DW_TAG_module", "DW_TAG_structure_type", "DW_TAG_class_type")
GO = 22  # DW_LANG_Go
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


def subprograms(parent: DIE) -> Iterator[DIE]:
    """Functions at file level, in namespaces and in types."""
    for die in parent.iter_children():
        if die.tag == "DW_TAG_subprogram":
            yield die
        elif die.tag in _SCOPES:
            yield from subprograms(die)


def end_of(die: DIE, low: int) -> int | None:
    """Where the code of an entry that starts at `low` ends, if it is in one piece."""
    high = die.attributes.get("DW_AT_high_pc")
    if high is None:
        return None
    return int(high.value if high.form == "DW_FORM_addr" else low + high.value)


def pieces(dwarf: DWARFInfo, unit: CompileUnit, die: DIE) -> Iterator[tuple[int, int]]:
    """(start, end) of code that has a list of pieces, as the list has them."""
    lists = dwarf.range_lists() if "DW_AT_ranges" in die.attributes else None
    if lists is None:
        return
    base = attribute(unit.get_top_DIE(), "DW_AT_low_pc") or 0
    for part in lists.get_range_list_at_offset(die.attributes["DW_AT_ranges"].value, unit):
        if isinstance(part, BaseAddressEntry):
            base = part.base_address
        else:
            start = 0 if part.is_absolute else base
            yield start + part.begin_offset, start + part.end_offset
