"""What is in slots, as entries of the map that they stand before (`MapDef.key_at`)."""

from __future__ import annotations

from bpfscript.manifest import MapDef

from .entries import Entries, Shape


def out_of_slots(found: Entries, definition: MapDef, shape: Shape) -> Entries:
    """Entries of `shape`. Each CPU has slots of its own, and a key may be in those of several."""
    start, last = definition.key_at, definition.value_size // 8 - 1
    empty = bytes(shape.value)
    entries: dict[bytes, list[bytes]] = {}
    for cpu, states in enumerate(found.column(last)):
        for index in (i for i, state in enumerate(states) if state & 0xFFFFFFFF):
            slot = found[index][1][cpu]
            copies = entries.setdefault(slot[start : start + shape.key], [empty] * shape.copies)
            copies[cpu] = slot[: shape.value]
    return Entries.of(entries.items(), shape)
