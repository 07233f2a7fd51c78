"""Refuses a script that the kernel would refuse for its size, and says which one it is.

The verifier looks at a million instructions (BPF_COMPLEXITY_LIMIT_INSNS) and takes no longer
program. The estimate errs on the high side. Cost: linear.
"""

from __future__ import annotations

from bpfscript.diagnostics import CompilerBug, Diagnostic, ScriptError
from bpfscript.ir.core import Function, Instr, Module
from bpfscript.target import Target

LIMIT = 900_000


def budget(module: Module, target: Target) -> None:
    sizes = {f.name: estimate(f) for f in module.functions}
    total = sum(sizes.values())
    if total > LIMIT and (largest := max(sizes, key=lambda name: sizes[name])):
        function = next(f for f in module.functions if f.name == largest)
        span = next((i.span for i in function.instructions() if i.span), None)
        message = f"the program is too large: about {total} instructions, at most {LIMIT} load"
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
            return 2 * _words(size)
        case "fill":
            return _words(size)
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
