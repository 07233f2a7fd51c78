"""Arguments of static probes, as the assembler of x86-64 wrote them → where their values are.

-4@%edi               the low half of a register, signed
8@-16(%rbp)           8 bytes of memory, unsigned
-4@-24(%rsp,%rax,4)   memory at rsp + 4 * rax - 24
1@flag+2(%rip)        memory at an address of the file
4@$5                  a constant
8f@%xmm0              floating-point: the language has no value for it
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bpfscript.plain import dataclass

_SIZES = (1, 2, 4, 8)
_SPECIFICATION = re.compile(r"(?:(?P<sign>-?)(?P<size>\d+)(?P<float>f?)@)?(?P<operand>\S+)")
_MEMORY = re.compile(
    r"(?P<address>[^()]*)(?:\((?:%(?P<base>\w+))?(?:,%(?P<index>\w+)(?:,(?P<scale>[1248]))?)?\))?"
)
_NUMBER = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|\d+)")
_TERM = re.compile(r"([+-]?)([^+-]+)")
_LEGACY = ("ax", "bx", "cx", "dx")
_POINTERS = ("si", "di", "bp", "sp")

AddressOf = Callable[[str], int | None]


class ArgumentFault(Exception):
    """No program can get the value. `str()` says why."""


@dataclass(frozen=True, slots=True)
class UsdtArgument:
    """Where an integer of `size` bytes is.

    constant        `value`
    register        the bits of register `base` from bit `value` on
    memory          in user memory, at base + index * scale + value; registers may be ""
    """

    kind: str
    size: int
    signed: bool
    value: int = 0
    base: str = ""  # as in arch.Arch.registers
    index: str = ""
    scale: int = 1


def parse(specification: str, address: int, address_of: AddressOf) -> UsdtArgument:
    """Understand one argument. Raises ArgumentFault.

    address: of the probe, in the file. address_of: of a variable, in the file.
    """
    found = _SPECIFICATION.fullmatch(specification)
    if not found:
        raise ArgumentFault(f"'{specification}' is not understood")
    if found["float"]:
        raise ArgumentFault("it is a floating-point number")
    size, signed = int(found["size"] or 8), bool(found["sign"])
    if size not in _SIZES:
        raise ArgumentFault(f"it has {size} bytes")
    operand = found["operand"]
    if operand.startswith("$"):
        return UsdtArgument("constant", size, signed, _number(operand[1:], address_of))
    if operand.startswith("%"):
        base, shift = register(operand[1:])
        return UsdtArgument("register", size, signed, shift, base)
    return _memory(operand, size, signed, address, address_of)


def _memory(
    operand: str, size: int, signed: bool, address: int, address_of: AddressOf
) -> UsdtArgument:
    found = _MEMORY.fullmatch(operand)
    if not found:
        raise ArgumentFault(f"'{operand}' is not understood")
    base, index, scale = found["base"] or "", found["index"] or "", int(found["scale"] or 1)
    at = _number(found["address"], address_of) if found["address"] else 0
    if base in ("rip", "eip"):
        # The register has the address of the probe, wherever the file is loaded.
        symbolic = not _NUMBER.fullmatch(found["address"] or "0")
        return UsdtArgument("memory", size, signed, at - address if symbolic else at, "ip")
    names = [register(name)[0] if name else "" for name in (base, index)]
    return UsdtArgument("memory", size, signed, at, names[0], names[1], scale)


def _number(text: str, address_of: AddressOf) -> int:
    """`5`, `-0x10`, `gs+4`, `4+gs`."""
    total = 0
    if "".join(found[0] for found in _TERM.finditer(text)) != text or not text:
        raise ArgumentFault(f"'{text}' is not understood")
    for sign, term in _TERM.findall(text):
        if _NUMBER.fullmatch(term):
            value: int | None = int(term, 16 if term[:2].lower() == "0x" else 10)
        else:
            value = address_of(term)
        if value is None:
            raise ArgumentFault(f"the file has no variable '{term}'")
        total += -value if sign == "-" else value
    return total


def register(name: str) -> tuple[str, int]:
    """`r10d` → ("r10", 0), `ah` → ("ax", 8): the whole register, and the first bit meant.

    Raises ArgumentFault for one that is not saved when a probe fires.
    """
    if found := re.fullmatch(r"(r(?:8|9|1[0-5]))[dwb]?", name):
        return found[1], 0
    whole = name[1:] if name[:1] in ("r", "e") else name
    if whole in _LEGACY + _POINTERS:
        return whole, 0
    if name[:-1] in _POINTERS and name[-1:] == "l":  # sil
        return name[:-1], 0
    if len(name) == 2 and name[0] in "abcd" and name[1] in "lh":
        return f"{name[0]}x", 8 if name[1] == "h" else 0
    raise ArgumentFault(f"it is in the register {name}, which probes cannot read")
