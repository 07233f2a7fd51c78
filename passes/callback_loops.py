"""Loops of the kernel's that call back loops of ours are inside a loop that goes round once.

    call for_each_map_elem %m, %body, %frame, 0
    →  jump round   round: call …; %z = opaque 0; branch (ne %z, 0), again, on   again: jump round

From 6.17 on the verifier frees states of what it has finished, but for those of loops whose rounds
it has yet to compare (incomplete_read_marks, kernel/bpf/verifier.c). Callbacks are no loops to it,
and the states of their rounds are missed by the loops inside: EFAULT at best, a null pointer at
worst. 7.2 has no such fault. Cost: linear in the functions that have such calls.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Edge, Function, Instr, Module, Value
from bpfscript.ir.types import I1, I64

from .shared_frames import called_back
from .values import definitions

_FAULTY = ((6, 17), (7, 2))  # from the one, before the other


def callback_loops(module: Module, release: tuple[int, int, int]) -> set[Block]:
    """Headers of the loops that were made in functions which are not called back themselves."""
    if not _FAULTY[0] <= release < _FAULTY[1]:
        return set()
    functions = {f.name: f for f in module.functions}
    calling = {f: found for f in module.functions if (found := called_back(f))}
    callbacks = {name for found in calling.values() for name in found.values()}
    made: set[Block] = set()
    for function, found in calling.items():
        if function.name in callbacks:
            continue
        inside = {block for loop in Graph(function).loops() for block in loop.body}
        for call, name in found.items():
            if _loops(functions[name], functions) and not any(call in b.instrs for b in inside):
                made.add(_round(function, call))
    return made


def _loops(function: Function, functions: dict[str, Function]) -> bool:
    """Whether a function, or what it calls, has loops, as C may."""
    called = {str(i.attrs["function"]) for i in function.instructions() if "function" in i.attrs}
    own = Graph(function).loops() or any(i.op == "call_c" for i in function.instructions())
    return bool(own) or any(_loops(functions[name], functions) for name in called)


def _round(function: Function, call: Instr) -> Block:
    """The block of its own that a call is put into."""
    made = definitions(function)
    before = next(block for block in function.blocks if call in block.instrs)
    at = before.instrs.index(call)
    round, again, on = Block("round"), Block("again"), Block("on")
    on.instrs = before.instrs[at + 1 :]
    before.instrs[at:] = [_jump(round, call)]
    again.instrs = [_jump(round, call)]
    zero, hidden, more = Value(I64), Value(I64), Value(I1)
    for index, argument in enumerate(call.args):
        maker = made.get(argument)
        if maker and maker.op in ("const", "map_ptr", "func_ptr"):
            call.args[index] = Value(argument.type)
            round.instrs.append(Instr(maker.op, [], dict(maker.attrs), call.args[index]))
    round.instrs += [
        call,
        Instr("const", [], {"value": 0}, zero),
        Instr("opaque", [zero], result=hidden),
        Instr("ne", [hidden, zero], result=more),
        Instr("branch", [more], targets=[Edge(again), Edge(on)], span=call.span),
    ]
    place = function.blocks.index(before) + 1
    function.blocks[place:place] = [round, on, again]
    return round


def _jump(to: Block, call: Instr) -> Instr:
    return Instr("jump", [], targets=[Edge(to)], span=call.span)
