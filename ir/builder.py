"""Appends instructions to a function, each checked against its row of OPS as it is made."""

from __future__ import annotations

from bpfscript.diagnostics import CompilerBug, Span
from bpfscript.ir.core import Attr, Block, Edge, Function, Instr, Value
from bpfscript.ir.helpers import HELPERS
from bpfscript.ir.ops import ENDS, OPS
from bpfscript.ir.signatures import HELPER_RESULTS, faults, result_type
from bpfscript.ir.types import I64, VOID, I, Type


class Builder:
    """Appends at the end of the block `current`; instructions get the `span` of the moment.

    The first block takes over the function's parameters. Every method raises CompilerBug where the
    instruction would break its row.
    """

    def __init__(self, function: Function) -> None:
        self.function = function
        self.current: Block | None = function.blocks[-1] if function.blocks else None
        self.span: Span | None = None
        self.incoming: dict[Block, list[tuple[Block, Edge]]] = {}  # ways into each block

    def block(self, name: str, *params: Type) -> Block:
        """A new, empty block at the end of the function; it does not become the current one."""
        if self.function.blocks:
            block = Block(name, [Value(t) for t in params])
        elif params:
            raise CompilerBug("the first block has the function's parameters and no others")
        else:
            block = Block(name, list(self.function.params))
        self.function.blocks.append(block)
        return block

    def at(self, block: Block) -> None:
        """Go on at the end of a block."""
        self.current = block

    @property
    def ended(self) -> bool:
        """Whether the current block has its terminator already."""
        block = self._block()
        return bool(block.instrs) and bool(OPS[block.terminator.op].effects & ENDS)

    def emit(
        self, op: str, /, *args: Value, type: Type | None = None, **attrs: Attr
    ) -> Value | None:
        """Append an instruction. `type` is for rows whose result is `any`; see `value` too."""
        return self._append(op, args, attrs, type, [])

    def value(self, op: str, /, *args: Value, type: Type | None = None, **attrs: Attr) -> Value:
        """`emit` for an instruction that has a result."""
        result = self._append(op, args, attrs, type, [])
        if result is None:
            raise CompilerBug(f"{op} has no result")
        return result

    def const(self, value: int, type: I = I64) -> Value:
        return self.value("const", type=type, value=value)

    def load(self, pointer: Value, type: I, off: int = 0) -> Value:
        return self.value("load", pointer, type=type, off=off)

    def store(self, pointer: Value, value: Value, off: int = 0) -> None:
        self.emit("store", pointer, value, off=off)

    def copy(self, to: Value, source: Value, size: int, off: int = 0, source_off: int = 0) -> None:
        """`size` bytes to `to` + `off` from `source` + `source_off`."""
        attrs: dict[str, Attr] = {"off": off, "from": source_off, "size": size}
        self._append("copy", (to, source), attrs, None, [])

    def call(self, helper: str, *args: Value) -> Value:
        """Call a row of HELPERS, whose result is i64, ptr<map>, ptr<ring> or ptr<kernel>."""
        if helper not in HELPERS:
            raise CompilerBug(f"call: there is no helper {helper}")
        result = HELPER_RESULTS[HELPERS[helper].result]
        return self.value("call", *args, type=result, helper=helper)

    def jump(self, block: Block, *args: Value) -> None:
        self._append("jump", (), {}, None, [_edge(block, args)])

    def branch(
        self,
        condition: Value,
        then: Block,
        otherwise: Block,
        then_args: tuple[Value, ...] = (),
        else_args: tuple[Value, ...] = (),
    ) -> None:
        edges = [_edge(then, then_args), _edge(otherwise, else_args)]
        self._append("branch", (condition,), {}, None, edges)

    def ret(self, value: Value) -> None:
        self.emit("return", value)

    def _block(self) -> Block:
        if self.current is None:
            raise CompilerBug("the builder is at no block")
        return self.current

    def _append(
        self,
        op: str,
        args: tuple[Value, ...],
        attrs: dict[str, Attr],
        given: Type | None,
        targets: list[Edge],
    ) -> Value | None:
        if op not in OPS:
            raise CompilerBug(f"there is no instruction {op}")
        if self.ended:
            raise CompilerBug(f"{op}: block {self._block().name} has ended")
        type = result_type(op, [a.type for a in args], given)
        result = None if type == VOID else Value(type)
        instr = Instr(op, list(args), attrs, result, targets, self.span)
        for fault in faults(instr):
            raise CompilerBug(f"{op}: {fault}")
        self._block().instrs.append(instr)
        for edge in targets:
            self.incoming.setdefault(edge.block, []).append((self._block(), edge))
        return result


def _edge(block: Block, args: tuple[Value, ...]) -> Edge:
    # The number of arguments is not checked here: SSA construction adds some later.
    return Edge(block, list(args))
