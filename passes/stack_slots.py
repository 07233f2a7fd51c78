"""Slots fit the BPF stack; what does not goes to per-CPU scratch memory.

    %a = slot {size=16} … (last use) … %b = slot {size=8} …   →  one slot for both
    %c = slot {size=1024}   →  %p = call map_lookup_elem .scratch …; %c = ptr_add %p, 0

The verifier gives 512 bytes to a whole chain of calls (check_max_stack_depth); BUDGET leaves room
for what registers spill. Slots share memory if never needed at once: liveness of the pointers to
them, then first-fit colouring, largest first. Scratch memory is safe from other programs since each
function has its own region and the kernel does not enter a program twice on one CPU. Cost:
instructions times slots.
"""

from __future__ import annotations

from bpfscript.diagnostics import CompilerBug, Diagnostic, ScriptError, Span
from bpfscript.ir.cfg import Graph
from bpfscript.ir.core import Block, Edge, Function, Instr, Module, Value
from bpfscript.ir.types import I1, I32, I64, MAP, MAP_OBJECT, STACK
from bpfscript.manifest import Internal, MapDef, MapType
from bpfscript.target import Target

from .initialised import slots_of
from .values import definitions, operands, replace, use_blocks

BUDGET = 320  # bytes of slots in a chain of calls
_ON_STACK = ("for_each_map_elem", "iter_num_new", "iter_num_next", "iter_num_destroy")
SCRATCH_MAX = 32 << 10  # bytes of a per-CPU value (PCPU_MIN_UNIT_SIZE)


def stack_slots(module: Module, target: Target, budget: int = BUDGET) -> None:
    """May run again with a lower budget, in bytes; scratch memory grows then."""
    depth = _chain_lengths(module)
    scratch = module.maps.get(Internal.SCRATCH)
    used = scratch.value_size if scratch else 0
    for function in module.functions:
        slots = _Slots(function)
        if slots.sizes:
            groups = slots.groups()
            moved = _too_big(groups, slots, budget // depth[function.name] // 8 * 8)
            used = _place(function, slots, groups, moved, used)
    if used > SCRATCH_MAX:
        message = f"the script needs {used} bytes of memory for its values, {SCRATCH_MAX} are there"
        raise ScriptError([_refusal(module.functions, message)])
    if used:
        module.maps[Internal.SCRATCH] = MapDef(
            Internal.SCRATCH, MapType.PERCPU_ARRAY, None, None, 4, used, 1
        )


def _refusal(functions: list[Function], message: str) -> Diagnostic:
    spans = (i.span for f in functions for i in f.instructions() if i.span)
    span = next(spans, None)
    if not isinstance(span, Span):
        raise CompilerBug(message)
    return Diagnostic(message, span, hint="lower max_strlen")


def _chain_lengths(module: Module) -> dict[str, int]:
    """Functions in the longest chain of calls that each function is part of."""
    calls = {
        f.name: {str(i.attrs["function"]) for i in f.instructions() if "function" in i.attrs}
        for f in module.functions
    }
    callers = {name: {f for f, to in calls.items() if name in to} for name in calls}

    def longest(name: str, next: dict[str, set[str]]) -> int:
        return 1 + max((longest(n, next) for n in next[name]), default=0)

    return {name: longest(name, calls) + longest(name, callers) - 1 for name in calls}


class _Slots:
    """The slots of a function, which of them are needed at once, which are bound to one space."""

    def __init__(self, function: Function) -> None:
        self.function, self.made = function, definitions(function)
        self.sizes = {v: _size(i) for v, i in self.made.items() if i.op == "slot"}
        self.roots = slots_of(function, self.made, set(self.sizes))
        self.conflicts: dict[Value, set[Value]] = {v: set() for v in self.sizes}
        self.pinned: set[Value] = set()
        self._find_conflicts()
        self._conflict(self._escaped(), set(self.sizes))
        self._find_pinned()

    def _find_conflicts(self) -> None:
        graph = Graph(self.function)
        live_in: dict[Block, set[Value]] = {}
        changed = True
        while changed:
            changed = False
            for block in reversed(graph.order):
                live: set[Value] = set()
                for edge in block.terminator.targets:
                    live |= live_in.get(edge.block, set())
                self._scan(block, live)
                if live_in.get(block) != live:
                    live_in[block] = live
                    changed = True

    def _scan(self, block: Block, live: set[Value]) -> None:
        self._conflict(live, live)
        for instr in reversed(block.instrs):
            if instr.op == "slot" and instr.result:
                live.discard(instr.result)
            new = {s for v in operands(instr) for s in self.roots.get(v, ())} - live
            if new:
                live |= new
                self._conflict(new, live)

    def _conflict(self, these: set[Value], those: set[Value]) -> None:
        for slot in these:
            for other in those:
                if other is not slot:
                    self.conflicts[slot].add(other)
                    self.conflicts[other].add(slot)

    def _escaped(self) -> set[Value]:
        """Slots whose address is a value of the script: it may be read as long as there is one."""
        taken = (i for i in self.function.instructions() if i.op == "to_int")
        return {slot for instr in taken for slot in self.roots.get(instr.args[0], ())}

    def _find_pinned(self) -> None:
        """A callback's frame must be stack: bpf_for_each_map_elem takes nothing else. So must an
        iterator."""
        for instr in self.function.instructions():
            if instr.op == "call_function" or instr.attrs.get("helper") in _ON_STACK:
                for arg in instr.args:
                    self.pinned |= self.roots.get(arg, set())
        for slots in self.roots.values():  # what merges with it stays with it
            if slots & self.pinned:
                self.pinned |= slots

    def groups(self) -> list[list[Value]]:
        """Slots that share memory. Those that meet in one pointer get memory of one kind later."""
        found: list[list[Value]] = []
        for slot in sorted(self.sizes, key=lambda s: -self.sizes[s]):
            for group in found:
                same = (slot in self.pinned) == (group[0] in self.pinned)
                if same and not any(s in self.conflicts[slot] for s in group):
                    group.append(slot)
                    break
            else:
                found.append([slot])
        return found


def _too_big(groups: list[list[Value]], slots: _Slots, budget: int) -> list[list[Value]]:
    """The groups that leave the stack: the largest, until the others fit, and all they meet."""
    moved: list[list[Value]] = []
    total = sum(slots.sizes[g[0]] for g in groups)
    rest = list(groups)
    while total > budget:
        movable = [g for g in rest if g[0] not in slots.pinned]
        if not movable:
            needed, there = f"needs {total} bytes of stack", f"{budget} are there"
            raise ScriptError(
                [_refusal([slots.function], f"what loops over maps share {needed}, {there}")]
            )
        todo = [movable[0]]
        while todo:
            group = todo.pop()
            if group not in rest:
                continue
            rest.remove(group)
            moved.append(group)
            total -= slots.sizes[group[0]]
            members = set(group)
            met = {s for many in slots.roots.values() if many & members for s in many}
            todo += [g for g in rest if met & set(g)]
    return moved


def _place(
    function: Function,
    slots: _Slots,
    groups: list[list[Value]],
    moved: list[list[Value]],
    used: int,
) -> int:
    """One slot or one piece of scratch for each group."""
    start = function.blocks[0]
    for block in function.blocks:
        block.instrs = [i for i in block.instrs if i.op != "slot"]
    stands_for: dict[Value, Value] = {}
    head: list[Instr] = []
    for group in groups:
        if group not in moved:
            slot = Value(STACK)
            head.append(Instr("slot", attrs={"size": slots.sizes[group[0]]}, result=slot))
            stands_for.update(dict.fromkeys(group, slot))
    if moved:
        members = {s for g in moved for s in g}
        home = _home(function, members)
        _retype(slots, members)
        key, base, offsets = Value(STACK), Value(MAP), dict[Value, int]()
        for group in moved:
            offsets.update(dict.fromkeys(group, used))
            used += slots.sizes[group[0]]
        _point_into(function, base, offsets)
        _look_up(function, home, key, base)
        head.append(Instr("slot", attrs={"size": 8}, result=key))
    start.instrs[:0] = head
    replace(function, stands_for)
    return used


def _retype(slots: _Slots, moved: set[Value]) -> None:
    for value, roots in slots.roots.items():
        if roots & moved:
            value.type = MAP


def _home(function: Function, moved: set[Value]) -> Block:
    """Where to look the scratch memory up: above all its uses, but outside of loops.

    So a program that leaves early, by its predicate or for a foreign system call, pays nothing.
    """
    graph = Graph(function)
    uses = use_blocks(function)
    blocks = {b for slot in moved for b in uses.get(slot, ()) if b in graph.index}
    home = max(blocks, key=lambda b: graph.index[b], default=graph.order[0])
    while not all(graph.dominates(home, b) for b in blocks):
        home = graph.dominator[home]
    for loop in reversed(graph.loops()):  # inner ones first
        if home in loop.body:
            home = graph.dominator[loop.header]
    return home


def _point_into(function: Function, base: Value, offsets: dict[Value, int]) -> None:
    """A pointer of its own for each use of scratch: one for all would take a register, or a word of
    the stack, all the time."""
    for block in function.blocks:
        instrs: list[Instr] = []
        for instr in block.instrs:
            pointers: dict[Value, Value] = {}
            for slot in dict.fromkeys(v for v in operands(instr) if v in offsets):
                pointers[slot], offset = Value(MAP), Value(I64)
                instrs.append(Instr("const", attrs={"value": offsets[slot]}, result=offset))
                instrs.append(Instr("ptr_add", [base, offset], result=pointers[slot]))
            instr.args = [pointers.get(a, a) for a in instr.args]
            for edge in instr.targets:
                edge.args = [pointers.get(a, a) for a in edge.args]
            instrs.append(instr)
        block.instrs = instrs


def _look_up(function: Function, home: Block, key: Value, base: Value) -> None:
    """Find the scratch memory; a program without it ends, which never happens."""
    zero, object, null, result = (Value(t) for t in (I32, MAP_OBJECT, I1, I64))
    body = Block("scratch", [], home.instrs)
    leave = Block(
        "no_scratch",
        [],
        [Instr("const", attrs={"value": 0}, result=result), Instr("return", [result])],
    )
    home.instrs = [
        Instr("const", attrs={"value": 0}, result=zero),
        Instr("store", [key, zero], {"off": 0}),
        Instr("map_ptr", attrs={"map": Internal.SCRATCH}, result=object),
        Instr("call", [object, key], {"helper": "map_lookup_elem"}, base),
        Instr("is_null", [base], result=null),
        Instr("branch", [null], targets=[Edge(leave), Edge(body)]),
    ]
    function.blocks.insert(function.blocks.index(home) + 1, body)
    function.blocks.append(leave)


def _size(instr: Instr) -> int:
    size = instr.attrs["size"]
    assert isinstance(size, int)
    return (size + 7) // 8 * 8
