"""Where a Go function finds its parameters: not by the rules of C, so its location lists are read.

DWARF 5, sections 2.6 and 7.7.3. At the function's first instruction a parameter is in registers,
piece by piece, or on the stack, counted from the CFA, which is 8 bytes above the stack pointer.
"""

from __future__ import annotations

from collections.abc import Iterator

from elftools.dwarf.die import DIE
from elftools.dwarf.dwarf_expr import DWARFExprParser
from elftools.dwarf.locationlists import BaseAddressEntry, LocationEntry, LocationParser

from bpfscript.target import Place

from .dwarf_entries import GO, attribute

_CFA = 8  # bytes above the stack pointer: the return address lies between
# by DWARF number: System V ABI for x86-64, figure 3.36
_REGISTERS = ("ax", "dx", "cx", "bx", "si", "di", "bp", "sp", *(f"r{n}" for n in range(8, 16)))


def is_go(function: DIE) -> bool:
    return bool(attribute(function.cu.get_top_DIE(), "DW_AT_language") == GO)


def parameters(function: DIE) -> Iterator[DIE]:
    """Those that a caller gives: Go has its results among them."""
    go = is_go(function)
    for child in function.iter_children():
        result = go and attribute(child, "DW_AT_variable_parameter")
        if child.tag == "DW_TAG_formal_parameter" and not result:
            yield child


def place(parameter: DIE, entry: int) -> Place | None:
    """Where it is when its function starts, at `entry`; None if that is not said, or in registers
    that BPF programs cannot read."""
    code = _expression(parameter, entry)
    registers: list[str] = []
    pieces = 0
    for op in DWARFExprParser(parameter.cu.structs).parse_expr(code):
        name, number = op.op_name, op.op_name.removeprefix("DW_OP_reg")
        if name in ("DW_OP_fbreg", "DW_OP_call_frame_cfa"):
            return Place(stack=_CFA + (op.args[0] if op.args else 0))
        if number.isdecimal() and int(number) < len(_REGISTERS):
            registers.append(_REGISTERS[int(number)])
        elif name == "DW_OP_piece":  # of what Go does not tell the padding
            pieces += 1
        else:
            return None
    whole = pieces in (0, len(registers))  # or some of it is nowhere
    return Place(tuple(registers)) if registers and whole else None


def _expression(parameter: DIE, address: int) -> list[int]:
    location, version = parameter.attributes.get("DW_AT_location"), parameter.cu["version"]
    if location is None:
        return []
    if location.form.startswith("DW_FORM_block"):  # Go writes these where exprloc is due
        return list(location.value)
    parser = LocationParser(parameter.dwarfinfo.location_lists())
    found = parser.parse_from_attribute(location, version, parameter)
    if not isinstance(found, list):
        return list(found.loc_expr)
    base = attribute(parameter.cu.get_top_DIE(), "DW_AT_low_pc") or 0
    for entry in found:
        if isinstance(entry, BaseAddressEntry):
            base = entry.base_address
        elif isinstance(entry, LocationEntry):
            start = 0 if entry.is_absolute else base
            if start + entry.begin_offset <= address < start + entry.end_offset:
                return list(entry.loc_expr)
    return []
