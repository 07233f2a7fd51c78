"""What was written to memory is not read back; what is written again before it is read is dead.

    store %s, %1 {off=8}; %2 = load %s {off=8} : i64     →  uses of %2 use %1
    copy %r, %s {off=0, from=8, size=8}                  →  store %r, %1 {off=0}
    store %m, %1 {off=0}; …; store %m, %3 {off=0}        →  …; store %m, %3 {off=0}

Forward data flow of what slots and map values hold: where ways meet, what is known on all of them;
at the start of a loop, nothing. Others may see fewer states of a map. Slots that are only written
to then are left to `dce`. Cost: instructions, each times at most _MOST pieces of memory.
"""

from __future__ import annotations

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Attr, Block, Function, Instr, Value
from bpfscript.ir.ops import CALLS, ENDS, WRITES
from bpfscript.ir.types import MAP, STACK, I

from .initialised import slots_of
from .values import definitions, effects, place, replace

_MOST = 32  # known at once; the oldest are forgotten
_FAR = 1 << 63
_Bytes = tuple[Value, int, int]  # from one offset to another behind a pointer that nothing moved


def forward(function: Function) -> None:
    flow = _Flow(function)
    for block in flow.graph.order:
        flow.visit(block)
    replace(function, flow.stands_for)


class _Flow:
    """`known`: contents, None for zeros; `unread`: what this block wrote and nothing has read."""

    def __init__(self, function: Function) -> None:
        self.graph, self.made = Graph(function), definitions(function)
        self.slots = {v for v, i in self.made.items() if i.op == "slot"}
        self.points = slots_of(function, self.made, self.slots)
        self.at_end: dict[Block, dict[_Bytes, Value | None]] = {}
        self.stands_for: dict[Value, Value] = {}
        self.known: dict[_Bytes, Value | None] = {}
        self.unread: dict[_Bytes, Instr] = {}
        self.dead: set[Instr] = set()

    def visit(self, block: Block) -> None:
        first, *rest = [self.at_end.get(b, {}) for b in self.graph.predecessors[block]] or [{}]
        self.known = {
            at: value
            for at, value in first.items()
            if all(at in other and other[at] is value for other in rest)
        }
        self.unread, kept = {}, []
        for instr in block.instrs:
            instr.args = [self.stands_for.get(a, a) for a in instr.args]
            kept += self._step(instr)
        block.instrs = [i for i in kept if i not in self.dead]
        self.at_end[block] = self.known

    def _step(self, instr: Instr) -> list[Instr]:
        """What stands for an instruction, and what it does to memory."""
        match instr.op:
            case "load":
                return self._load(instr)
            case "copy":
                return self._copy(instr)
            case "store":
                self._store(instr, _size(instr.args[1]), instr.args[1])
            case "fill":
                self._store(instr, _int(instr, "size"), None)
            case "slot":
                self.known = {at: v for at, v in self.known.items() if at[0] is not instr.result}
            case _:
                self._call(instr, effects(instr))
        return [instr]

    def _load(self, instr: Instr) -> list[Instr]:
        assert instr.result
        at = self._bytes(instr.args[0], _int(instr, "off"), _size(instr.result))
        if value := self.known.get(at):
            self.stands_for[instr.result] = value
            return []
        if any(v is None and _covers(there, at) for there, v in self.known.items()):
            instr.op, instr.args, instr.attrs = "const", [], {"value": 0}
        else:
            self._read(at)
            self._know(at, instr.result)
        return [instr]

    def _store(self, instr: Instr, size: int, value: Value | None) -> None:
        to = self._bytes(instr.args[0], _int(instr, "off"), size)
        self._write(to)
        self._know(to, value)
        self.unread[to] = instr

    def _copy(self, instr: Instr) -> list[Instr]:
        """As stores, if all bytes are known and that takes no more instructions."""
        target, offset, size = instr.args[0], _int(instr, "off"), _int(instr, "size")
        source = self._bytes(instr.args[1], _int(instr, "from"), size)
        parts, end, cost = self._parts(source), 0, 0
        for start, part, value in parts:
            if start == end:
                end += part
                cost += 1 if value else _moves(part)
        if end == size and cost <= 2 * _moves(size):
            stores = [_store(instr, *part) for part in parts]
            for store in stores:
                self._step(store)
            return stores
        self._read(source)
        self._write(self._bytes(target, offset, size))
        for start, part, value in parts:
            self._know(self._bytes(target, offset + start, part), value)
        return [instr]

    def _parts(self, source: _Bytes) -> list[tuple[int, int, Value | None]]:
        """What is known of some bytes, in their order: (offset in them, size, value)."""
        root, start, end = source
        found = []
        for (there, low, high), value in self.known.items():
            if there is root and start != -_FAR and low < end and start < high:
                whole = start <= low and high <= end
                if whole or value is None:
                    low, high = max(low, start), min(high, end)
                    found.append((low - start, high - low, value))
        return sorted(found, key=lambda part: part[0])

    def _call(self, instr: Instr, what: int) -> None:
        """It may read all, and a helper writes to maps and to what it gets."""
        if what & (CALLS | ENDS):
            self.unread.clear()
        if what & CALLS and what & WRITES:
            given = {s for a in instr.args for s in self.points.get(a, ())}
            lost = given if instr.op == "call" else self.slots
            self.known = {
                at: v for at, v in self.known.items() if at[0] in self.slots and at[0] not in lost
            }

    def _read(self, source: _Bytes) -> None:
        for at in [at for at in self.unread if self._meet(at, source)]:
            del self.unread[at]

    def _write(self, to: _Bytes) -> None:
        root, start, end = to
        for at in [at for at in self.unread if self._meet(at, to)]:
            store = self.unread.pop(at)
            if start != -_FAR and _covers(to, at):
                self.dead.add(store)
        for at in [at for at in self.known if self._meet(at, to)]:
            value = self.known.pop(at)
            if value is None and at[0] is root:  # zeros before it and behind it remain
                self.known |= {
                    (root, low, high): None
                    for low, high in ((at[1], start), (end, at[2]))
                    if low < high
                }

    def _know(self, at: _Bytes, value: Value | None) -> None:
        if at[0].type in (STACK, MAP) and at[1] != -_FAR:
            self.known[at] = value
            while len(self.known) > _MOST:
                del self.known[next(iter(self.known))]

    def _bytes(self, pointer: Value, offset: int, size: int) -> _Bytes:
        """What an access reaches; if that varies, all there is."""
        root, moved = place(pointer, self.made)
        if moved is None:
            return root, -_FAR, _FAR
        return root, moved + offset, moved + offset + size

    def _meet(self, a: _Bytes, b: _Bytes) -> bool:
        """Whether they may have a byte in common."""
        if a[0] is b[0]:
            return a[1] < b[2] and b[1] < a[2]
        if a[0].type == b[0].type == STACK:
            return bool(self._memory(a[0]) & self._memory(b[0]))
        maps = self._map(a[0]), self._map(b[0])
        return a[0].type == b[0].type and (None in maps or maps[0] == maps[1])

    def _memory(self, root: Value) -> set[Value | None]:
        """Slots that a pointer may point into; None for a frame that is a caller's."""
        return {root} if root in self.slots else {None, *self.points.get(root, ())}

    def _map(self, root: Value) -> object:
        """The map that a pointer leads into, if that is plain to see."""
        made = self.made.get(root)
        if made and made.attrs.get("helper") == "map_lookup_elem":
            made = self.made.get(made.args[0])
        return made and made.attrs.get("map")


def _covers(all: _Bytes, part: _Bytes) -> bool:
    return all[0] is part[0] and all[1] <= part[1] and part[2] <= all[2]


def _store(copy: Instr, start: int, size: int, value: Value | None) -> Instr:
    """What puts one part of a copy there."""
    attrs: dict[str, Attr] = {"off": _int(copy, "off") + start}
    if value:
        return Instr("store", [copy.args[0], value], attrs, span=copy.span)
    return Instr("fill", [copy.args[0]], {**attrs, "size": size}, span=copy.span)


def _moves(size: int) -> int:
    """How many loads and stores of up to 8 bytes copy them, each."""
    return size // 8 + (size % 8).bit_count()


def _size(value: Value) -> int:
    assert isinstance(value.type, I)
    return value.type.bits // 8


def _int(instr: Instr, name: str) -> int:
    number = instr.attrs[name]
    assert isinstance(number, int)
    return number
