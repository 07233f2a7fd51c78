"""Writes what stands for a high operation: a Builder with structured control, module at hand.

code.choose(c, then, otherwise)   branch c, then, else … jump join(v) … join(%v)
code.loop(n, [v], body)           head(i, v): branch i < n, body, done …
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bpfscript.btf import BtfType
from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.builder import Builder
from bpfscript.ir.core import Attr, Block, Edge, Entry, Function, Instr, Module, Value
from bpfscript.ir.types import CTX, I1, I32, I64, I, Type
from bpfscript.manifest import MapDef, MapType
from bpfscript.target import Target


class Code(Builder):
    """One function being rewritten. `cold` blocks end up behind all others.

    `definitions`: the instruction that made a value, of those written so far. `addresses`: results
    of high operations that are only read behind. `typed`: pointers, as integers, to structs that
    the verifier knows.
    """

    def __init__(self, module: Module, target: Target, function: Function) -> None:
        super().__init__(function)
        self.module, self.target = module, target
        self.cold: set[Block] = set()
        self.number: Value | None = None  # probe id, if a prologue has found it
        self.definitions: dict[Value, Instr] = {}
        self.addresses: set[Value] = set()
        self.typed: dict[Value, BtfType] = {}

    @property
    def entry(self) -> Entry:
        if self.function.entry is None:
            raise CompilerBug(f"{self.function.name}: a callback asks for its program's context")
        return self.function.entry

    @property
    def context(self) -> Value:
        if not self.function.params or self.function.params[0].type != CTX:
            raise CompilerBug(f"{self.function.name}: a callback has no context")
        return self.function.params[0]

    def append(self, instr: Instr) -> None:
        """Append an instruction that exists."""
        if self.current is None:
            raise CompilerBug("the builder is at no block")
        self.current.instrs.append(instr)
        if instr.result:
            self.definitions[instr.result] = instr

    def _append(
        self,
        op: str,
        args: tuple[Value, ...],
        attrs: dict[str, Attr],
        given: Type | None,
        targets: list[Edge],
    ) -> Value | None:
        result = super()._append(op, args, attrs, given, targets)
        if result and self.current:
            self.definitions[result] = self.current.instrs[-1]
        return result

    def chose(self, what: str, how: str, why: str) -> None:
        """Record how the current instruction is done, see `Module.chose`."""
        where = self.span.place if self.span else self.function.name
        self.module.chose(what, where, how, why)

    # Expressions

    def op(self, name: str, left: Value, right: Value | int) -> Value:
        """A binary instruction; an integer becomes a constant of the left side's width."""
        if isinstance(right, int):
            assert isinstance(left.type, I)
            right = self.const(right, left.type)
        return self.value(name, left, right)

    def add(self, left: Value, right: Value | int) -> Value:
        return self.op("add", left, right)

    def at_offset(self, pointer: Value, offset: int) -> Value:
        return self.value("ptr_add", pointer, self.const(offset)) if offset else pointer

    def negate(self, condition: Value) -> Value:
        return self.value("xor", condition, self.const(1, I1))

    def resize(self, value: Value, bits: int, signed: bool = False) -> Value:
        assert isinstance(value.type, I)
        if value.type.bits == bits:
            return value
        widen = "sext" if signed else "zext"
        return self.value(widen if value.type.bits < bits else "trunc", value, type=I(bits))

    def present(self, pointer: Value) -> Value:
        """Whether a pointer that may be null is not."""
        return self.negate(self.value("is_null", pointer))

    def slot(self, size: int) -> Value:
        """Memory of this run, its size rounded up to whole words."""
        return self.value("slot", size=(size + 7) // 8 * 8)

    def clamp(self, index: Value, count: int) -> Value:
        """The index if it is below `count`, else 0: a bound that the kernel's verifier sees."""
        below = self.op("ult", index, count)
        return self.value("select", below, index, self.const(0, _integer(index)))

    # Control

    def when(self, condition: Value, then: Callable[[], None], *, cold: bool = False) -> None:
        """Code that runs only if the condition is 1."""
        block, end = self.block("then"), self.block("end")
        if cold:
            self.cold.add(block)
        self.branch(condition, block, end)
        self.at(block)
        self._inside(then, cold)
        self.jump(end)
        self.at(end)

    def choose(
        self, condition: Value, then: Callable[[], Value], otherwise: Callable[[], Value]
    ) -> Value:
        """The value of one of two pieces of code, which have one type."""
        yes, no = self.block("yes"), self.block("no")
        self.branch(condition, yes, no)
        self.at(yes)
        first = then()
        first_end = self.current
        self.at(no)
        second = otherwise()
        join = self.block("join", first.type)
        self.jump(join, second)
        assert first_end
        self.at(first_end)
        self.jump(join, first)
        self.at(join)
        return join.params[0]

    def loop(
        self,
        count: Value | int,
        start: Sequence[Value],
        body: Callable[[Value, list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """`body(i, values) -> values` for i from 0 below `count`; the values at the end."""
        if isinstance(count, int):
            count = self.const(count)
        types = [v.type for v in start]
        head = self.block("loop", I64, *types)
        inside, done = self.block("body"), self.block("done")
        self.jump(head, self.const(0), *start)
        self.at(head)
        i, values = head.params[0], head.params[1:]
        self.branch(self.value("ult", i, count), inside, done)
        self.at(inside)
        new = body(i, values)
        self.jump(head, self.add(i, 1), *new)
        self.at(done)
        return values

    def _inside(self, write: Callable[[], None], cold: bool) -> None:
        """Whatever blocks are made on a cold path are cold."""
        before = len(self.function.blocks)
        write()
        if cold:
            self.cold.update(self.function.blocks[before:])

    # The module

    def internal_map(self, name: str, kind: MapType, value_size: int, entries: int = 1) -> None:
        """Make one of our own maps unless it is there."""
        if name not in self.module.maps:
            keys = 0 if kind is MapType.RINGBUF else 4
            self.module.maps[name] = MapDef(name, kind, None, None, keys, value_size, entries)

    def lookup(self, map: str, key: Value) -> Value:
        """Pointer to the value of the key at `key`, or null."""
        return self.call("map_lookup_elem", self.value("map_ptr", map=map), key)

    def index_key(self, index: int | Value) -> Value:
        """Pointer to a uint32 key."""
        slot = self.slot(4)
        self.store(slot, self.const(index, I32) if isinstance(index, int) else index)
        return slot


def _integer(value: Value) -> I:
    assert isinstance(value.type, I)
    return value.type
