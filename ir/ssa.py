"""Variables to SSA while a function is built.

Braun, Buchwald, Hack, Leißa, Mallon, Zwinkau: "Simple and Efficient Construction of Static Single
Assignment Form" (2013). A block is sealed once every edge to it is made; until then a read in it
makes a parameter whose arguments come later. Parameters that turn out to stand for one value
go in `finish`, in one sweep, instead of one by one.
"""

from __future__ import annotations

from collections import deque

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.builder import Builder
from bpfscript.ir.core import Block, Instr, Value
from bpfscript.ir.types import I64, KERNEL, STACK, USER, I, Type
from bpfscript.plain import dataclass


@dataclass(frozen=True, slots=True)
class _Param:
    variable: object
    block: Block
    index: int  # in block.params
    value: Value


class Variables:
    """Values of variables at the end of each block. A variable is any object with a hash.

    A read before any write gives 0. `finish` may replace values that `read` gave by others.
    """

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._values: dict[tuple[object, Block], Value] = {}
        self._sealed: set[Block] = set()
        self._waiting: dict[Block, list[_Param]] = {}  # of blocks not yet sealed
        self._pending: deque[_Param] = deque()  # without arguments; in order of their index
        self._params: list[_Param] = []

    def write(self, variable: object, block: Block, value: Value) -> None:
        self._values[variable, block] = value

    def read(self, variable: object, block: Block, type: Type) -> Value:
        """The variable's value at the end of a block, as far as that is built."""
        value = self._find(variable, block, type)
        self._complete()
        return value

    def seal(self, block: Block) -> None:
        """State that no further edge to this block will be made."""
        self._sealed.add(block)
        self._pending.extend(self._waiting.pop(block, ()))
        self._complete()

    def finish(self) -> None:
        """Drop the parameters that only ever stand for one value. Once, after the last `seal`."""
        if self._waiting:
            names = ", ".join(block.name for block in self._waiting)
            raise CompilerBug(f"blocks are not sealed: {names}")
        stands_for = self._trivial()

        def final(value: Value) -> Value:
            while value in stands_for:
                value = stands_for[value]
            return value

        for block in {param.block for param in self._params}:
            keep = [param not in stands_for for param in block.params]
            block.params = [p for p, kept in zip(block.params, keep, strict=True) if kept]
            for _, edge in self._builder.incoming.get(block, ()):
                edge.args = [a for a, kept in zip(edge.args, keep, strict=True) if kept]
        for instr in self._builder.function.instructions():
            instr.args = [final(a) for a in instr.args]
            for edge in instr.targets:
                edge.args = [final(a) for a in edge.args]

    def _find(self, variable: object, block: Block, type: Type) -> Value:
        path: list[Block] = []
        while (value := self._values.get((variable, block))) is None:
            incoming = self._builder.incoming.get(block, [])
            path.append(block)
            if block is not self._builder.function.blocks[0] and block not in self._sealed:
                param = self._param(variable, block, type)
                self._waiting.setdefault(block, []).append(param)
                value = param.value
            elif not incoming or (len(incoming) == 1 and incoming[0][0] in path):
                value = _undefined(block, type)
            elif len(incoming) == 1:
                block = incoming[0][0]
                continue
            else:
                param = self._param(variable, block, type)
                self._pending.append(param)
                value = param.value
            break
        for passed in path:
            self._values[variable, passed] = value
        return value

    def _param(self, variable: object, block: Block, type: Type) -> _Param:
        param = _Param(variable, block, len(block.params), Value(type))
        block.params.append(param.value)
        self._params.append(param)
        return param

    def _complete(self) -> None:
        while self._pending:
            param = self._pending.popleft()
            for predecessor, edge in self._builder.incoming.get(param.block, ()):
                value = self._find(param.variable, predecessor, param.value.type)
                edge.args.append(value)

    def _trivial(self) -> dict[Value, Value]:
        stands_for: dict[Value, Value] = {}
        changed = True
        while changed:
            changed = False
            for param in reversed(self._params):
                if param.value in stands_for:
                    continue
                given: set[Value] = set()
                for _, edge in self._builder.incoming.get(param.block, ()):
                    value = edge.args[param.index]
                    while value in stands_for:
                        value = stands_for[value]
                    given.add(value)
                given.discard(param.value)
                if len(given) <= 1:
                    only = given.pop() if given else _undefined(param.block, param.value.type)
                    stands_for[param.value] = only
                    changed = True
        return stands_for


def _undefined(block: Block, type: Type) -> Value:
    """What a variable is before it is written, made at the start of a block: 0, or unset memory."""
    if isinstance(type, I):
        made = [Instr("const", attrs={"value": 0}, result=Value(type))]
    elif type in (KERNEL, USER):
        zero = Value(I64)
        made = [Instr("const", attrs={"value": 0}, result=zero)]
        made.append(Instr("to_ptr", [zero], result=Value(type)))
    elif type == STACK:
        made = [Instr("slot", attrs={"size": 8}, result=Value(type))]
    else:
        raise CompilerBug(f"there is no undefined {type}")
    block.instrs[:0] = made
    result = made[-1].result
    assert result
    return result
