"""Addresses → functions and source lines, inlined calls among them (DWARF 5, 3.3.8 and 6.2)."""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

from elftools.dwarf.compileunit import CompileUnit
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarfinfo import DWARFInfo

from .dwarf_entries import attribute, end_of, name_of, pieces, referred, subprograms

_CODE = ("DW_TAG_lexical_block", "DW_TAG_inlined_subroutine")
_ORIGINS = ("DW_AT_abstract_origin", "DW_AT_specification")


class SourceFrame(NamedTuple):
    """function: its symbol where it has one. place: `path:line`, "" if it is not known."""

    function: str
    place: str


class Unit:
    """The code of one compile unit: its functions and its line table, by address."""

    def __init__(self, dwarf: DWARFInfo, unit: CompileUnit) -> None:
        self._dwarf, self._unit = dwarf, unit
        self._top = unit.get_top_DIE()
        self._functions = sorted(
            ((low, high, die) for die in subprograms(self._top) for low, high in self._ranges(die)),
            key=lambda row: row[0],
        )
        self._starts = [low for low, _, _ in self._functions]
        program = dwarf.line_program_for_CU(unit)
        self._paths = _paths(program, self._top) if program else {}
        self._rows = sorted(_rows(program)) if program else []

    def frames(self, address: int) -> list[SourceFrame]:
        """What is at an address: the innermost inlined call first, the function itself last."""
        nearest = bisect_right(self._starts, address) - 1
        if nearest < 0 or address >= self._functions[nearest][1]:
            return []
        chain = [self._functions[nearest][2]]
        chain += self._inlined(chain[0], address)
        found, place = [], self._place(address)
        for die in reversed(chain):
            found.append(SourceFrame(_symbol(die), place))
            file, line = attribute(die, "DW_AT_call_file"), attribute(die, "DW_AT_call_line")
            place = f"{self._paths[file]}:{line}" if file in self._paths and line else ""
        return found

    def _inlined(self, die: DIE, address: int) -> Iterator[DIE]:
        """Inlined calls around an address, the outermost first."""
        for child in die.iter_children():
            if child.tag not in _CODE:
                continue
            if any(low <= address < high for low, high in self._ranges(child)):
                if child.tag == "DW_TAG_inlined_subroutine":
                    yield child
                yield from self._inlined(child, address)
                return

    def _place(self, address: int) -> str:
        at = bisect_right(self._rows, (address, 1 << 64, 0)) - 1
        _, file, line = self._rows[at] if at >= 0 else (0, 0, 0)
        return f"{self._paths[file]}:{line}" if line and file in self._paths else ""

    def _ranges(self, die: DIE) -> Iterator[tuple[int, int]]:
        low = attribute(die, "DW_AT_low_pc")
        if low is not None and (high := end_of(die, low)) is not None:
            yield low, high
        yield from pieces(self._dwarf, self._unit, die)


def _symbol(die: DIE) -> str:
    """The symbol of a function, or of what an entry is an instance of; else the name."""
    name = ""
    for _ in range(4):
        if linkage := attribute(die, "DW_AT_linkage_name"):
            return str(linkage.decode("utf-8", "replace"))
        name = name or name_of(die)
        origin = next((o for n in _ORIGINS if (o := referred(die, n))), None)
        if origin is None:
            break
        die = origin
    return name


def _rows(program: object) -> Iterator[tuple[int, int, int]]:
    """(address, file, line); line 0 ends a sequence."""
    for entry in program.get_entries():  # type: ignore[attr-defined]
        if (row := entry.state) is not None:
            yield row.address, row.file, 0 if row.end_sequence else row.line


def _paths(program: object, top: DIE) -> dict[int, str]:
    """Paths of source files by the numbers that the unit gives them."""
    header = program.header  # type: ignore[attr-defined]
    directory = (attribute(top, "DW_AT_comp_dir") or b"").decode("utf-8", "replace")
    folders = [folder.decode("utf-8", "replace") for folder in header["include_directory"]]
    first = 0 if header["version"] >= 5 else 1
    folders = folders if first == 0 else [directory, *folders]
    found = {}
    for number, entry in enumerate(header["file_entry"], first):
        folder = folders[entry.dir_index] if entry.dir_index < len(folders) else ""
        name = entry.name.decode("utf-8", "replace")
        found[number] = os.path.normpath(os.path.join(directory, folder, name))
    return found
