"""Every pointer that a lookup gives is compared with null before it is used.

    %p = call map_lookup_elem …; %v = load %p
    →  %p = call …; %n = is_null %p; branch %n, leave, ok; ok: %v = load %p     leave: return 0

The verifier refuses a use of `map_value_or_null` (check_mem_access). What the compiler writes
itself is tested already; this makes it hold for everything. Cost: linear in uses.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Edge, Function, Instr, Value
from bpfscript.ir.helpers import HELPERS
from bpfscript.ir.types import I1, I64

from .values import definitions


def null_checks(function: Function) -> None:
    """Ends with 0 where a lookup that nothing tested finds nothing."""
    leave: Block | None = None
    while (fault := _fault(function)) is not None:
        if leave is None:
            leave = _leave_block()
            function.blocks.append(leave)
        _insert(function, fault, leave)


def _maybe_null(function: Function) -> set[Value]:
    """Results of lookups, and the parameters that they reach."""
    found = {
        i.result
        for i in function.instructions()
        if i.op == "call"
        and i.result
        and HELPERS[str(i.attrs["helper"])].result in ("map?", "ring?")
    }
    graph, made = Graph(function), definitions(function)
    changed = True
    while changed:
        changed = False
        for block in graph.order:
            for edge in block.terminator.targets:
                for param, arg in zip(edge.block.params, edge.args, strict=True):
                    if arg in found and param not in found and not _tested(graph, made, arg, block):
                        found.add(param)
                        changed = True
    return found


def _fault(function: Function) -> Value | None:
    """A pointer that may be null where it is used."""
    graph, made = Graph(function), definitions(function)
    suspects = _maybe_null(function)
    for block in graph.order:
        for instr in block.instrs:
            if instr.op == "is_null":
                continue
            for value in instr.args:
                if value in suspects and not _tested(graph, made, value, block):
                    return value
    return None


def _tested(graph: Graph, made: dict[Value, Instr], value: Value, block: Block) -> bool:
    """Whether a test for null, found not to be, dominates a block."""
    while True:
        above = graph.dominator[block]
        if above is block:
            return False
        if graph.predecessors[block] == [above]:
            taken = _not_null_edge(above.terminator, made, value)
            if taken is not None and taken.block is block:
                return True
        block = above


def _not_null_edge(end: Instr, made: dict[Value, Instr], value: Value) -> Edge | None:
    if end.op != "branch" or end.targets[0].block is end.targets[1].block:
        return None
    test, edge = made.get(end.args[0]), 1
    while test and test.op == "xor":
        other = made.get(test.args[1])
        if other is None or other.op != "const" or other.attrs["value"] not in (1, -1):
            return None
        test, edge = made.get(test.args[0]), 1 - edge
    if test and test.op == "is_null" and test.args[0] is value:
        return end.targets[edge]
    return None


def _leave_block() -> Block:
    zero = Value(I64)
    return Block(
        "leave", [], [Instr("const", attrs={"value": 0}, result=zero), Instr("return", [zero])]
    )


def _insert(function: Function, value: Value, leave: Block) -> None:
    """Test a pointer where it is defined."""
    for block in function.blocks:
        at = 0 if value in block.params else None
        for i, instr in enumerate(block.instrs):
            if instr.result is value:
                at = i + 1
        if at is not None:
            rest = Block(f"{block.name}.found", [], block.instrs[at:])
            null = Value(I1)
            block.instrs[at:] = [
                Instr("is_null", [value], result=null),
                Instr("branch", [null], targets=[Edge(leave), Edge(rest)]),
            ]
            function.blocks.insert(function.blocks.index(block) + 1, rest)
            return
