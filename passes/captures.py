"""What a callback asks of its program's context, asked by the program instead.

    for_each %f {function="body"}      →  store %f, argument {index=0} {off=16}; for_each …
    body(…, %f): %a = argument {index=0}  →  %a = load %f {off=16}

A callback gets key, value and frame, but no context. Cost: linear in the module for each level of
nested callbacks.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.diagnostics import CompilerBug, Diagnostic, ScriptError
from bpfscript.ir.core import Attr, Block, Function, Instr, Module, Value
from bpfscript.ir.types import I64

CONTEXT = (
    "probe_id", "argument", "return_value", "register", "function_address", "user_mode",
    "stack_trace",
)  # fmt: skip
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
        for use in list(_context_uses(callback)):
            key: _Use = (use.op, tuple(sorted(use.attrs.items())))
            if key not in offsets:
                offsets[key] = _room(_frame(function, loop), _size(use))
                _store_before(block, loop, use, offsets[key])
            if use.op == "stack_trace":
                _point(callback, use, frame, offsets[key])
            else:
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
    assert use.result
    value = Value(use.result.type)
    op: str = "store"
    attrs: dict[str, Attr] = {"off": offset}
    if use.op == "stack_trace":
        op, attrs = "copy", {"off": offset, "from": 0, "size": _size(use)}
    at = block.instrs.index(loop)
    block.instrs[at:at] = [
        Instr(use.op, [], dict(use.attrs), value, span=use.span),
        Instr(op, [loop.args[0], value], attrs, span=use.span),
    ]


def _point(callback: Function, use: Instr, frame: Value, offset: int) -> None:
    """Where in the frame it is, in place of making it."""
    block = next(block for block in callback.blocks if use in block.instrs)
    distance = Value(I64)
    at = block.instrs.index(use)
    block.instrs.insert(at, Instr("const", [], {"value": offset}, distance, span=use.span))
    use.op, use.args, use.attrs = "ptr_add", [frame, distance], {}


def _size(use: Instr) -> int:
    limit = use.attrs.get("limit")
    return 8 + 8 * limit if isinstance(limit, int) else 8  # types.Stack, or a word


def _context_uses(callback: Function) -> Iterator[Instr]:
    for instr in callback.instructions():
        if instr.op in CONTEXT:
            yield instr
        elif instr.op == "probe_name":
            if instr.span is None:
                raise CompilerBug(f"{instr.op} in a callback")
            message = "the probe's name cannot be asked for inside a loop over a map"
            hint = "store it in a variable before the loop"
            raise ScriptError([Diagnostic(message, instr.span, hint=hint)])


def _frame(function: Function, loop: Instr) -> Instr:
    """The slot that a loop's frame is."""
    for instr in function.instructions():
        if instr.op == "slot" and instr.result is loop.args[0]:
            return instr
    raise CompilerBug(f"{function.name}: the frame of a loop is not a slot of the same function")


def _room(slot: Instr, more: int) -> int:
    """Room for some bytes more behind a slot's memory."""
    size = slot.attrs["size"]
    assert isinstance(size, int)
    offset = (size + 7) // 8 * 8
    slot.attrs["size"] = offset + more
    return offset
