"""What a program of an iterator begins with.

    return 1 if a quarter of a ring is full

The kernel ends the read(2) that runs the program with EAGAIN then, and offers the same object again
at the next one (kernel/bpf/bpf_iter.c): user space empties the ring in between.
"""

from __future__ import annotations

from bpfscript.manifest import Internal, MapType

from .code import Code
from .legal_events import CONTROL_SIZE, RING_SIZE, UNREAD

_RINGS = ((Internal.EVENTS, False, RING_SIZE), (Internal.CONTROL, True, CONTROL_SIZE))
_SIZE = 1  # BPF_RB_RING_SIZE


def prologue(code: Code) -> None:
    pause = code.block("pause")
    code.cold.add(pause)
    for name, steers, size in _RINGS:
        if any(event.steers == steers for event in code.module.events):
            code.internal_map(name, MapType.RINGBUF, 0, size)
            ring = code.value("map_ptr", map=name)
            unread = code.call("ringbuf_query", ring, code.const(UNREAD))
            whole = code.call("ringbuf_query", ring, code.const(_SIZE))
            go = code.block("go")
            code.branch(code.op("ult", unread, code.op("lshr", whole, 2)), go, pause)
            code.at(go)
    body = code.current
    code.at(pause)
    code.ret(code.const(1))
    assert body
    code.at(body)
