"""hypothesis strategies for IR: valid functions that neither trap nor run for long."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from hypothesis import strategies as st

from bpfscript.ir.builder import Builder
from bpfscript.ir.core import Function, Value
from bpfscript.ir.ops import OPS
from bpfscript.ir.types import CTX, I1, I8, I16, I32, I64, I

CTX_SIZE = 64  # bytes that functions read of their context
SLOT_SIZE = 64
WIDTHS = (I8, I16, I32, I64)
BINARY = sorted(n for n, d in OPS.items() if d.args == ("I", "I") and d.result == "=")
COMPARISONS = sorted(n for n, d in OPS.items() if d.args == ("I", "I") and d.result == "i1")
_EDGES = [0, 1, 2, 7, 8, 63, 64, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63]


def constants(type: I) -> st.SearchStrategy[int]:
    """Values of a width, the interesting ones more often; some negative, some too wide."""
    near = st.sampled_from([*_EDGES, *(-e for e in _EDGES)])
    return st.one_of(near, st.integers(-(1 << (type.bits - 1)), (1 << type.bits) - 1))


@st.composite
def functions(draw: st.DrawFn, *, size: int = 8, depth: int = 2, name: str = "f") -> Function:
    """A legal function of ctx that returns an i64.

    Arithmetic of all widths, memory (ctx, a slot, constants), branches, loops of at most 7 rounds,
    up to `depth` inside each other; at most `size` pieces of code at each level. It always ends,
    and never traps on a context of CTX_SIZE bytes.
    """
    function = Function(name, [Value(CTX)])
    return _Maker(draw, function, size).make(depth)


@dataclass
class _Maker:
    """`values` are the integers in scope, by type; there is always an i64."""

    draw: st.DrawFn
    function: Function
    size: int
    values: dict[I, list[Value]] = field(default_factory=dict)

    def make(self, depth: int) -> Function:
        self.builder = Builder(self.function)
        self.builder.at(self.builder.block("start"))
        self.ctx = self.function.params[0]
        self.slot = self.builder.value("slot", size=SLOT_SIZE)
        self.builder.emit("fill", self.slot, off=0, size=SLOT_SIZE)
        self.keep(self.builder.load(self.ctx, I64, 0))
        self.code(depth)
        self.builder.ret(self.pick(I64))
        return self.function

    def code(self, depth: int) -> None:
        pieces: list[Callable[[], None]] = [
            self.binary,
            self.compare,
            self.convert,
            self.select,
            self.memory,
            self.swap,
        ]
        if depth:
            inner = (self.diamond, self.counted)
            pieces += [partial(self.nested, shape, depth - 1) for shape in inner]
        for _ in range(self.draw(st.integers(1, self.size))):
            self.draw(st.sampled_from(pieces))()

    def keep(self, value: Value) -> None:
        assert isinstance(value.type, I)
        self.values.setdefault(value.type, []).append(value)

    def pick(self, type: I) -> Value:
        known = self.values.get(type, [])
        reuse = self.draw(st.integers(0, 3)) > 0
        if known and reuse:
            return known[self.draw(st.integers(0, len(known) - 1))]
        if known and type == I64:
            return known[-1]
        number = self.draw(constants(type) if type != I1 else st.integers(0, 1))
        return self.builder.const(number, type)

    def type(self) -> I:
        return self.draw(st.sampled_from([*WIDTHS, I64, I64]))

    def binary(self) -> None:
        type, op = self.type(), self.draw(st.sampled_from(BINARY))
        self.keep(self.builder.value(op, self.pick(type), self.pick(type)))

    def compare(self) -> None:
        type, op = self.type(), self.draw(st.sampled_from(COMPARISONS))
        self.keep(self.builder.value(op, self.pick(type), self.pick(type)))

    def convert(self) -> None:
        source, to = self.draw(st.sampled_from([I1, *WIDTHS])), self.type()
        if source.bits < to.bits:
            op = self.draw(st.sampled_from(["zext", "sext"]))
        elif source.bits > to.bits:
            op = "trunc"
        else:
            source, to, op = I64, I1, "trunc"
        self.keep(self.builder.value(op, self.pick(source), type=to))

    def select(self) -> None:
        type = self.type()
        condition = self.pick(I1)
        self.keep(self.builder.value("select", condition, self.pick(type), self.pick(type)))

    def swap(self) -> None:
        type = self.draw(st.sampled_from(WIDTHS[1:]))
        op = self.draw(st.sampled_from(["bswap", "opaque"]))
        self.keep(self.builder.value(op, self.pick(type)))

    def memory(self) -> None:
        builder, type = self.builder, self.type()
        off = self.draw(st.integers(0, SLOT_SIZE // 8 - 1)) * 8
        match self.draw(st.sampled_from(["ctx", "load", "store", "fill", "copy", "index"])):
            case "ctx":
                self.keep(builder.load(self.ctx, type, off))
            case "load":
                self.keep(builder.load(self.slot, type, off))
            case "store":
                builder.store(self.slot, self.pick(type), off)
            case "fill":
                builder.emit("fill", self.slot, off=off, size=self.draw(st.integers(1, 8)))
            case "copy":
                length = self.draw(st.integers(1, 8))
                data = builder.value("rodata", data=self.draw(st.binary(min_size=8, max_size=8)))
                builder.copy(self.slot, data, length, off)
            case _:
                index = builder.value("and", self.pick(I64), builder.const(SLOT_SIZE - 8))
                pointer = builder.value("ptr_add", self.slot, index)
                self.keep(builder.load(pointer, type))

    def nested(self, shape: Callable[[int], Value], depth: int) -> None:
        outer = self.scope()
        result = shape(depth)
        self.values = outer
        self.keep(result)

    def scope(self) -> dict[I, list[Value]]:
        return {type: list(values) for type, values in self.values.items()}

    def diamond(self, depth: int) -> Value:
        builder = self.builder
        then, otherwise = builder.block("then"), builder.block("else")
        join = builder.block("join", I64)
        builder.branch(self.pick(I1), then, otherwise)
        outer = self.scope()
        for block in (then, otherwise):
            self.values = {type: list(values) for type, values in outer.items()}
            builder.at(block)
            self.code(depth)
            builder.jump(join, self.pick(I64))
        builder.at(join)
        return join.params[0]

    def counted(self, depth: int) -> Value:
        builder = self.builder
        head, body = builder.block("head", I64, I64), builder.block("body")
        done = builder.block("done")
        count = builder.value("and", self.pick(I64), builder.const(7))
        builder.jump(head, builder.const(0), self.pick(I64))
        builder.at(head)
        i, carried = head.params
        builder.branch(builder.value("ult", i, count), body, done)
        builder.at(body)
        self.keep(i)
        self.keep(carried)
        self.code(depth)
        builder.jump(head, builder.value("add", i, builder.const(1)), self.pick(I64))
        builder.at(done)
        return carried
