"""What a program that unwinds user stacks by DWARF finds in its maps, and who fills them.

    processes[tgid] → places[first … first + count]  the last with start ≤ pc
    place           → rows[first … first + count]    the last with address ≤ pc - bias
    row             → rules[number]

The passes write the program that looks there, `runtime/unwinding.py` fills the maps before it runs.
Ranges are searched by halving: each starts with an entry for address 0.
"""

from __future__ import annotations

import struct
from enum import IntFlag

from bpfscript.manifest import Internal
from bpfscript.types import UNWIND_FAILED

PROCESSES = Internal.PROCESSES  # HASH of tgids: RANGE of places
PLACES = ".places"  # ARRAY of PLACE
ROWS = ".rows"  # ARRAY of uint64: address in the file << 32 | number of a rule
RULES = ".rules"  # ARRAY of RULE

RANGE = struct.Struct("<QQ")  # first, count
PLACE = struct.Struct("<QQQQ")  # start of the mapping, bias of what is in it, RANGE of rows
ROW = struct.Struct("<Q")
RULE = struct.Struct("<iiii")  # How; offsets of CFA, return address, rbp

FAILED = UNWIND_FAILED


class How(IntFlag):
    """How a rule is meant. Rule 0 is that nothing is known."""

    KNOWN = 1
    LAST = 2  # nobody called this function
    CFA_FROM_BP = 4  # the CFA is rbp + cfa, else rsp + cfa
    CFA_BEHIND = 8  # … or rather what lies there
    RA_FROM_SP = 16  # the return address is at rsp + ra, else at CFA + ra
    BP_SAVED = 32  # rbp is at CFA + bp, else it is as it was
    BP_FROM_SP = 64  # … or rather at rsp + bp
    BP_FROM_BP = 128  # … or rather at rbp + bp
    SIGNAL = 256  # the caller was interrupted: its pc is not a return address
