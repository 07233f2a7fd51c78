"""Instructions of call frame information (DWARF 5, 6.4.2), run: what holds from an address on.

Of the registers only the return address and rbp are followed. Cost: linear.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

BP, SP, RA = 6, 7, 16  # DWARF numbers of registers, System V ABI, AMD64 supplement, 3.6.2
_BREG = 0x70  # DW_OP_breg0

Place = tuple[str, int] | None
"""Where a register is saved: at "cfa" + n, or at "7" or "6", the register, + n; "gone": nowhere;
"lost": where nobody looks."""
Cfa = tuple[int, int] | bytes  # (register, offset), or an expression


class State(NamedTuple):
    pc: int
    cfa: Cfa
    ra: Place
    bp: Place


UNKNOWN = State(0, b"", None, None)


class Program:
    """One run, from `low` on. code, data: factors of advances and offsets; initial: what holds."""

    def __init__(
        self, content: bytes, low: int, code: int, data: int, initial: State = UNKNOWN
    ) -> None:
        self.content, self.pc, self.code, self.data = content, low, code, data
        self.initial = initial
        _, self.cfa, self.ra, self.bp = initial
        self.states: list[State] = []
        self._kept: list[tuple[Cfa, Place, Place]] = []

    def run(self, at: int, end: int) -> None:
        """Raises IndexError, struct.error or KeyError for what makes no sense."""
        data, factor = self.content, self.data
        while at < end:
            code = data[at]
            at += 1
            high, low = code & 0xC0, code & 0x3F
            if high == 0x40:
                self._advance(low)
            elif high == 0x80:
                offset, at = unsigned(data, at)
                self._save(low, ("cfa", offset * factor))
            elif high == 0xC0:
                self._restore(low)
            elif code == 0x0E and isinstance(self.cfa, tuple):  # def_cfa_offset, the most frequent
                offset, at = unsigned(data, at)
                self.cfa = self.cfa[0], offset
            elif code in _ADVANCES:
                form, size = _ADVANCES[code]
                self._advance(struct.unpack_from(form, data, at)[0])
                at += size
            elif code in (0x0A, 0x0B):  # remember_state, restore_state
                if code == 0x0A:
                    self._kept.append((self.cfa, self.ra, self.bp))
                elif self._kept:
                    self.cfa, self.ra, self.bp = self._kept.pop()
            elif code in _BLOCKS:
                at = self._block(code, at)
            else:
                at = self._operands(code, at)
        self._note()

    def _operands(self, code: int, at: int) -> int:
        """Instructions whose operands are numbers."""
        values = []
        for has_sign in _OPERANDS[code]:
            value, at = (signed if has_sign else unsigned)(self.content, at)
            values.append(value)
        factor = self.data
        match code, values:
            case 0x05 | 0x11, [register, offset]:  # offset_extended, with sign
                self._save(register, ("cfa", offset * factor))
            case 0x06, [register]:  # restore_extended
                self._restore(register)
            case 0x08, [register]:  # same_value
                self._save(register, None)
            case 0x07, [register]:  # undefined
                self._save(register, ("gone", 0))
            case 0x09 | 0x14 | 0x15, [register, _]:  # register, val_offset, with sign
                self._save(register, ("lost", 0))
            case 0x0C, [register, offset]:  # def_cfa
                self.cfa = register, offset
            case 0x12, [register, offset]:  # def_cfa_sf
                self.cfa = register, offset * factor
            case 0x0D, [register] if isinstance(self.cfa, tuple):  # def_cfa_register
                self.cfa = register, self.cfa[1]
            case 0x13, [offset] if isinstance(self.cfa, tuple):  # def_cfa_offset_sf
                self.cfa = self.cfa[0], offset * factor
        return at

    def _block(self, code: int, at: int) -> int:
        """Instructions with a DWARF expression."""
        register = 0
        if code != 0x0F:
            register, at = unsigned(self.content, at)
        size, at = unsigned(self.content, at)
        expression = self.content[at : at + size]
        if code == 0x0F:  # def_cfa_expression
            self.cfa = expression
        elif code == 0x10 and (based := based_on(expression)):  # expression
            self._save(register, (str(based[0]), based[1]))
        else:
            self._save(register, ("lost", 0))
        return at + size

    def _save(self, register: int, place: Place) -> None:
        if register == BP:
            self.bp = place
        elif register == RA:
            self.ra = place

    def _restore(self, register: int) -> None:
        self._save(register, self.initial.bp if register == BP else self.initial.ra)

    def _advance(self, steps: int) -> None:
        self._note()
        self.pc += steps * self.code

    def _note(self) -> None:
        state = State(self.pc, self.cfa, self.ra, self.bp)
        if self.states and self.states[-1].pc == self.pc:
            self.states[-1] = state
        elif not self.states or self.states[-1][1:] != state[1:]:
            self.states.append(state)


_ADVANCES = {0x01: ("<Q", 8), 0x02: ("<B", 1), 0x03: ("<H", 2), 0x04: ("<I", 4)}
_BLOCKS = (0x0F, 0x10, 0x16)
_OPERANDS = {  # whether each operand has a sign
    0x00: (), 0x05: (0, 0), 0x06: (0,), 0x07: (0,), 0x08: (0,), 0x09: (0, 0), 0x0C: (0, 0),
    0x0D: (0,), 0x0E: (0,), 0x11: (0, 1), 0x12: (0, 1), 0x13: (1,), 0x14: (0, 0), 0x15: (0, 1),
    0x2E: (0,),
}  # fmt: skip


def based_on(expression: bytes) -> tuple[int, int] | None:
    """(register, offset) of an expression that adds a number to a register."""
    if len(expression) < 2 or not _BREG <= expression[0] < _BREG + 32:
        return None
    offset, end = signed(expression, 1)
    return (expression[0] - _BREG, offset) if end == len(expression) else None


def unsigned(data: bytes, at: int) -> tuple[int, int]:
    """A ULEB128 number and where it ends."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    value, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def signed(data: bytes, at: int) -> tuple[int, int]:
    """An SLEB128 number and where it ends."""
    value, end = unsigned(data, at)
    bits = 7 * (end - at)
    return value - (1 << bits) if value >> (bits - 1) else value, end
