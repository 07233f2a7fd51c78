"""Call frame information → where a frame's caller and its registers are, by address (x86-64).

    pc 11a4..11b9: CFA = rsp + 64, return address at CFA - 8    →  [(0x11a4, rule), (0x11b9, …)]

DWARF 5, section 6.4, as .eh_frame has it (Linux Standard Base, 10.6) or .debug_frame. Of each row
only what leads to the next frame is kept: the CFA, the return address, rbp. The file belongs to a
traced process: an entry that is not understood has no rules. Cost: linear in instructions.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from bpfscript.unwind_tables import How

from .cfa_program import BP, SP, Cfa, Place, Program, State, based_on, signed, unsigned

_DEREF = 0x06  # DW_OP_deref
_PLT_STEP = 16  # bytes of an entry of a procedure linkage table
# rsp + 8, and 8 more once the entry has pushed (rip & 15 >= n): DW_OP_breg7 8, breg16 0, lit15,
# and, lit n, ge, lit3, shl, plus
_PLT = (bytes.fromhex("770880003f1a"), bytes.fromhex("2a332422"))
_LIT0 = 0x30
_FORMS = {0: "<Q", 2: "<H", 3: "<I", 4: "<Q", 10: "<h", 11: "<i", 12: "<q"}  # DW_EH_PE_*
_RELATIVE = 0x10  # DW_EH_PE_pcrel


class Rule(NamedTuple):
    """What leads from a frame to its caller. Offsets in bytes."""

    how: int = 0
    cfa: int = 0
    ra: int = 0
    bp: int = 0


NONE = Rule()
Row = tuple[int, Rule]  # from this address on


def rows(section: bytes, address: int, debug: bool = False) -> list[Row]:
    """Rules by virtual address, ascending, each good up to the next.

    address: where the section is loaded. debug: it is a .debug_frame.
    """
    found: list[Row] = []
    for entry in _Entries(section, address, debug):
        found += entry
    found.sort()  # where one ends and one begins, NONE comes first
    kept: list[Row] = []
    for row in found:
        if kept and kept[-1][0] == row[0]:
            kept.pop()
        if not kept or kept[-1][1] != row[1]:
            kept.append(row)
    return kept


class _Common(NamedTuple):
    """A common information entry."""

    code: int  # factor of advances
    data: int  # factor of offsets
    encoding: int
    augmented: bool
    signal: bool
    initial: State  # what its instructions lead to


class _Entries:
    """The descriptions in a section: iterating gives the rows of each."""

    def __init__(self, data: bytes, address: int, debug: bool) -> None:
        self.data, self.address, self.debug = data, address, debug
        self._common: dict[int, _Common | None] = {}

    def __iter__(self) -> Iterator[list[Row]]:
        at = 0
        while at + 4 <= len(self.data):
            start, at, wide = self._extent(at)
            if at - start >= 4 and at <= len(self.data):
                yield from self._entry(start, at, wide)

    def _extent(self, at: int) -> tuple[int, int, bool]:
        """Where an entry starts and ends after its length, and whether that is of 64 bits."""
        (size,) = self._number("<I", at)
        if size == 0xFFFFFFFF and at + 12 <= len(self.data):
            (size,) = self._number("<Q", at + 4)
            return at + 12, at + 12 + size, True
        return at + 4, at + 4 + size, False

    def _entry(self, start: int, end: int, wide: bool) -> Iterator[list[Row]]:
        width = 8 if wide and self.debug else 4
        (back,) = self._number("<Q" if width == 8 else "<I", start)
        if back == ((1 << 8 * width) - 1 if self.debug else 0):
            return  # a common entry, read when one refers to it
        common = self._common_at(back if self.debug else start - back)
        if common:
            try:
                yield self._described(common, start + width, end)
            except (IndexError, struct.error, KeyError):
                return  # damaged, or not for this machine

    def _number(self, form: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(form, self.data, at)

    def _common_at(self, at: int) -> _Common | None:
        if at not in self._common:
            try:
                self._common[at] = self._read_common(at)
            except (IndexError, struct.error, KeyError, ValueError):
                self._common[at] = None
        return self._common[at]

    def _read_common(self, at: int) -> _Common:
        data, (start, end, wide) = self.data, self._extent(at)
        at = start + (8 if wide and self.debug else 4)
        version, zero = data[at], data.index(b"\0", at + 1)
        letters = data[at + 1 : zero]
        at = zero + 1 + (2 if version >= 4 else 0)  # sizes of an address and of a segment
        code, at = unsigned(data, at)
        factor, at = signed(data, at)
        at = at + 1 if version == 1 else unsigned(data, at)[1]
        encoding, augmented = 0, letters.startswith(b"z")
        if augmented:
            length, at = unsigned(data, at)
            after = at + length
            for letter in letters[1:].decode("latin-1"):
                if letter == "R":
                    encoding = data[at]
                if letter == "P":
                    at += struct.calcsize(_FORMS[data[at] & 15])
                at += letter in "RPL"
            at = after
        program = Program(data, 0, code, factor)
        program.run(at, end)
        return _Common(code, factor, encoding, augmented, b"S" in letters, program.states[-1])

    def _described(self, common: _Common, at: int, end: int) -> list[Row]:
        form = _FORMS[common.encoding & 15]
        (low,), width = self._number(form, at), struct.calcsize(form)
        if common.encoding & 0x70 == _RELATIVE:
            low += self.address + at
        elif common.encoding & 0x70:
            return []
        (length,) = self._number(form.upper(), at + width)
        at += 2 * width
        if common.augmented:
            size, at = unsigned(self.data, at)
            at += size
        program = Program(self.data, low, common.code, common.data, common.initial)
        program.run(at, end)
        return [*_spread(program.states, low + length, common.signal), (low + length, NONE)]


def _spread(states: list[State], end: int, signal: bool) -> Iterator[Row]:
    """Rows of states; a procedure linkage table has two for each of its entries."""
    ends = [state.pc for state in states[1:]] + [end]
    for (pc, cfa, ra, bp), after in zip(states, ends, strict=True):
        if isinstance(cfa, bytes) and cfa.startswith(_PLT[0]) and cfa.endswith(_PLT[1]):
            pushed = cfa[len(_PLT[0])] - _LIT0
            for entry in range(pc, after, _PLT_STEP):
                yield entry, _rule((SP, 8), ra, bp, signal)
                yield entry + pushed, _rule((SP, 16), ra, bp, signal)
        else:
            yield pc, _rule(cfa, ra, bp, signal)


_CFA = {SP: How.KNOWN, BP: How.KNOWN | How.CFA_FROM_BP}
_SAVED = {"cfa": 0, str(SP): How.BP_FROM_SP, str(BP): How.BP_FROM_BP}


@cache  # files have hundreds of thousands of rows, but hundreds of rules
def _rule(cfa: Cfa, ra: Place, bp: Place, signal: bool) -> Rule:
    if ra == ("gone", 0):
        return Rule(int(How.KNOWN | How.LAST))
    how = How.SIGNAL if signal else How(0)
    if isinstance(cfa, bytes):
        based = based_on(cfa[:-1]) if cfa.endswith(bytes([_DEREF])) else None
        cfa, how = based or (-1, 0), how | How.CFA_BEHIND
    if cfa[0] not in _CFA or ra is None or ra[0] not in ("cfa", str(SP)):
        return NONE
    how |= _CFA[cfa[0]] | (How.RA_FROM_SP if ra[0] != "cfa" else 0)
    if bp is not None and bp[0] in _SAVED:
        how |= How.BP_SAVED | _SAVED[bp[0]]
    return Rule(int(how), cfa[1], ra[1], bp[1] if bp else 0)
