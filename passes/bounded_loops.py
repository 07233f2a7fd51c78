"""Every loop ends, in a way that the kernel's verifier can follow.

    head(%i): …   latch: jump head(%j)
    →  latch: %c = may_continue; branch %c, head(%j), stop      stop: return 0
    →  latch: %n = call iter_num_next %s; branch %n ≠ 0, head(%j), drained
       ways in: call iter_num_new %s, 0, ITERATED   ways out: call iter_num_destroy %s

Both let a loop be, once the verifier sees it repeat (see `loop_states`). may_goto (6.9) is the
cheaper one, but only the first SURE rounds of a frame are certain: after them the kernel gives it a
quarter of a second. So it serves where all rounds are known (see `trip_counts`) and few. The
iterator over numbers (6.4) serves the others: where the rounds are known, a drained one is made
anew, and where they are not, user space is told. Without either, a counter bounds each loop, and
the verifier walks it. Cost: blocks times loops, and that of `loop_states`.
"""

from __future__ import annotations

from bpfscript.diagnostics import Diagnostic, ScriptError
from bpfscript.ir.cfg import Graph, Loop
from bpfscript.ir.core import Block, Module
from bpfscript.target import Target

from .code import Code
from .loop_ends import ITERATED, LoopEnds
from .loop_joins import hide_compared
from .loop_states import bounding, hide_entering, hide_living, hide_loaded, typed_pointers
from .trip_counts import TripCounts

COUNTED = 4096  # rounds of a loop where the kernel has nothing better
OLDER = "loops without this limit need Linux 6.4, and portable objects are for older kernels, too"
SURE = 0xFFFF  # rounds in a frame: BPF_MAX_TIMED_LOOPS
LONGEST = 1 << 32  # rounds: more would keep a processor for minutes


def bounded_loops(module: Module, target: Target) -> None:
    repeats = target.has("may_goto") or target.has("iter_num")
    once = _around_callbacks(module, target) if repeats else set()
    for function in list(module.functions):
        if function.entry is None and repeats:
            hide_loaded(function, function.blocks)  # a loop of the kernel's, which calls it back
        if loops := Graph(function).loops():
            code, counts = Code(module, target, function), TripCounts(function, loops)
            if repeats:
                _repeating(code, loops, counts, once)
            else:
                _counted(code, loops, counts)


def _around_callbacks(module: Module, target: Target) -> set[Block]:
    if all(function.entry for function in module.functions):
        return set()  # nothing is called back
    from .callback_loops import callback_loops

    return callback_loops(module, target.release)


def _repeating(code: Code, loops: list[Loop], counts: TripCounts, once: set[Block]) -> None:
    may_goto, iterators = code.target.has("may_goto"), code.target.has("iter_num")
    known = {loop.header: counts.of(loop) for loop in loops}
    within = {loop.header: counts.within(loop) for loop in loops}
    _refuse(within, known, LONGEST)
    if not may_goto:
        _refuse(known, known, ITERATED)
    sure = _sure(within) | once if may_goto else set()
    function = code.function
    pointers = typed_pointers(function)
    fixed = pointers | bounding(code.module, function)
    hide_living(function, loops, fixed)
    hide_compared(function, loops, fixed)
    for loop in loops:
        hide_entering(function, loop, pointers)
        hide_loaded(function, [b for b in function.blocks if b in loop.body])
    ends = LoopEnds(code, loops)
    for loop in reversed(loops):
        if loop.header in sure:
            ends.may_continue(loop, "")
        elif not iterators:
            ends.may_continue(loop, "a quarter of a second")
        elif known[loop.header] is None:
            ends.iterate(loop, f"{ITERATED} rounds")
        else:
            ends.iterate(loop, "")


def _counted(code: Code, loops: list[Loop], counts: TripCounts) -> None:
    known = {loop.header: counts.of(loop) for loop in loops}
    _refuse(known, known, COUNTED, OLDER)
    ends = LoopEnds(code, loops)
    for loop in reversed(loops):
        if known[loop.header] is None:  # else the verifier counts the script's own
            ends.count(loop, COUNTED)


def _sure(within: dict[Block, int | None]) -> set[Block]:
    """Headers of the loops whose rounds are few even together."""
    found, left = set(), SURE
    for header, rounds in sorted(within.items(), key=lambda item: item[1] or 0):
        if rounds is not None and rounds <= left:
            left -= rounds
            found.add(header)
    return found


_Rounds = dict[Block, int | None]


def _refuse(rounds: _Rounds, own: _Rounds, limit: int, hint: str | None = None) -> None:
    """Loops with too many rounds, but for those that are in such a loop already."""
    faults = [
        Diagnostic(
            f"the loop goes round {count} times, at most {limit} are possible", span, hint=hint
        )
        for header, count in rounds.items()
        if count
        and count > limit
        and count <= limit * max(own[header] or 1, 1)
        and (span := header.terminator.span)
    ]
    if faults:
        raise ScriptError(faults)
