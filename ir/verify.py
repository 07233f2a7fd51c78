"""Whether IR keeps its rules. Every pass takes and gives IR that does; the rest is a bug of ours.

Of an instruction
  1. It keeps its row of OPS: operands, result, attributes, number of targets (see `signatures`).
  2. With `legal`, it is not a high operation.
Of a function
  3. The first block has the function's parameters, and no edge goes to it.
  4. A block ends in a terminator, and has none before that.
  5. An edge goes to a block of the function, with an argument of the right type for each parameter.
  6. A value is defined once, and its definition dominates each use. Unreachable blocks are exempt.
  7. Memory that belongs to the value of a high operation is not written to.
Of a module
  8. Names of functions are unique; a program has the one parameter ptr<ctx>.
  9. Attributes name maps, events and functions that exist; keys, values, fields, arguments fit.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Function, Instr, Module, Value
from bpfscript.ir.ops import ENDS, OPS
from bpfscript.ir.printer import instruction_text, print_function
from bpfscript.ir.signatures import faults
from bpfscript.ir.types import CTX, I64, MAP, STACK, I, Ptr, Type
from bpfscript.manifest import PRESENT, MapDef


def verify(ir: Function | Module, *, legal: bool = False) -> None:
    """Raises CompilerBug: a line for each broken rule, and the text of the functions at fault."""
    if isinstance(ir, Function):
        found = list(_function_faults(ir, legal))
        text = print_function(ir) if found else ""
    else:
        found, text = [], ""
        for function in ir.functions:
            own = [*_function_faults(function, legal), *_module_faults(ir, function)]
            found += [f"{function.name}: {fault}" for fault in own]
            text += print_function(function) if own else ""
        names = [f.name for f in ir.functions]
        found += [f"two functions {n}" for n in sorted(set(names)) if names.count(n) > 1]
    if found:
        raise CompilerBug("\n".join(["wrong IR", *found, text]))


def _function_faults(function: Function, legal: bool) -> Iterator[str]:
    if not function.blocks:
        yield "it has no blocks"
        return
    text = instruction_text(function)
    for instr in function.instructions():
        yield from (f"`{text[instr]}`: {fault}" for fault in faults(instr))
        if legal and instr.op in OPS and OPS[instr.op].high:
            yield f"`{text[instr]}`: is a high operation"
    if function.params != function.blocks[0].params:
        yield "the first block does not have the function's parameters"
    shape = [fault for block in function.blocks for fault in _block_faults(function, block)]
    yield from shape
    if not shape:
        yield from _definition_faults(function, text)
        yield from _write_faults(function, text)


def _block_faults(function: Function, block: Block) -> Iterator[str]:
    ends = [bool(i.op in OPS and ENDS & OPS[i.op].effects) for i in block.instrs]
    if not ends or not ends[-1] or any(ends[:-1]):
        yield f"block {block.name} does not have its only terminator at the end"
    for edge in (e for i in block.instrs for e in i.targets):
        where = f"edge from {block.name} to {edge.block.name}"
        if edge.block not in function.blocks:
            yield f"{where}: no block of this function"
        elif edge.block is function.blocks[0]:
            yield f"{where}: goes to the first block"
        given, wanted = [a.type for a in edge.args], [p.type for p in edge.block.params]
        if given != wanted:
            yield f"{where}: gives {_types(given)} for {_types(wanted)}"


def _definition_faults(function: Function, text: dict[Instr, str]) -> Iterator[str]:
    graph = Graph(function)
    home: dict[Value, tuple[Block, int]] = {}
    for block in function.blocks:
        made = [(p, -1) for p in block.params]
        made += [(i.result, n) for n, i in enumerate(block.instrs) if i.result]
        for value, n in made:
            if value in home:
                yield f"block {block.name}: a value is defined a second time"
            home[value] = block, n
    for block in graph.order:
        for n, instr in enumerate(block.instrs):
            for value in [*instr.args, *(a for e in instr.targets for a in e.args)]:
                if value not in home:
                    yield f"`{text[instr]}`: an operand is not defined"
                    continue
                source, m = home[value]
                if not (m < n if source is block else graph.dominates(source, block)):
                    yield f"`{text[instr]}`: the definition of an operand does not dominate it"


def _write_faults(function: Function, text: dict[Instr, str]) -> Iterator[str]:
    made = {i.result: i for i in function.instructions() if i.result}
    for instr in function.instructions():
        if instr.op not in ("store", "fill", "copy"):
            continue
        root = made.get(instr.args[0])
        while root and root.op == "ptr_add":
            root = made.get(root.args[0])
        if root and root.op in OPS and OPS[root.op].high:
            yield f"`{text[instr]}`: writes to the value of {root.op}"


def _module_faults(module: Module, function: Function) -> Iterator[str]:
    if function.entry and [p.type for p in function.params] != [CTX]:
        yield "a program has the one parameter ptr<ctx>"
    text = instruction_text(function)
    functions = {f.name: f for f in module.functions}
    for instr in function.instructions():
        for fault in _reference_faults(module, functions, instr):
            yield f"`{text[instr]}`: {fault}"


def _reference_faults(
    module: Module, functions: dict[str, Function], instr: Instr
) -> Iterator[str]:
    args = [a.type for a in instr.args]
    name = instr.attrs.get("map")
    if isinstance(name, str):
        if name not in module.maps:
            yield f"there is no map {name}"
        else:
            yield from _map_faults(module.maps[name], instr.op, args, instr.result)
    event = instr.attrs.get("event")
    if isinstance(event, int):
        if not 0 <= event < len(module.events):
            yield f"there is no event {event}"
        elif len(args) != len(module.events[event].fields):
            yield f"{len(args)} operands for {len(module.events[event].fields)} fields"
        else:
            for i, (arg, field) in enumerate(zip(args, module.events[event].fields, strict=True)):
                yield from _size_faults(f"operand {i + 1}", arg, field.size)
    called = instr.attrs.get("function")
    if isinstance(called, str):
        if called not in functions:
            yield f"there is no function {called}"
            return
        params = [p.type for p in functions[called].params]
        if instr.op == "call_function" and params != args:
            yield f"gives {_types(args)} for {_types(params)}"
        if instr.op == "for_each" and params != [MAP, MAP, STACK]:
            yield f"{called} takes {_types(params)}, not {_types([MAP, MAP, STACK])}"


def _map_faults(map: MapDef, op: str, args: list[Type], result: Value | None) -> Iterator[str]:
    if args and op.startswith(("map_", "aggregate")):
        yield from _size_faults("the key", args[0], map.key_size)
    size = map.value_size - (PRESENT if map.labels is not None else 0)
    size = map.value.size if map.labels is not None and map.value else map.value_size
    if op == "map_write":
        yield from _size_faults("the value", args[1], size)
    if op == "map_read" and result:
        yield from _size_faults("the value", result.type, size)
    if op == "aggregate" and any(a != I64 for a in args[1:]):
        yield "an argument of an aggregate is not i64"


def _size_faults(what: str, type: Type, size: int) -> Iterator[str]:
    if isinstance(type, I) and type.bits != 8 * size:
        yield f"{what} is {type} where {size} bytes belong"
    elif isinstance(type, Ptr) and type.space in ("kernel", "user", "map_object"):
        yield f"{what} is {type}, which is not direct memory"


def _types(types: list[Type]) -> str:
    return f"({', '.join(map(str, types))})"
