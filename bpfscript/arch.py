"""What differs between machines, a row each. Another machine is added by filling its row.

Offsets are bytes in struct pt_regs (arch/*/include/asm/ptrace.h).
"""

from __future__ import annotations

from bpfscript.plain import dataclass


@dataclass(frozen=True, slots=True)
class Arch:
    registers: dict[str, int]
    arguments: tuple[str, ...]  # registers of a function's arguments
    syscall_arguments: tuple[str, ...]  # and of a system call's, as saved at entry
    syscall_number: str
    return_value: str
    instruction_pointer: str
    stack_pointer: str
    compat_flag: int  # bit of thread_info.status that marks a 32-bit system call; 0: no such bit


_X86_64 = [
    "r15",
    "r14",
    "r13",
    "r12",
    "bp",
    "bx",
    "r11",
    "r10",
    "r9",
    "r8",
    "ax",
    "cx",
    "dx",
    "si",
    "di",
    "orig_ax",
    "ip",
    "cs",
    "flags",
    "sp",
    "ss",
]

ARCHES: dict[str, Arch] = {
    "x86_64": Arch(
        registers={name: 8 * i for i, name in enumerate(_X86_64)}
        | {"orig_rax": 15 * 8, "pc": 16 * 8},
        arguments=("di", "si", "dx", "cx", "r8", "r9"),
        syscall_arguments=("di", "si", "dx", "r10", "r8", "r9"),
        syscall_number="orig_ax",
        return_value="ax",
        instruction_pointer="ip",
        stack_pointer="sp",
        compat_flag=2,  # TS_COMPAT, arch/x86/include/asm/thread_info.h
    ),
}
