"""Where the instructions of a function start: a breakpoint elsewhere would corrupt the program."""

from __future__ import annotations

from bpfscript.target import UserSymbol

from .elf_functions import elf_file

_X86, _X86_64, _AARCH64 = 3, 62, 183  # EM_*, elf.h
_AARCH64_SIZE = 4  # bytes of every instruction


def instruction_starts(path: str, symbol: UserSymbol) -> frozenset[int]:
    """Distances from the function's start; none where its machine is not known.

    Raises MachineError for what is not ELF.
    """
    with elf_file(path) as image:
        code, machine = image.read(symbol.offset, symbol.size), image.machine
    if machine == _AARCH64:
        return frozenset(range(0, symbol.size, _AARCH64_SIZE))
    if machine not in (_X86, _X86_64):
        return frozenset()
    from capstone import CS_ARCH_X86, CS_MODE_32, CS_MODE_64, Cs

    decoder = Cs(CS_ARCH_X86, CS_MODE_64 if machine == _X86_64 else CS_MODE_32)
    return frozenset(address for address, _, _, _ in decoder.disasm_lite(code, 0))
