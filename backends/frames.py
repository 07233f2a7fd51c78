"""The stack that compiled functions take, as the kernel's verifier counts it."""

from __future__ import annotations

from bpfscript.backends import isa
from bpfscript.manifest import CodeFunction
from bpfscript.types import align_up

LESS_FOR_SLOTS = (160, 0)  # bytes of stack for slots, where spilled registers take much


def stack_of_chains(functions: list[CodeFunction]) -> int:
    """Bytes of stack of the longest chain of calls, as check_max_stack_depth counts them.

    Frames are rounded up to 32 bytes without a JIT; may_goto takes 16 more (do_misc_fixups).
    """
    callees = {
        f.name: {r.name for r in f.relocations if r.kind in ("call", "callback")} for f in functions
    }
    own: dict[str, int] = {}
    for function in functions:
        code = isa.decode(function.code)
        extra = 16 if any(i.code == isa.MAY_GOTO for i in code) else 0
        own[function.name] = align_up(max(isa.stack_use(code) + extra, 1), 32)

    def total(name: str) -> int:
        return own[name] + max(map(total, callees[name]), default=0)

    return max(map(total, own), default=0)
