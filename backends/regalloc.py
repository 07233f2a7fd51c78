"""Where values live: registers and spill slots, by linear scan over intervals.

r0–r2 are left to the code of single instructions. r3–r5 hold what no call happens under, r6–r9 the
rest; what finds no register waits in the frame. An interval runs from the first to the last place
where its value is live, holes included. Poletto, Sarkar, "Linear Scan Register Allocation" (1999).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable

from bpfscript.ir.core import Block, Instr, Value

_BRIEF = (3, 4, 5)
_LASTING = (6, 7, 8, 9)
_WORD = 8


def allocate(
    blocks: list[Block],
    params: list[Value],
    uses: Callable[[Instr], Iterable[Value]],
    results: Callable[[Instr], Value | None],
    calls: Callable[[Instr], bool],
    frame: int,
) -> tuple[dict[Value, int], int]:
    """The place of each value, and the bytes of frame then used, `frame` of which already were.

    A register's number, or the negative offset from r10 of a spill slot.
    """
    live_in = _live_in(blocks, uses, results)
    spans: dict[Value, list[int]] = {}
    call_places: list[int] = []
    at = 0

    def touch(value: Value, place: int) -> None:
        span = spans.setdefault(value, [place, place])
        span[0], span[1] = min(span[0], place), max(span[1], place)

    for value in params:
        touch(value, -1)
    for block in blocks:
        for value in (*live_in[block], *block.params):
            touch(value, at - 1)
        for instr in block.instrs:
            for value in uses(instr):
                touch(value, at)
            if calls(instr):
                call_places.append(at)
            if (made := results(instr)) is not None:
                touch(made, at + 1)
            at += 2
        for edge in block.terminator.targets:
            for value in live_in[edge.block]:
                touch(value, at - 1)
            for value in edge.block.params:
                touch(value, at - 1)
    return _scan(spans, call_places, frame)


def _live_in(
    blocks: list[Block],
    uses: Callable[[Instr], Iterable[Value]],
    results: Callable[[Instr], Value | None],
) -> dict[Block, set[Value]]:
    read: dict[Block, set[Value]] = {}
    made: dict[Block, set[Value]] = {}
    for block in blocks:
        known, needed = set(block.params), set()
        for instr in block.instrs:
            needed |= set(uses(instr)) - known
            if (result := results(instr)) is not None:
                known.add(result)
        read[block], made[block] = needed, known
    live = {block: set(read[block]) for block in blocks}
    changed = True
    while changed:
        changed = False
        for block in reversed(blocks):
            size = len(live[block])
            for edge in block.terminator.targets:
                live[block] |= live[edge.block] - made[block]
            changed = changed or len(live[block]) != size
    return live


def _scan(
    spans: dict[Value, list[int]], calls: list[int], frame: int
) -> tuple[dict[Value, int], int]:
    places: dict[Value, int] = {}
    active: list[tuple[int, int, Value]] = []  # end, place
    free: list[int] = []  # spill slots
    for value, (start, end) in sorted(spans.items(), key=lambda item: item[1]):
        for item in [a for a in active if a[0] < start]:
            active.remove(item)
            if item[1] < 0:
                free.append(item[1])
        n = bisect_right(calls, start)
        lasting = n < len(calls) and calls[n] < end
        taken = {a[1] for a in active}
        order = _LASTING if lasting else _BRIEF + _LASTING
        place = next((r for r in order if r not in taken), None)
        if place is None:
            victims = [a for a in active if a[1] in order and a[0] > end]
            if victims or not free:
                frame += _WORD
                slot = -frame
            else:
                slot = free.pop()
            if victims:  # its slot is new, for it began before the free ones were
                victim = max(victims, key=lambda a: a[0])
                active.remove(victim)
                active.append((victim[0], slot, victim[2]))
                places[victim[2]], place = slot, victim[1]
            else:
                place = slot
        places[value] = place
        active.append((end, place, value))
    return places, frame
