"""Kinds of probes, a row each: how they are written, what their body may use (LANGUAGE §3.1)."""

from __future__ import annotations

from bpfscript.manifest import ProgramType
from bpfscript.plain import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from bpfscript.words import Space


@dataclass(frozen=True, slots=True)
class ProbeKind:
    """What holds for all probes of a kind. Parts are counted after the kind's own name."""

    name: str
    aliases: tuple[str, ...]
    parts: tuple[int, ...]  # how many there may be, in the order that messages name them
    program: ProgramType
    attach: str = ""  # manifest.Attach.kind, if it is not the name
    probetype: str = ""  # as the builtin `probetype` shows it, if it is not the name
    space: Space = "none"  # where pointers of unknown origin point
    args: bool = False  # `args`
    argn: bool = False  # `arg0` …
    retval: bool = False
    func: bool = False
    ctx: str = ""  # struct that `ctx` points to; these kinds have registers, too
    filtered: bool = False  # -p is a test in the program, not a property of the attachment
    cookies: bool = False  # bpf_get_attach_cookie works: one program can tell its places apart
    listed: Literal["", "kernel", "user"] = ""  # what a wildcard in the place of the kind means


_REGISTERS, _SAMPLE = "struct pt_regs", "struct bpf_perf_event_data"
_RAW, _KPROBE, _PERF = ProgramType.RAW_TRACEPOINT, ProgramType.KPROBE, ProgramType.PERF_EVENT
_TRACING = ProgramType.TRACING

_ROWS = (
    ProbeKind("begin", (), (0,), _RAW, probetype="special"),
    ProbeKind("end", (), (0,), _RAW, probetype="special"),
    ProbeKind("self", (), (2,), _RAW, probetype="special"),
    ProbeKind("test", (), (1,), _RAW),
    ProbeKind("bench", (), (1,), _RAW, probetype="benchmark"),
    ProbeKind(
        "kprobe", ("k",), (1, 2), _KPROBE, space="kernel", argn=True, func=True, ctx=_REGISTERS,
        filtered=True, cookies=True, listed="kernel",
    ),
    ProbeKind(
        "kretprobe", ("kr",), (1, 2), _KPROBE, space="kernel", retval=True, func=True,
        ctx=_REGISTERS, filtered=True, cookies=True,
    ),
    ProbeKind(
        "fentry", ("f", "kfunc"), (1, 2, 3), _TRACING, space="kernel", args=True, func=True,
        filtered=True, cookies=True, listed="kernel",
    ),
    ProbeKind(
        "fexit", ("fr", "kretfunc"), (1, 2, 3), _TRACING, space="kernel", args=True,
        retval=True, func=True, filtered=True, cookies=True,
    ),
    ProbeKind(
        "tracepoint", ("t",), (2,), ProgramType.TRACEPOINT, space="kernel", args=True,
        filtered=True, cookies=True, listed="kernel",
    ),
    ProbeKind(
        "rawtracepoint", ("rt",), (2, 1), _RAW, attach="raw_tracepoint", space="kernel",
        args=True, argn=True, filtered=True, listed="kernel",
    ),
    ProbeKind(
        "uprobe", ("u",), (2, 3), _KPROBE, space="user", args=True, argn=True, func=True,
        ctx=_REGISTERS, cookies=True, listed="user",
    ),
    ProbeKind(
        "uretprobe", ("ur",), (2, 3), _KPROBE, space="user", retval=True, func=True,
        ctx=_REGISTERS, cookies=True,
    ),
    ProbeKind(
        "usdt", ("U",), (2, 3), _KPROBE, space="user", argn=True, ctx=_REGISTERS, cookies=True,
        listed="user",
    ),
    ProbeKind("profile", ("p",), (1, 2), _PERF, ctx=_SAMPLE, cookies=True),
    ProbeKind("interval", ("i",), (1, 2), _PERF, ctx=_SAMPLE, cookies=True),
    ProbeKind("software", ("s",), (1, 2), _PERF, ctx=_SAMPLE, cookies=True, listed="kernel"),
    ProbeKind("hardware", ("h",), (1, 2), _PERF, ctx=_SAMPLE, cookies=True, listed="kernel"),
    ProbeKind("watchpoint", ("w",), (3,), _PERF, ctx=_SAMPLE, cookies=True),
    ProbeKind("iter", ("it",), (1, 2), _TRACING, space="kernel", listed="kernel"),
)  # fmt: skip

PROBES = {row.name: row for row in _ROWS}
ALIASES = {alias: row for row in _ROWS for alias in row.aliases}

UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "hz": 0}
"""Units of `interval` and `profile` in nanoseconds; `hz` is a frequency."""


@dataclass(frozen=True, slots=True)
class PerfEvent:
    config: int  # enum perf_sw_ids or perf_hw_id, include/uapi/linux/perf_event.h
    count: int  # events between two runs, when the script does not say


SOFTWARE = {
    "alignment-faults": PerfEvent(7, 1),
    "bpf-output": PerfEvent(10, 1),
    "context-switches": PerfEvent(3, 1000),
    "cpu-clock": PerfEvent(0, 1_000_000),
    "cpu-migrations": PerfEvent(4, 1),
    "dummy": PerfEvent(9, 1),
    "emulation-faults": PerfEvent(8, 1),
    "major-faults": PerfEvent(6, 1),
    "minor-faults": PerfEvent(5, 100),
    "page-faults": PerfEvent(2, 100),
    "task-clock": PerfEvent(1, 1),
}
HARDWARE = {
    "backend-stalls": PerfEvent(8, 1_000_000),
    "branch-instructions": PerfEvent(4, 100_000),
    "branch-misses": PerfEvent(5, 100_000),
    "bus-cycles": PerfEvent(6, 100_000),
    "cache-misses": PerfEvent(3, 1_000_000),
    "cache-references": PerfEvent(2, 1_000_000),
    "cpu-cycles": PerfEvent(0, 1_000_000),
    "frontend-stalls": PerfEvent(7, 1_000_000),
    "instructions": PerfEvent(1, 1_000_000),
    "ref-cycles": PerfEvent(9, 1_000_000),
}
EVENT_ALIASES = {
    "cpu": "cpu-clock",
    "cs": "context-switches",
    "faults": "page-faults",
    "branches": "branch-instructions",
    "cycles": "cpu-cycles",
}
