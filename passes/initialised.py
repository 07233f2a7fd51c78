"""No slot is read before it is written, byte for byte.

    %s = slot {size=16}; call map_lookup_elem %m, %s        (nothing written)
    →  %s = slot {size=16}; fill %s {off=0, size=16}; …

Undefined stack memory must reach neither a map key, where it would make equal keys differ, nor
user space. Verifiers before 6.3 refuse such reads. Forward data flow of the set of written bytes of
each slot, as bits of an integer; where paths meet, bytes written on all of them. Cost: blocks times
slots.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Function, Instr, Module, Value
from bpfscript.ir.types import STACK, I
from bpfscript.target import Target

from .scratch import SCRATCH_MAX
from .values import definitions, place

# Operands of helpers that are written to: (pointer, size).
FILLED = {
    "get_current_comm": (0, 1),
    "probe_read_kernel": (0, 1),
    "probe_read_user": (0, 1),
    "probe_read_kernel_str": (0, 1),
    "probe_read_user_str": (0, 1),
    "probe_read_str": (0, 1),
    "get_stack": (1, 2),
    "snprintf": (0, 1),
    "get_ns_current_pid_tgid": (2, 3),
}
_Written = dict[Value, int]


def initialised(module: Module, target: Target) -> None:
    for function in module.functions:
        _initialise(module, function)


def _initialise(module: Module, function: Function) -> None:
    flow = _Flow(module, function)
    if not flow.sizes:
        return
    for slot in flow.faults():
        for block in function.blocks:
            for at, instr in enumerate(block.instrs):
                if instr.result is slot:
                    size = flow.sizes[slot]
                    fill = Instr("fill", [slot], {"off": 0, "size": size}, span=instr.span)
                    block.instrs.insert(at + 1, fill)
                    break


class _Flow:
    def __init__(self, module: Module, function: Function) -> None:
        self.module, self.function = module, function
        self.graph, self.made = Graph(function), definitions(function)
        sizes = {v: _int(i.attrs["size"]) for v, i in self.made.items() if i.op == "slot"}
        # what is larger is refused once all is known, by stack-slots; here each byte takes a bit
        self.sizes = {slot: size for slot, size in sizes.items() if size <= SCRATCH_MAX}
        self.unclear = self._flowing()

    def faults(self) -> list[Value]:
        """Slots that are read where they may not be written."""
        at_end: dict[Block, _Written] = {}
        found: dict[Value, None] = {}
        changed = True
        while changed:
            changed = False
            for block in self.graph.order:
                state = self._meet(
                    [at_end[p] for p in self.graph.predecessors[block] if p in at_end]
                )
                for instr in block.instrs:
                    for slot in self._step(instr, state):
                        found[slot] = None
                if at_end.get(block) != state:
                    at_end[block] = state
                    changed = True
        return list(found)

    @staticmethod
    def _meet(states: list[_Written]) -> _Written:
        if not states:
            return {}
        first, *rest = states
        return {s: _all(bits, [r[s] for r in rest]) for s, bits in first.items() if _in(s, rest)}

    def _step(self, instr: Instr, state: _Written) -> Iterator[Value]:
        """Slots that the instruction reads too early; then what it writes is added to the state."""
        if instr.op == "slot" and instr.result and instr.result in self.sizes:
            state[instr.result] = 0
        for pointer, off, size in self._reads(instr):
            yield from self._missing(state, pointer, off, size)
        for pointer, off, size in self._writes(instr):
            slot, base = self._place(pointer)
            if slot is not None and base is not None and slot in state:
                state[slot] |= ((1 << size) - 1) << (base + off)

    def _missing(
        self, state: _Written, pointer: Value, off: int, size: int | None
    ) -> Iterator[Value]:
        slot, base = self._place(pointer)
        if slot is None:
            wanted = [s for s in self.unclear.get(pointer, ()) if s in state]
            yield from (s for s in wanted if state[s] != (1 << self.sizes[s]) - 1)
        elif slot in state:
            if base is None or size is None:
                bits = (1 << self.sizes[slot]) - 1
            else:
                bits = ((1 << size) - 1) << (base + off)
            if bits & ~state[slot]:
                yield slot

    def _reads(self, instr: Instr) -> Iterator[tuple[Value, int, int | None]]:
        attrs = instr.attrs
        if instr.op == "load":
            assert instr.result and isinstance(instr.result.type, I)
            yield instr.args[0], _int(attrs["off"]), instr.result.type.bits // 8
        elif instr.op == "copy":
            yield instr.args[1], _int(attrs["from"]), _int(attrs["size"])
        elif instr.op in ("call", "call_function"):
            helper = str(attrs.get("helper", ""))
            for i, arg in enumerate(instr.args):
                if arg.type == STACK and (helper not in FILLED or FILLED[helper][0] != i):
                    yield arg, 0, element_size(self.module, self.made, instr, i)

    def _writes(self, instr: Instr) -> Iterator[tuple[Value, int, int]]:
        attrs = instr.attrs
        if instr.op == "store":
            type = instr.args[1].type
            assert isinstance(type, I)
            yield instr.args[0], _int(attrs["off"]), type.bits // 8
        elif instr.op in ("fill", "copy"):
            yield instr.args[0], _int(attrs["off"]), _int(attrs["size"])
        elif filled := filled_place(self.made, instr):
            yield filled[0], 0, filled[1]

    def _place(self, pointer: Value) -> tuple[Value | None, int | None]:
        """(slot, offset) of a pointer; the offset is None if it varies."""
        slot, offset = place(pointer, self.made)
        return (slot, offset) if slot in self.sizes else (None, None)

    def _flowing(self) -> dict[Value, set[Value]]:
        """Slots that parameters and selects may point into."""
        return slots_of(self.function, self.made, set(self.sizes))


def filled_place(made: dict[Value, Instr], instr: Instr) -> tuple[Value, int] | None:
    """Where a helper writes, and how many bytes; None unless that is fixed."""
    if instr.attrs.get("helper") not in FILLED:
        return None
    pointer, size = FILLED[str(instr.attrs["helper"])]
    bytes = made.get(instr.args[size])
    if bytes is None or bytes.op != "const":
        return None
    return instr.args[pointer], _int(bytes.attrs["value"])


def element_size(module: Module, made: dict[Value, Instr], call: Instr, index: int) -> int | None:
    """Bytes that a helper reads of a map's key or value behind an operand; None: it is neither."""
    object = made.get(call.args[0])
    if object is None or object.op != "map_ptr" or index not in (1, 2):
        return None
    if call.attrs.get("helper") == "for_each_map_elem":
        return None
    map = module.maps[str(object.attrs["map"])]
    return map.key_size if index == 1 else map.value_size


def slots_of(
    function: Function, made: dict[Value, Instr], slots: set[Value]
) -> dict[Value, set[Value]]:
    """The slots that each pointer may point into. Fixed point over copies of pointers."""
    found = {slot: {slot} for slot in slots}
    changed = True

    def flow(source: Value, to: Value | None) -> None:
        nonlocal changed
        if to is not None and source in found and not found[source] <= found.setdefault(to, set()):
            found[to] |= found[source]
            changed = True

    while changed:
        changed = False
        for instr in function.instructions():
            if instr.op == "ptr_add":
                flow(instr.args[0], instr.result)
            elif instr.op == "select":
                flow(instr.args[1], instr.result)
                flow(instr.args[2], instr.result)
            for edge in instr.targets:
                for param, arg in zip(edge.block.params, edge.args, strict=True):
                    flow(arg, param)
    return found


def _all(bits: int, others: list[int]) -> int:
    for other in others:
        bits &= other
    return bits


def _in(slot: Value, states: list[_Written]) -> bool:
    return all(slot in state for state in states)


def _int(attr: object) -> int:
    assert isinstance(attr, int)
    return attr
