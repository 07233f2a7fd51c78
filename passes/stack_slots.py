"""Slots fit the BPF stack; what does not goes to per-CPU scratch memory.

    %a = slot {size=16} … (last use) … %b = slot {size=8} …   →  one slot for both
    %c = slot {size=1024}   →  %p = call map_lookup_elem .scratch …; %c = ptr_add %p, 0

The verifier knows what is on the stack, so what rounds of a loop write there leaves it, too. It
gives 512 bytes to a whole chain of calls (check_max_stack_depth); BUDGET leaves room for what
registers spill. Slots share memory if never needed at once: liveness of the pointers to
them, then first-fit colouring, largest first. What the kernel's loops share with their callbacks
leaves last: each callback then looks the scratch memory up. It is safe from other programs since
each function has its own region and the kernel does not enter a program twice on one CPU. Cost:
instructions, and slots times groups of slots.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.diagnostics import CompilerBug, Diagnostic, ScriptError, Span
from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Function, Instr, Module, Value
from bpfscript.ir.types import STACK
from bpfscript.manifest import Internal, MapDef, MapType
from bpfscript.target import Target

from .chains import chain_lengths
from .initialised import FILLED, slots_of
from .scratch import SCRATCH_MAX, move
from .shared_frames import LOOPS, SharedFrames
from .values import definitions, operands, replace

BUDGET = 320  # bytes of slots in a chain of calls
CHAIN_MAX = 8  # functions: MAX_CALL_FRAMES
_ON_STACK = ("iter_num_new", "iter_num_next", "iter_num_destroy")


def stack_slots(module: Module, target: Target, budget: int = BUDGET) -> None:
    """May run again with a lower budget, in bytes; scratch memory grows then."""
    depth = chain_lengths(module)
    if deep := [f for f in module.functions if depth[f.name] > CHAIN_MAX and f.entry is None]:
        message = f"loops over maps are nested more than {CHAIN_MAX - 1} times"
        raise ScriptError([_refusal(deep, message)])
    scratch = module.maps.get(Internal.SCRATCH)
    used = scratch.value_size if scratch else 0
    frames = SharedFrames(module)
    for function in sorted(module.functions, key=lambda f: f.entry is None):
        taken = frames.take(function)
        slots = _Slots(function, taken)
        if slots.roots:
            used = _place(slots, budget // depth[function.name] // 8 * 8, used, taken, frames)
    if used > SCRATCH_MAX:
        message = f"the script needs {used} bytes of memory for its values, {SCRATCH_MAX} are there"
        raise ScriptError([_refusal(module.functions, message, "lower max_strlen")])
    if used:
        module.maps[Internal.SCRATCH] = MapDef(
            Internal.SCRATCH, MapType.PERCPU_ARRAY, None, None, 4, used, 1
        )


def _refusal(functions: list[Function], message: str, hint: str | None = None) -> Diagnostic:
    spans = (i.span for f in functions for i in f.instructions() if i.span)
    span = next(spans, None)
    if not isinstance(span, Span):
        raise CompilerBug(message)
    return Diagnostic(message, span, hint=hint)


class _Slots:
    """The slots of a function, which of them are needed at once, which must be stack.

    Sets of slots are bits of integers. `pinned`: iterators, and what called functions get;
    `frames`: what loops over maps share; `taken`: the frame that a callback has elsewhere.
    """

    def __init__(self, function: Function, taken: Value | None) -> None:
        self.function, self.made = function, definitions(function)
        slots = [v for v, i in self.made.items() if i.op == "slot"]
        self.sizes = {v: _size(self.made[v]) for v in slots if v is not taken}
        self.bits = {v: 1 << n for n, v in enumerate(self.sizes)}
        self.roots = slots_of(function, self.made, set(slots))
        self.masks = {v: self._mask(roots) for v, roots in self.roots.items()}
        self.conflicts = dict.fromkeys(self.sizes, 0)
        self._find_conflicts()
        self.together = self._meeting()
        self.pinned, self.frames = self._bound_to_stack()
        self.rewritten = self._rewritten() - self.pinned - self.frames

    def members(self, mask: int) -> Iterator[Value]:
        slots = list(self.sizes)
        while mask:
            lowest = mask & -mask
            yield slots[lowest.bit_length() - 1]
            mask ^= lowest

    def _mask(self, slots: set[Value]) -> int:
        return sum(self.bits.get(s, 0) for s in slots)

    def _find_conflicts(self) -> None:
        graph = Graph(self.function)
        live_in: dict[Block, int] = {}
        changed = True
        while changed:
            changed = False
            for block in reversed(graph.order):
                live = self._scan(block, live_in)
                if live_in.get(block) != live:
                    live_in[block] = live
                    changed = True
        for slot in self._escaped():
            self.conflicts[slot] = (1 << len(self.sizes)) - 1
        for slot in self.sizes:
            for other in self.members(self.conflicts[slot]):
                self.conflicts[other] |= self.bits[slot]

    def _scan(self, block: Block, live_in: dict[Block, int]) -> int:
        """What is live at the start of a block. What begins to be live conflicts with the rest."""
        live = 0
        for edge in block.terminator.targets:
            there = live_in.get(edge.block, 0)
            self._conflict(there & ~live, live & ~there)
            live |= there
        for instr in reversed(block.instrs):
            if instr.op == "slot" and instr.result:
                live &= ~self.bits.get(instr.result, 0)
            new = 0
            for value in operands(instr):
                new |= self.masks.get(value, 0)
            new &= ~live
            if new:
                live |= new
                self._conflict(new, live)
        return live

    def _conflict(self, these: int, those: int) -> None:
        for slot in self.members(these) if those else ():
            self.conflicts[slot] |= those

    def _escaped(self) -> Iterator[Value]:
        """Slots whose address is a value of the script: it may be read as long as there is one."""
        for instr in self.function.instructions():
            if instr.op == "to_int":
                yield from self.members(self.masks.get(instr.args[0], 0))

    def _meeting(self) -> dict[Value, set[Value]]:
        """Slots that some pointer may point into as well: they get memory of one kind."""
        found: dict[Value, set[Value]] = {}
        for slots in self.roots.values():
            for slot in slots if len(slots) > 1 else ():
                found.setdefault(slot, set()).update(slots)
        return found

    def _bound_to_stack(self) -> tuple[set[Value], set[Value]]:
        """The kernel's loops take nothing but stack for a frame."""
        pinned: set[Value] = set()
        frames: set[Value] = set()
        for instr in self.function.instructions():
            helper = instr.attrs.get("helper")
            if helper in LOOPS and instr.args[2] in self.bits:
                frames.add(instr.args[2])
            elif instr.op == "call_function" or helper in (*_ON_STACK, *LOOPS):
                for arg in instr.args:
                    pinned |= self.roots.get(arg, set())
        return pinned | {s for p in pinned | frames for s in self.together.get(p, ())}, frames

    def _rewritten(self) -> set[Value]:
        """Slots that rounds of a loop write: what the verifier knows of the stack differs by the
        way it was written, and each such difference doubles its walk of a loop."""
        function = self.function
        bodies = [loop.body for loop in Graph(function).loops()]
        body = set().union(*bodies) if function.entry else set(function.blocks)
        return {
            s for b in body for i in b.instrs for v in _written(i) for s in self.roots.get(v, ())
        }

    def groups(self) -> list[list[Value]]:
        """Slots that share memory, the largest first."""
        found: list[list[Value]] = []
        masks: list[int] = []
        for slot in sorted(self.sizes, key=lambda s: -self.sizes[s]):
            for n, group in enumerate(found):
                if not self.conflicts[slot] & masks[n] and self._kind(slot) == self._kind(group[0]):
                    group.append(slot)
                    masks[n] |= self.bits[slot]
                    break
            else:
                found.append([slot])
                masks.append(self.bits[slot])
        return found

    def _kind(self, slot: Value) -> tuple[bool, ...]:
        return slot in self.pinned, slot in self.frames, slot in self.rewritten


def _leaving(groups: list[list[Value]], slots: _Slots, room: int, taken: Value | None) -> set[int]:
    """Which groups leave the stack: the largest, frames last, until the others fit; and all they
    meet. A taken frame has left already."""
    home = {slot: n for n, group in enumerate(groups) for slot in group}
    total = sum(slots.sizes[g[0]] for g in groups)
    moved: set[int] = set()

    def leave(todo: list[int]) -> None:
        nonlocal total
        while todo:
            number = todo.pop()
            if number not in moved:
                moved.add(number)
                total -= slots.sizes[groups[number][0]]
                met = (s for slot in groups[number] for s in slots.together.get(slot, ()))
                todo += [home[s] for s in met if s in home]

    leave([home[s] for s in slots.together.get(taken, ()) if s in home] if taken else [])
    leave([home[s] for s in slots.rewritten if s in home])
    movable = [n for n, group in enumerate(groups) if group[0] not in slots.pinned]
    first = [
        n for n in movable if groups[n][0] not in slots.frames or slots.sizes[groups[n][0]] > room
    ]
    for number in first + movable:
        if total > room:
            leave([number])
    return moved


def _place(slots: _Slots, room: int, used: int, taken: Value | None, frames: SharedFrames) -> int:
    """One slot or one piece of scratch for each group; how much scratch is used then."""
    function, groups = slots.function, slots.groups()
    moved = _leaving(groups, slots, room, taken)
    stands_for: dict[Value, Value] = {}
    offsets = {taken: frames.places[function.name]} if taken else {}
    head: list[Instr] = []
    for number, group in enumerate(groups):
        size = slots.sizes[group[0]]
        if number in moved:
            offsets.update(dict.fromkeys(group, used))
            used += size
        else:
            slot = Value(STACK)
            head.append(Instr("slot", attrs={"size": size}, result=slot))
            stands_for.update(dict.fromkeys(group, slot))
    for block in function.blocks:
        block.instrs = [i for i in block.instrs if i.op != "slot"]
    function.blocks[0].instrs[:0] = head
    if offsets:
        frames.leave(function, offsets)
        move(function, offsets, slots.roots)
    replace(function, stands_for)
    return used


def _written(instr: Instr) -> list[Value]:
    """Pointers to what an instruction writes."""
    if instr.op in ("store", "copy", "fill"):
        return instr.args[:1]
    filled = FILLED.get(str(instr.attrs.get("helper")))
    return [instr.args[filled[0]]] if filled else []


def _size(instr: Instr) -> int:
    size = instr.attrs["size"]
    assert isinstance(size, int)
    return (size + 7) // 8 * 8
