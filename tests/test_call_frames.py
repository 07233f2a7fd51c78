"""Call frame information: our rules against those that pyelftools reads, and by hand."""

from __future__ import annotations

import shutil
import struct
from bisect import bisect_right
from pathlib import Path
from typing import Any

import pytest
from elftools.dwarf.callframe import FDE, RegisterRule
from elftools.elf.elffile import ELFFile

from bpfscript.runtime.call_frames import NONE, Row, Rule, rows
from bpfscript.runtime.elf_image import image_of
from bpfscript.unwind_tables import How

SP_8 = Rule(How.KNOWN, 8, -8)
CIE = b"\1zR\0\1\x78\x10\1\x1b\x0c\7\x08\x90\1"  # pcrel sdata4; CFA = rsp + 8, ra at CFA - 8


def entry(number: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 8)
    return struct.pack("<II", len(body) + 4, number) + body


def section(instructions: bytes, low: int = 0x100, size: int = 0x20, cie: bytes = CIE) -> bytes:
    """A .eh_frame loaded at 0."""
    first = entry(0, cie)
    at = len(first)
    span = struct.pack("<ii", low - (at + 8), size)
    return first + entry(at + 4, span + b"\0" + instructions) + bytes(4)


def test_rows_of_a_function() -> None:
    pushes = b"\x41\x0e\x10\x86\2\x44\x0d\6\x58\x0c\7\x08\xc6"  # push rbp; mov rsp → rbp; leave
    by_bp = How.KNOWN | How.BP_SAVED
    assert rows(section(pushes), 0) == [
        (0x100, SP_8),
        (0x101, Rule(by_bp, 16, -8, -16)),
        (0x105, Rule(by_bp | How.CFA_FROM_BP, 16, -8, -16)),
        (0x11D, SP_8),
        (0x120, NONE),
    ]


def test_an_entry_of_the_linkage_table_has_pushed_or_not() -> None:
    expression = bytes.fromhex("770880003f1a3b2a332422")
    found = rows(section(b"\x0f" + bytes([len(expression)]) + expression), 0)
    assert found[:4] == [
        (0x100, SP_8), (0x10B, Rule(How.KNOWN, 16, -8)),
        (0x110, SP_8), (0x11B, Rule(How.KNOWN, 16, -8)),
    ]  # fmt: skip


def test_a_frame_of_a_signal() -> None:
    cie = b"\1zRS\0\1\x78\x10\1\x1b"
    places = b"\x0f\4\x77\xa0\1\6\x10\6\3\x77\xf8\0\x10\x10\3\x77\xa8\1"
    how = How.KNOWN | How.CFA_BEHIND | How.RA_FROM_SP | How.SIGNAL
    saved = How.BP_SAVED | How.BP_FROM_SP
    assert rows(section(places, cie=cie), 0)[0] == (0x100, Rule(how | saved, 160, 168, 120))


def test_the_first_function_was_called_by_nobody() -> None:
    assert rows(section(b"\7\x10"), 0)[0] == (0x100, Rule(How.KNOWN | How.LAST))


@pytest.mark.parametrize(
    "instructions",
    [b"\x0c\x0a\x10", b"\x0f\2\x50\x06", b"\x09\x10\3", b"\x16\x10\2\x77\x08"],
)
def test_what_cannot_be_followed_has_no_rule(instructions: bytes) -> None:
    assert dict(rows(section(instructions), 0))[0x100] == NONE


def test_remembered_states() -> None:
    text = b"\x0a\x42\x0e\x20\x42\x0b"
    cfas = [rule.cfa for _, rule in rows(section(text), 0)]
    assert cfas == [8, 32, 8, 0]


def test_damage_leaves_entries_out() -> None:
    whole = section(b"\x41\x0e\x10")
    for cut in range(len(whole)):
        rows(whole[:cut], 0)
        for bad in (0, 0x7F, 0xFF):
            for row in rows(whole[:cut] + bytes([bad]) + whole[cut + 1 :], 0):
                assert isinstance(row[1], Rule)


@pytest.mark.parametrize("program", ["sh", "env"])
def test_all_rows_of_a_program(program: str) -> None:
    path = Path(shutil.which(program) or program).resolve()
    with path.open("rb") as file:
        image = image_of(file.fileno())
        assert image
        (frames,) = (s for s in image.sections if s.name == b".eh_frame")
        ours = rows(image.read(frames.offset, frames.size), frames.address)
        starts = [address for address, _ in ours]
        compared = 0
        for fde in ELFFile(file).get_dwarf_info().EH_CFI_entries():
            for row in fde.get_decoded().table if isinstance(fde, FDE) else ():
                cfa = row["cfa"]
                if cfa.expr is None and cfa.reg in (6, 7) and 16 in row:
                    check(ours[bisect_right(starts, row["pc"]) - 1], row)
                    compared += 1
    assert compared > 100


def check(ours: Row, row: dict[Any, Any]) -> None:
    rule, cfa, ra, bp = ours[1], row["cfa"], row[16], row.get(6)
    assert isinstance(ra, RegisterRule)
    if ra.type == RegisterRule.UNDEFINED:
        assert How.LAST in How(rule.how)
        return
    assert (rule.cfa, rule.ra) == (cfa.offset, ra.arg)
    assert (How.CFA_FROM_BP in How(rule.how)) == (cfa.reg == 6)
    saved = bp.arg if bp and bp.type == RegisterRule.OFFSET else None
    assert (How.BP_SAVED in How(rule.how)) == (saved is not None)
    assert saved is None or rule.bp == saved
