"""Upper bounds of integers, as far as the kernel's verifier sees them too.

From the instruction that makes a value, and from comparisons with constants on the way to a block.
Within a loop the verifier forgets the bounds of what enters it (widen_imprecise_scalars), so only
what is inside the loop counts.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph, Loop
from bpfscript.ir.core import Block, Edge, Function, Instr, Value
from bpfscript.ir.types import I

from .values import definitions

_DEPTH = 12  # steps through definitions


class Ranges:
    """A snapshot: who changes the function makes a new one, or says what is `added`."""

    def __init__(self, function: Function) -> None:
        self.graph, self.made = Graph(function), definitions(function)
        self.incoming: dict[Block, list[tuple[Block, Edge]]] = {}
        self.params: dict[Value, tuple[Block, int]] = {}
        self.loops = self.graph.loops()[::-1]  # inner ones first
        self.home: dict[Value, Block] = {}
        for block in self.graph.order:
            self.params.update({p: (block, i) for i, p in enumerate(block.params)})
            self.home.update({i.result: block for i in block.instrs if i.result})
            for edge in block.terminator.targets:
                self.incoming.setdefault(edge.block, []).append((block, edge))

    def added(self, block: Block, instrs: list[Instr]) -> None:
        """A block has new instructions."""
        new = {i.result: i for i in instrs if i.result}
        self.made.update(new)
        self.home.update(dict.fromkeys(new, block))

    def upper(self, value: Value, block: Block, depth: int = _DEPTH) -> int:
        """The largest unsigned value that a value can have in a block."""
        assert isinstance(value.type, I)
        most = (1 << value.type.bits) - 1
        if depth:
            loop = self._entered(value, block)
            most = min(most, self._compared(value, block, loop))
            if loop is None:
                most = min(most, self._made(value, block, depth - 1))
        return most

    def step(self, pointer: Value) -> int:
        """By how many bytes a `ptr_add` moves at most, as far as is known where it is made."""
        return self.upper(self.made[pointer].args[1], self.home[pointer])

    def _entered(self, value: Value, block: Block) -> Loop | None:
        """The innermost loop around a block that a value, not a constant, comes into."""
        home = self.home.get(value) or self.params.get(value, (None, 0))[0]
        if self.constant(value) is not None:
            return None
        return next((o for o in self.loops if block in o.body and home not in o.body), None)

    def _made(self, value: Value, block: Block, depth: int) -> int:
        assert isinstance(value.type, I)
        most = (1 << value.type.bits) - 1
        if value in self.params:
            home, index = self.params[value]
            edges = self.incoming.get(home, [])
            if not edges or any(self.graph.dominates(home, source) for source, _ in edges):
                return most  # a loop: what goes round is not followed
            return max(self._edge(s, e, index, depth) for s, e in edges)
        instr = self.made[value]
        if instr.op == "const":
            number = instr.attrs["value"]
            assert isinstance(number, int)
            return number % (1 << value.type.bits)
        if instr.op == "core" and str(instr.attrs["of"]).startswith("byte_size "):
            return 8  # of a member that is an integer on the kernel compiled for
        if instr.op == "select":
            return self._select(instr, block, depth)
        return min(most, self._arithmetic(instr, block, depth, most))

    def _edge(self, source: Block, edge: Edge, index: int, depth: int) -> int:
        value = edge.args[index]
        bound = self.upper(value, source, depth)
        taken = self._from_branch(source.terminator, edge, value)
        return bound if taken is None else min(bound, taken)

    def _select(self, instr: Instr, block: Block, depth: int) -> int:
        condition, yes, no = instr.args
        most = self.upper(yes, block, depth)
        limit = self._limit(condition, yes)
        if limit is not None:
            most = min(most, limit)
        return max(most, self.upper(no, block, depth))

    def _arithmetic(self, instr: Instr, block: Block, depth: int, most: int) -> int:
        if instr.op in ("zext", "trunc"):
            inner = self.upper(instr.args[0], block, depth)
            return inner if inner <= most else most
        if instr.op not in ("and", "or", "xor", "add", "mul", "shl", "lshr", "udiv", "urem"):
            return most
        left, right = (self.upper(a, block, depth) for a in instr.args)
        constant = self.constant(instr.args[1])
        if constant is not None and instr.op in ("shl", "lshr"):
            constant %= most.bit_length()
        match instr.op:
            case "and":
                return min(left, right)
            case "or" | "xor":
                return int((1 << max(left, right).bit_length()) - 1)
            case "add":
                return left + right if left + right <= most else most
            case "mul":
                return left * right if left * right <= most else most
            case "shl" if constant is not None:
                return left << constant if left << constant <= most else most
            case "lshr" if constant is not None:
                return left >> constant
            case "udiv" if constant:
                return left // constant
            case "urem" if constant:
                return min(left, constant - 1)
        return left if instr.op in ("lshr", "udiv", "urem") else most

    def constant(self, value: Value) -> int | None:
        instr = self.made.get(value)
        number = instr.attrs["value"] if instr and instr.op == "const" else None
        if number is None:
            return None
        assert isinstance(number, int) and isinstance(value.type, I)
        return number % (1 << value.type.bits)

    def _limit(self, condition: Value, value: Value) -> int | None:
        """The largest `value` for which a comparison with a constant holds."""
        test = self.made.get(condition)
        if test is None or test.op not in ("ult", "ule", "eq") or test.args[0] is not value:
            return None
        constant = self.constant(test.args[1])
        return None if constant is None else constant - (test.op == "ult")

    def _compared(self, value: Value, block: Block, loop: Loop | None) -> int:
        """What branches that dominate a block say, if need be only those inside of a loop."""
        assert isinstance(value.type, I)
        most = (1 << value.type.bits) - 1
        while (above := self.graph.dominator[block]) is not block and (
            loop is None or above in loop.body
        ):
            if self.graph.predecessors[block] == [above]:
                for edge in above.terminator.targets:
                    if edge.block is block:
                        limit = self._from_branch(above.terminator, edge, value)
                        most = most if limit is None else min(most, limit)
            block = above
        return most

    def _from_branch(self, end: Instr, edge: Edge, value: Value) -> int | None:
        if end.op != "branch" or end.targets[0].block is end.targets[1].block:
            return None
        return self._limit(end.args[0], value) if edge is end.targets[0] else None
