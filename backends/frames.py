"""The stack that compiled functions take, as the kernel's verifier counts it."""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.backends import isa
from bpfscript.backends.linking import reached
from bpfscript.diagnostics import CompilerBug, Diagnostic, ScriptError
from bpfscript.ir.core import Module
from bpfscript.manifest import CodeFunction
from bpfscript.passes.stack_slots import stack_slots
from bpfscript.target import Target
from bpfscript.types import align_up

LESS_FOR_SLOTS = (160, 0)  # bytes of stack for slots, where spilled registers take much


def fitting(
    module: Module, target: Target, compile: Callable[[], list[CodeFunction]]
) -> list[CodeFunction]:
    """The functions as `compile` makes them, with slots off the stack where they have to be.

    Only code generators know what they spill. Raises ScriptError for a program too deep to fit.
    """
    for less in (*LESS_FOR_SLOTS, None):
        compiled = compile()
        linked = reached(module.library, compiled).values()
        used = stack_of_chains([*compiled, *linked])
        if used <= isa.STACK_LIMIT:
            return compiled
        if less is not None:
            stack_slots(module, target, less)
    instrs = [i for f in module.functions for i in f.instructions() if i.span]
    calls = [i for i in instrs if i.op == "call_c"]
    hint = "have less on the stack of imported C" if calls else "nest loops over maps less deeply"
    message = f"the program needs {used} bytes of stack, {isa.STACK_LIMIT} are there"
    if not instrs or not (span := (calls or instrs)[0].span):
        raise CompilerBug(message)
    raise ScriptError([Diagnostic(message, span, hint=hint)])


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
