"""What a callback asks of its program's context, asked by the program instead.

    for_each %f {function="body"}      →  store %f, argument {index=0} {off=16}; for_each …
    body(…, %f): %a = argument {index=0}  →  %a = load %f {off=16}

A callback gets key, value and frame, but no context. Cost: linear in the module for each level of
nested callbacks.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.diagnostics import CompilerBug, Diagnostic, ScriptError
from bpfscript.ir.core import Block, Function, Instr, Module, Value
from bpfscript.ir.types import I64

CONTEXT = ("probe_id", "argument", "return_value", "register", "function_address", "user_mode")
_Use = tuple[str, tuple[tuple[str, object], ...]]


def capture_context(module: Module) -> None:
    """Move context operations from the callbacks of each program into the program."""
    functions = {f.name: f for f in module.functions}
    for function in module.functions:
        if function.entry:
            for block in function.blocks:
                for instr in list(block.instrs):
                    if instr.op == "for_each":
                        _capture(functions, function, block, instr)


def _capture(functions: dict[str, Function], function: Function, block: Block, loop: Instr) -> None:
    offsets: dict[_Use, int] = {}
    for callback in _callbacks(functions, loop):
        frame = callback.params[-1]
        for use in _context_uses(callback):
            key: _Use = (use.op, tuple(sorted(use.attrs.items())))
            if key not in offsets:
                offsets[key] = _word(_frame(function, loop))
                _store_before(block, loop, use, offsets[key])
            use.op, use.args, use.attrs = "load", [frame], {"off": offsets[key]}


def _callbacks(functions: dict[str, Function], loop: Instr) -> Iterator[Function]:
    """The function a loop calls, and those of the loops inside it, which share its frame."""
    callback = functions[str(loop.attrs["function"])]
    yield callback
    for instr in callback.instructions():
        if instr.op == "for_each":
            if instr.args[0] is not callback.params[-1]:
                raise CompilerBug(f"{callback.name}: a loop has a frame of its own")
            yield from _callbacks(functions, instr)


def _store_before(block: Block, loop: Instr, use: Instr, offset: int) -> None:
    value = Value(I64)
    at = block.instrs.index(loop)
    block.instrs[at:at] = [
        Instr(use.op, [], dict(use.attrs), value, span=use.span),
        Instr("store", [loop.args[0], value], {"off": offset}, span=use.span),
    ]


def _context_uses(callback: Function) -> Iterator[Instr]:
    for instr in callback.instructions():
        if instr.op in CONTEXT:
            yield instr
        elif instr.op in ("stack_trace", "probe_name"):
            if instr.span is None:
                raise CompilerBug(f"{instr.op} in a callback")
            message = "the probe's stack and name cannot be asked for inside a loop over a map"
            hint = "store it in a variable before the loop"
            raise ScriptError([Diagnostic(message, instr.span, hint=hint)])


def _frame(function: Function, loop: Instr) -> Instr:
    """The slot that a loop's frame is."""
    for instr in function.instructions():
        if instr.op == "slot" and instr.result is loop.args[0]:
            return instr
    raise CompilerBug(f"{function.name}: the frame of a loop is not a slot of the same function")


def _word(slot: Instr) -> int:
    """Room for one more word behind a slot's memory."""
    size = slot.attrs["size"]
    assert isinstance(size, int)
    offset = (size + 7) // 8 * 8
    slot.attrs["size"] = offset + 8
    return offset
