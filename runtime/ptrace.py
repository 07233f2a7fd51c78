"""A child that runs as far as its first own instruction: the dynamic linker has done its work then.

By ptrace(2): past exec, then to a breakpoint at the entry point. Only the thread that seized a
process may go on with it, so it is let go at once, and is stopped by a signal from then on.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
from collections.abc import Callable

from bpfscript.target import MachineError

_POKE_TEXT, _POKE_USER, _CONT, _DETACH, _SEIZE = 4, 6, 7, 17, 0x4206  # PTRACE_*
_PEEK_TEXT, _PEEK_USER = 1, 3
_TRACE_EXEC, _EXIT_KILL, _EVENT_EXEC = 1 << 4, 1 << 20, 4
_RIP = 16 * 8  # offset in struct user: regs.rip, x86-64
_AT_ENTRY = 9  # auxiliary vector: address of the program's entry point
_BREAKPOINT = 0xCC  # int3


def run_to_entry(pid: int, execute: Callable[[], None]) -> int | None:
    """Stop a child of ours, which `execute` lets call exec, at its entry point.

    The status, as of waitpid(2), if it ends before. Raises MachineError if it must not be traced.
    """
    traced = _Traced(pid)
    execute()
    return traced.run_to_entry()


class _Traced:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._call = ctypes.CDLL(None, use_errno=True).ptrace
        self._call.restype = ctypes.c_long
        self._call.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._ptrace(_SEIZE, 0, _TRACE_EXEC | _EXIT_KILL)

    def run_to_entry(self) -> int | None:
        ended = self._run_until(lambda status: status >> 8 == signal.SIGTRAP | _EVENT_EXEC << 8)
        if ended is not None:
            return ended
        entry = self._entry()
        code = self._peek(_PEEK_TEXT, entry)
        self._ptrace(_POKE_TEXT, entry, code & ~0xFF | _BREAKPOINT)
        self._ptrace(_CONT)
        ended = self._run_until(
            lambda status: (
                os.WSTOPSIG(status) == signal.SIGTRAP and self._peek(_PEEK_USER, _RIP) == entry + 1
            )
        )
        if ended is None:
            self._ptrace(_POKE_TEXT, entry, code)
            self._ptrace(_POKE_USER, _RIP, entry)
            self._ptrace(_DETACH, 0, signal.SIGSTOP)
        return ended

    def _run_until(self, arrived: Callable[[int], bool]) -> int | None:
        """Pass signals on until it stops there; the status if it ends before."""
        while True:
            _, status = os.waitpid(self.pid, 0)
            if not os.WIFSTOPPED(status):
                return status
            if arrived(status):
                return None
            is_signal = status >> 16 == 0 and os.WSTOPSIG(status) != signal.SIGTRAP
            self._ptrace(_CONT, 0, os.WSTOPSIG(status) if is_signal else 0)

    def _entry(self) -> int:
        with open(f"/proc/{self.pid}/auxv", "rb") as file:
            vector: dict[int, int] = dict(struct.iter_unpack("<QQ", file.read()))
        return vector[_AT_ENTRY]

    def _peek(self, request: int, address: int) -> int:
        return self._ptrace(request, address) % (1 << 64)

    def _ptrace(self, request: int, address: int = 0, data: int = 0) -> int:
        ctypes.set_errno(0)
        result: int = self._call(request, self.pid, address, data)
        if result == -1 and (number := ctypes.get_errno()):
            raise MachineError(
                f"dw_ustack: the child cannot be stopped at its start: {os.strerror(number)}"
            )
        return result
