"""Source lines → addresses, by the line tables (DWARF 5, section 6.2)."""

from __future__ import annotations

import os
from typing import Any

from elftools.dwarf.dwarfinfo import DWARFInfo

from bpfscript.target import MachineError

from .dwarf_entries import GO, attribute, name_of


def line_address(dwarf: DWARFInfo, file: str, line: int, column: int) -> int:
    """The lowest address of the code of a line, of a column in it if that is not 0.

    file: the path that some unit was compiled from, or the last components of it. Raises
    MachineError.
    """
    known = False
    addresses = []
    for unit in dwarf.iter_CUs():
        top = unit.get_top_DIE()
        directory = (attribute(top, "DW_AT_comp_dir") or b"").decode("utf-8", "replace")
        go = attribute(top, "DW_AT_language") == GO  # whose units are packages
        if not go and not _is(file, os.path.join(directory, name_of(top))):
            continue
        program = dwarf.line_program_for_CU(unit)
        numbers = _files(program, file, directory) if program else set()
        known |= not go or bool(numbers)
        if program is None or not numbers:
            continue
        for entry in program.get_entries():
            row = entry.state
            if row is None or row.end_sequence or not row.is_stmt or row.file not in numbers:
                continue
            if row.line == line and (not column or row.column == column):
                addresses.append(row.address)
    if not known:
        raise MachineError(f"No compilation unit matches {file}")
    if not addresses:
        place = f"{file}:{line}:{column}" if column else f"{file}:{line}"
        raise MachineError(f"Unable to map '{place}' to address")
    return min(addresses)


def _is(wanted: str, path: str) -> bool:
    """Whether a path ends with these components."""
    path = os.path.normpath(path)
    return path == wanted or path.endswith("/" + wanted.removeprefix("./"))


def _files(program: Any, wanted: str, directory: str) -> set[int]:
    """Numbers by which a line table calls the file."""
    header = program.header
    first = 0 if header["version"] >= 5 else 1
    folders = [_text(folder) for folder in header["include_directory"]]
    folders = folders if first == 0 else [directory, *folders]
    found = set()
    for number, entry in enumerate(header["file_entry"], first):
        folder = folders[entry.dir_index] if entry.dir_index < len(folders) else ""
        if _is(wanted, os.path.join(directory, folder, _text(entry.name))):
            found.add(number)
    return found


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")
