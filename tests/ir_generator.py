"""Random legal IR: modules that neither trap nor run for long, each made from one random.Random.

A `Maker` writes one function piece by piece. What a piece may use is in scope there: `values`, the
integers by type, and `places`, memory of known size. Pieces are functions of the Maker; those for
integers and control are here, `ir_generator_memory` has the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from bpfscript.ir.builder import Builder
from bpfscript.ir.core import Block, Function, Module, Value
from bpfscript.ir.ops import OPS
from bpfscript.ir.types import CTX, I1, I8, I16, I32, I64, I

if TYPE_CHECKING:
    from collections.abc import Iterator

CTX_SIZE = 64  # bytes that functions read of their context
WIDTHS = (I8, I16, I32, I64)
BINARY = sorted(n for n, d in OPS.items() if d.args == ("I", "I") and d.result == "=")
COMPARISONS = sorted(n for n, d in OPS.items() if d.args == ("I", "I") and d.result == "i1")
_EDGES = [0, 1, 2, 7, 8, 63, 64, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63]
_DIVIDE = ("udiv", "urem", "sdiv")

Piece = Callable[["Maker"], None]


def number(r: Random, bits: int) -> int:
    """A value of a width, the interesting ones more often; some negative, some too wide."""
    if r.randrange(2):
        return r.choice(_EDGES) * r.choice((1, 1, -1)) + r.choice((0, 0, 0, 1, -1))
    return r.randrange(-(1 << (bits - 1)), 1 << bits) >> r.choice((0, 0, bits // 2, bits - 4))


@dataclass
class Place:
    """`size` bytes of direct memory from a pointer on; `root` is what they are part of."""

    pointer: Value
    size: int
    root: object
    writable: bool = True


@dataclass
class Maker:
    """Writes one function. `values` has an i64 at least; `room` is how many pieces still fit.

    frozen: entries of maps may not come or go here, for a pointer to one is in scope.
    """

    r: Random
    function: Function
    pieces: Sequence[Piece]
    room: int
    module: Module | None = None
    callees: list[Function] = field(default_factory=list)
    values: dict[I, list[Value]] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    depth: int = 0
    frozen: bool = False
    may_goto: bool = False  # whether loops may ask the kernel

    def __post_init__(self) -> None:
        self.builder = Builder(self.function)
        self.builder.at(self.builder.block("start"))
        self.ctx = next((p for p in self.function.params if p.type == CTX), None)
        for param in self.function.params:
            if isinstance(param.type, I):
                self.keep(param)

    def code(self, most: int) -> None:
        """Some pieces, one at least."""
        for _ in range(self.r.randint(1, most)):
            if self.room > 0:
                self.room -= 1
                self.r.choice(self.pieces)(self)

    def nested(self, block: Block) -> None:
        """Pieces in a block of their own, which goes on where it then is."""
        self.builder.at(block)
        self.code(5)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is made in here is gone afterwards."""
        values = {type: list(known) for type, known in self.values.items()}
        places, frozen = list(self.places), self.frozen
        self.depth += 1
        yield
        self.depth -= 1
        self.values, self.places, self.frozen = values, places, frozen

    # Integers

    def keep(self, value: Value) -> Value:
        assert isinstance(value.type, I)
        self.values.setdefault(value.type, []).append(value)
        return value

    def pick(self, type: I) -> Value:
        """An integer in scope, or a constant."""
        known = self.values.get(type, [])
        if known and self.r.randrange(4):
            return self.r.choice(known[-4:] if self.r.randrange(2) else known)
        return self.const(number(self.r, type.bits) if type != I1 else self.r.randrange(2), type)

    def const(self, value: int, type: I = I64) -> Value:
        return self.builder.const(value, type)

    def type(self) -> I:
        return self.r.choice((*WIDTHS, I64, I64))

    def below(self, count: int) -> Value:
        """An i64 from 0 below a power of two, not known when compiling."""
        return self.builder.value("and", self.pick(I64), self.const(count - 1))

    def wide(self, value: Value) -> Value:
        return value if value.type == I64 else self.builder.value("zext", value, type=I64)

    def mixed(self, most: int) -> Value:
        """An i64 into which many of the values in scope went."""
        known = [v for values in self.values.values() for v in values]
        result = self.pick(I64)
        for value in self.r.sample(known, min(most, len(known))):
            scaled = self.builder.value("mul", result, self.const(0x9E3779B1))
            result = self.builder.value("xor", scaled, self.wide(value))
        return result


def arithmetic(m: Maker) -> None:
    type = m.r.choice((I1, *WIDTHS, *WIDTHS, *WIDTHS))
    op = m.r.choice(BINARY)
    a, b = m.pick(type), m.pick(type)
    if op in _DIVIDE and not m.r.randrange(4):
        b = m.const(m.r.choice((0, -1, 1, 2, 7, 1 << type.bits - 1)), type)
    m.keep(m.builder.value(op, a, b))


def compare(m: Maker) -> None:
    type = m.r.choice((I1, *WIDTHS, *WIDTHS))
    m.keep(m.builder.value(m.r.choice(COMPARISONS), m.pick(type), m.pick(type)))


def convert(m: Maker) -> None:
    source, to = m.r.sample((I1, *WIDTHS), 2)
    op = "trunc" if source.bits > to.bits else m.r.choice(("zext", "sext"))
    m.keep(m.builder.value(op, m.pick(source), type=to))


def select(m: Maker) -> None:
    type = m.r.choice((I1, *WIDTHS))
    m.keep(m.builder.value("select", m.pick(I1), m.pick(type), m.pick(type)))


def swap(m: Maker) -> None:
    m.keep(m.builder.value("bswap", m.pick(m.r.choice(WIDTHS[1:]))))


def hide(m: Maker) -> None:
    m.keep(m.builder.value("opaque", m.pick(m.type())))


# Control


def diamond(m: Maker) -> None:
    """Two ways that meet and hand over some values; sometimes one way is empty."""
    if m.depth > 2:
        return
    types = [m.type() for _ in range(m.r.randint(1, 3))]
    then, join = m.builder.block("then"), m.builder.block("join", *types)
    empty = not m.r.randrange(3)
    other = join if empty else m.builder.block("else")
    given = tuple(map(m.pick, types)) if empty else ()
    m.builder.branch(m.pick(I1), then, other, else_args=given)
    for block in (then,) if empty else (then, other):
        with m.scope():
            m.nested(block)
            m.builder.jump(join, *map(m.pick, types))
    m.builder.at(join)
    for param in join.params:
        m.keep(param)


def both_ways(m: Maker) -> None:
    """A branch that goes to one block with one value or another."""
    type = m.r.choice((I1, *WIDTHS))
    join = m.builder.block("either", type)
    m.builder.branch(m.pick(I1), join, join, (m.pick(type),), (m.pick(type),))
    m.builder.at(join)
    m.keep(join.params[0])


def leave(m: Maker) -> None:
    """Out of the function in the middle, where some condition holds."""
    out, on = m.builder.block("out"), m.builder.block("on")
    m.builder.branch(m.pick(I1), out, on)
    m.builder.at(out)
    final(m, m.mixed(3))
    m.builder.at(on)


def final(m: Maker, value: Value) -> None:
    """Return a value: 0 or 1 from callbacks, which may give nothing else."""
    callback = m.function.entry is None and m.function.name.startswith("callback")
    m.builder.ret(m.builder.value("and", value, m.const(1)) if callback else value)


def loop(m: Maker) -> None:
    """At most 7 rounds, 3 inside another loop; values are carried around, and may change places.

    Some have a second way out. A constant number of rounds, one that is computed, or the kernel's.
    """
    if m.depth > 1 + (m.room % 2):
        return
    b, types = m.builder, [m.type() for _ in range(m.r.randint(1, 4))]
    head, body = b.block("head", I64, *types), b.block("body")
    done = b.block("done", *types)
    most = 4 if m.depth else 8
    count = m.below(most) if m.r.randrange(3) else m.const(m.r.randrange(most))
    b.jump(head, m.const(0), *map(m.pick, types))
    b.at(head)
    i, *carried = head.params
    b.branch(b.value("ult", i, count), body, done, else_args=tuple(carried))
    with m.scope():
        for value in (i, *carried):
            m.keep(value)
        if m.may_goto and not m.r.randrange(3):
            inner = b.block("go")
            b.at(body)
            b.branch(b.value("may_continue"), inner, done, else_args=tuple(map(m.pick, types)))
            body = inner
        m.nested(body)
        if not m.r.randrange(3):
            on = b.block("on")
            b.branch(m.pick(I1), done, on, tuple(map(m.pick, types)))
            b.at(on)
        if m.r.randrange(2):
            again = [m.r.choice([c for c in carried if c.type == type]) for type in types]
        else:
            again = [m.pick(type) for type in types]
        b.jump(head, b.value("add", i, m.const(1)), *again)
    b.at(done)
    for param in done.params:
        m.keep(param)


INTEGERS: tuple[Piece, ...] = (
    *(arithmetic,) * 8, *(compare,) * 3, *(convert,) * 4, *(select,) * 2, swap, hide,
)  # fmt: skip
CONTROL: tuple[Piece, ...] = (diamond, diamond, both_ways, leave, loop, loop)
