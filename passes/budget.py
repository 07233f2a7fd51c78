"""Refuses a script that the kernel would refuse for its size, and says which one it is.

Branches reach 32767 instructions, and LLVM ends the process where one would have to go further, so
that is the limit of a function. All functions together may have a million instructions, which is
what the verifier looks at (BPF_COMPLEXITY_LIMIT_INSNS). The estimate is within a third. A program
may use 64 maps (MAX_USED_MAPS). Cost: linear, times functions that share callbacks.
"""

from __future__ import annotations

from bpfscript.diagnostics import CompilerBug, Diagnostic, ScriptError, Span
from bpfscript.ir.core import Function, Instr, Module
from bpfscript.manifest import Internal
from bpfscript.target import Target

LIMIT = 700_000
FUNCTION_LIMIT = 24_000
MAPS = 64
_IMPLIED = {"rodata": Internal.RODATA, "opaque": Internal.ZERO}
_INLINE = 32  # chunks that backends copy or fill one by one; more take a helper


def budget(module: Module, target: Target) -> None:
    _refuse_large(module)
    functions = {f.name: f for f in module.functions}
    for function in module.functions:
        if function.entry:
            _refuse_many_maps(function, functions)


def _refuse_many_maps(entry: Function, functions: dict[str, Function]) -> None:
    used: dict[str, Span | None] = {}
    todo, seen = [entry], {entry}
    for function in todo:
        for instr in function.instructions():
            if name := _IMPLIED.get(instr.op) or str(instr.attrs.get("map", "")):
                used.setdefault(name, instr.span)
            callee = functions.get(str(instr.attrs.get("function")))
            if callee and callee not in seen:
                seen.add(callee)
                todo.append(callee)
    if len(used) > MAPS:
        own = [span for name, span in used.items() if name.startswith("@") and span]
        message = f"the probe uses {len(used)} maps, at most {MAPS} are possible"
        hint = "make several of them one, with one more key, or split the probe"
        if not own:
            raise CompilerBug(message)
        raise ScriptError([Diagnostic(message, own[-1], hint=hint)])


def _refuse_large(module: Module) -> None:
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
        case "call" | "call_function" | "call_c":
            return 1 + len(instr.args)
        case "branch" | "jump":
            return 1 + sum(len(edge.args) for edge in instr.targets)
        case "map_ptr" | "map_value" | "func_ptr" | "rodata" | "select":
            return 2
    return 1


def _words(size: object) -> int:
    assert isinstance(size, int)
    return size // 8 + (size % 8).bit_count()
