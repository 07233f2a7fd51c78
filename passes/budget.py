"""Refuses a script that the kernel would refuse for its size, and says which one it is.

Branches reach 32767 instructions, and LLVM ends the process where one would have to go further, so
that is the limit of a function. All functions together may have a million instructions, which is
what the verifier looks at (BPF_COMPLEXITY_LIMIT_INSNS). The estimate is within a third. Cost:
linear.
"""

from __future__ import annotations

from bpfscript.diagnostics import CompilerBug, Diagnostic, ScriptError
from bpfscript.ir.core import Function, Instr, Module
from bpfscript.target import Target

LIMIT = 700_000
FUNCTION_LIMIT = 24_000
_INLINE = 32  # chunks that backends copy or fill one by one; more take a helper


def budget(module: Module, target: Target) -> None:
    sizes = {f.name: estimate(f) for f in module.functions}
    largest = max(module.functions, key=lambda f: sizes[f.name], default=None)
    if largest is None:
        return
    for size, limit in ((sizes[largest.name], FUNCTION_LIMIT), (sum(sizes.values()), LIMIT)):
        if size > limit:
            span = next((i.span for i in largest.instructions() if i.span), None)
            message = f"the program is too large: about {size} instructions, at most {limit} load"
            if span is None:
                raise CompilerBug(message)
            raise ScriptError([Diagnostic(message, span)])


def estimate(function: Function) -> int:
    """Machine instructions of a function, 8 bytes each."""
    return sum(map(_cost, function.instructions()))


def _cost(instr: Instr) -> int:
    size = instr.attrs.get("size", 0)
    match instr.op:
        case "const" | "slot":
            return 0
        case "copy":
            return 2 * min(_words(size), _INLINE)
        case "fill":
            return min(_words(size), _INLINE)
        case "call" | "call_function":
            return 1 + len(instr.args)
        case "branch" | "jump":
            return 1 + sum(len(edge.args) for edge in instr.targets)
        case "map_ptr" | "map_value" | "func_ptr" | "rodata" | "select":
            return 2
    return 1


def _words(size: object) -> int:
    assert isinstance(size, int)
    return size // 8 + (size % 8).bit_count()
