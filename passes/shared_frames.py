"""Frames that the kernel's loops share with their callbacks, once they have left the stack.

    call for_each_map_elem %m, %body, %frame, 0  →  call for_each_map_elem %m, %body, 0, 0
    body(…, %f): store %f, %v {off=8}            →  body(…, %f): %s = slot …; store %s, %v {off=8}

A callback finds the frame by itself where `stack_slots` put it. Cost: linear in the functions that
have such frames.
"""

from __future__ import annotations

from bpfscript.ir.core import Block, Function, Instr, Module, Value
from bpfscript.ir.types import I64, STACK

from .values import definitions, replace

LOOPS = ("for_each_map_elem", "loop")  # helpers: the second argument is called, the third shared


class SharedFrames:
    """Of one module; entries come before their callbacks."""

    def __init__(self, module: Module) -> None:
        self.functions = {f.name: f for f in module.functions}
        self.places: dict[str, int] = {}  # in scratch memory, by callback

    def leave(self, function: Function, places: dict[Value, int]) -> None:
        """Slots of a function are elsewhere: what loops get of them is null."""
        for block in function.blocks:
            for instr in _loops(block):
                if instr.args[2] in places:
                    self._note(function, instr, places[instr.args[2]])
                    _hand_over_null(block, instr)

    def take(self, function: Function) -> Value | None:
        """A slot in place of the frame that a callback does not get."""
        if function.name not in self.places:
            return None
        frame, slot = function.params[-1], Value(STACK)
        for block in function.blocks:
            for instr in _loops(block):
                if instr.args[2] is frame:
                    _hand_over_null(block, instr)
        replace(function, {frame: slot})
        function.blocks[0].instrs.insert(0, Instr("slot", attrs={"size": 8}, result=slot))
        return slot

    def _note(self, caller: Function, loop: Instr, place: int) -> None:
        """The loops inside a loop have its frame too."""
        callback = self.functions[called_back(caller)[loop]]
        self.places[callback.name] = place
        for inner in called_back(callback):
            if inner.args[2] is callback.params[-1]:
                self._note(callback, inner, place)


def called_back(function: Function) -> dict[Instr, str]:
    """The calls of a function that are loops of the kernel's, and what each calls in turn."""
    calls = [loop for block in function.blocks for loop in _loops(block)]
    made = definitions(function) if calls else {}
    return {loop: str(made[loop.args[1]].attrs["function"]) for loop in calls}


def _loops(block: Block) -> list[Instr]:
    return [i for i in block.instrs if i.attrs.get("helper") in LOOPS]


def _hand_over_null(block: Block, loop: Instr) -> None:
    null = Value(I64)
    at = block.instrs.index(loop)
    block.instrs.insert(at, Instr("const", attrs={"value": 0}, result=null))
    loop.args[2] = null
