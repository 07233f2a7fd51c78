"""Replaces every high operation by legal ones: the one place that decides how a thing is done.

Features of the kernel, address spaces, the layout of contexts, strategies for maps: all of it is
chosen here, by `EXPANSIONS`, one function for each operation. Cost: linear.
"""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Entry, Function, Instr, Module, Value
from bpfscript.ir.ops import OPS
from bpfscript.target import Target

from . import (
    legal_aggregates,
    legal_context,
    legal_events,
    legal_iter,
    legal_maps,
    legal_memory,
    legal_strings,
    legal_typed,
    legal_unwind,
)
from .captures import capture_context
from .code import Code

EXPANSIONS: dict[str, Callable[[Code, Instr], Value | None]] = {
    "probe_id": legal_context.probe_id,
    "probe_name": legal_context.probe_name,
    "argument": legal_context.argument,
    "return_value": legal_context.return_value,
    "register": legal_context.register,
    "function_address": legal_context.function_address,
    "user_mode": legal_context.user_mode,
    "comm": legal_context.comm,
    "current_task": legal_context.current_task,
    "stack_trace": legal_unwind.stack_trace,
    "read_int": legal_memory.read_int,
    "read_sized": legal_memory.read_sized,
    "read_mem": legal_memory.read_mem,
    "read_string": legal_memory.read_string,
    "read_buffer": legal_memory.read_buffer,
    "pack": legal_memory.pack,
    "memory_eq": legal_memory.memory_eq,
    "bound": legal_events.bound,
    "divide": legal_events.divide,
    "emit": legal_events.emit,
    "string_eq": legal_strings.string_eq,
    "string_find": legal_strings.string_find,
    "string_length": legal_strings.string_length,
    "frame_count": legal_strings.frame_count,
    "map_read": legal_maps.map_read,
    "map_read_mem": legal_maps.map_read_mem,
    "map_has": legal_maps.map_has,
    "map_write": legal_maps.map_write,
    "map_delete": legal_maps.map_delete,
    "map_length": legal_maps.map_length,
    "map_clear": legal_maps.map_clear,
    "for_each": legal_maps.for_each,
    "aggregate": legal_aggregates.aggregate,
    "aggregate_read": legal_aggregates.aggregate_read,
}


def legalise(module: Module, target: Target) -> None:
    """Leave no high operation in the module. May add maps, events and functions to it."""
    _drop_unused(module)
    capture_context(module)
    callbacks = {
        str(i.attrs["function"])
        for f in module.functions
        for i in f.instructions()
        if i.op == "for_each"
    }
    for function in list(module.functions):
        _expand(Code(module, target, function))
    for function in module.functions:
        legal_maps.convention(function, callbacks)


def _drop_unused(module: Module) -> None:
    """Callbacks whose loop is never reached: nothing would capture for them."""
    functions = {f.name: f for f in module.functions}
    used = {f.name for f in module.functions if f.entry} or set(functions)
    todo = list(used)
    while todo:
        blocks = Graph(functions[todo.pop()]).order
        called = {
            str(i.attrs["function"]) for b in blocks for i in b.instrs if "function" in i.attrs
        }
        todo += called - used
        used |= called
    module.functions = [f for f in module.functions if f.name in used]


def _expand(code: Code) -> None:
    """Write the function's blocks again, with expansions where high operations stood."""
    function = code.function
    code.addresses = legal_typed.addresses(function)
    stands_for: dict[Value, Value] = {}
    for block in Graph(function).order:
        instrs, block.instrs = block.instrs, []
        code.at(block)
        if block is function.blocks[0] and function.entry:
            count = len(function.entry.probe.names)
            why = f"one program for {count} probes" if count > 1 else "one probe"
            if function.entry.section.startswith("tracepoint/syscalls"):
                why += "; a tracepoint of its own leaves other system calls alone"
            code.module.chose("program", function.name, function.entry.section, why)
            if function.entry.syscalls:
                legal_context.prologue(code)
            elif function.entry.kind == "iter" and not _is_pinned(function.entry):
                legal_iter.prologue(code)
        for instr in instrs:
            instr.args = [stands_for.get(a, a) for a in instr.args]
            code.span = instr.span
            if not OPS[instr.op].high:
                code.append(instr)
            elif instr.result is None:
                EXPANSIONS[instr.op](code, instr)
            else:
                new = EXPANSIONS[instr.op](code, instr)
                assert new is not None
                stands_for[instr.result] = new
    _rename(function, stands_for)
    order = Graph(function).order
    function.blocks = [b for b in order if b not in code.cold] + [
        b for b in order if b in code.cold
    ]


def _is_pinned(entry: Entry) -> bool:
    return any(place.symbol for place in entry.probe.attachments)


def _rename(function: Function, stands_for: dict[Value, Value]) -> None:
    """Block arguments, and operands that came before what defines them in the order of blocks."""
    for instr in function.instructions():
        instr.args = [stands_for.get(a, a) for a in instr.args]
        for edge in instr.targets:
            edge.args = [stands_for.get(a, a) for a in edge.args]
