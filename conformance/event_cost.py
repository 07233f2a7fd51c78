"""What an event costs in the kernel, beside upstream's. Asserts nothing.

    python -m conformance.event_cost [RUNS [EVENTS [NAME]]]

Nanoseconds of BPF programs as the kernel counts them (`kernel.bpf_stats_enabled`, `run_time_ns` in
a program's fdinfo): exact, and blind to all else that the machine does. From each script's cost an
empty script's on the same probes is taken off, so that what attaching costs, and the kernel's own
clock, is in neither column. Tools take turns; medians of RUNS (3) of the best of ten batches, of
EVENTS (10,000) events each: what interrupts a batch is no cost of ours.

The workload makes two system calls an event, of which a script traces one. Where a tool sees the
other too, that is part of what its event costs: `empty` shows the whole of it. `traced` is what an
event costs the workload, in CPU time of its own, with all that the kernel does besides.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from .bench import OURS, UPSTREAM

STATS = Path("/proc/sys/kernel/bpf_stats_enabled")
WORKLOAD = Path(__file__).parent / "programs" / "events.c"
READ, ACCESS = "t:syscalls:sys_enter_read", "t:syscalls:sys_enter_access"
LATENCY = f"{READ} {{ @s[tid] = nsecs; }} t:syscalls:sys_exit_read /@s[tid]/"
BATCHES = 10
MINE = '/comm == "events"/'


@dataclass(frozen=True)
class Script:
    """`empty`: the same probes with nothing to do, taken off."""

    name: str
    text: str
    empty: str = f"{READ} {{ }}"


SCRIPTS = (
    Script("count", f"{READ} {{ @ = count(); }}"),
    Script("sum by fd", f"{READ} {{ @[args.fd] = sum(args.count); }}"),
    Script("count by comm", f"{READ} {{ @[comm] = count(); }}"),
    Script(
        "count by probe",
        "t:syscalls:sys_enter_read,t:syscalls:sys_enter_access { @[probe] = count(); }",
        "t:syscalls:sys_enter_read,t:syscalls:sys_enter_access { }",
    ),
    Script("hist", f"{READ} {{ @ = hist(args.count); }}"),
    Script(
        "latency by tid",
        f"{LATENCY} {{ @ = hist(nsecs - @s[tid]); delete(@s, tid); }}",
        f"{READ} {{ }} t:syscalls:sys_exit_read {{ }}",
    ),
    Script("stack counts", f"{READ} {{ @[kstack] = count(); }}"),
    Script(
        "string argument", f"{ACCESS} {{ @[str(args.filename)] = count(); }}", f"{ACCESS} {{ }}"
    ),
    Script("struct chain", f"{READ} {{ @[curtask.real_parent.real_parent.pid] = count(); }}"),
    Script("comm predicate", f'{READ} /comm == "events"/ {{ @ = count(); }}'),
    Script("printf", f'{READ} {MINE} {{ printf("%d %d\\n", pid, args.fd); }}'),
)


def build(directory: Path) -> Path:
    """The workload's executable."""
    program = directory / "events"
    subprocess.run(["gcc", "-O2", "-o", program, WORKLOAD], check=True)
    return program


@contextlib.contextmanager
def statistics() -> Iterator[None]:
    """The kernel's clock of programs, for as long as we look."""
    before = STATS.read_text()
    STATS.write_text("1")
    try:
        yield
    finally:
        STATS.write_text(before)


def measure(tool: Path, script: str, workload: Path, events: int) -> tuple[float, float]:
    """Nanoseconds of all of the tool's programs for each event of the workload, and the workload's
    own."""
    process = subprocess.Popen(
        [tool, "-e", 'BEGIN { printf("ready\\n"); } ' + script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout
    try:
        _wait_for(process.stdout.fileno(), b"ready")
        drained = subprocess.Popen(["cat"], stdin=process.stdout, stdout=subprocess.DEVNULL)
        run(workload, 1000)
        seen, own = [spent(process.pid)], []
        for _ in range(BATCHES):
            own.append(run(workload, events))
            seen.append(spent(process.pid))
        programs = min(after - before for before, after in itertools.pairwise(seen))
        return programs / events, min(own) / events
    finally:
        process.terminate()
        process.communicate()
        drained.wait()


def run(workload: Path, events: int) -> float:
    """Nanoseconds of CPU time that the workload took."""
    process = subprocess.Popen([workload, str(events)])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return (usage.ru_utime + usage.ru_stime) * 1e9


def _wait_for(descriptor: int, text: bytes) -> None:
    """Raises TimeoutError, or EOFError if the tool ends first."""
    seen = b""
    while text not in seen:
        if not select.select([descriptor], [], [], 20)[0]:
            raise TimeoutError(f"{text!r} did not appear")
        part = os.read(descriptor, 4096)
        if not part:
            raise EOFError(f"{text!r} did not appear: {seen!r}")
        seen += part


def spent(pid: int) -> int:
    """run_time_ns of the programs that a process holds descriptors of."""
    total: dict[str, int] = {}
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        text = ""
        with contextlib.suppress(FileNotFoundError):  # let go of meanwhile
            text = path.read_text()
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if "run_time_ns" in fields:
            total[fields["prog_id"].strip()] = int(fields["run_time_ns"])
    return sum(total.values())


def main() -> None:
    runs, events = (int(a) for a in (*sys.argv[1:3], *("3", "10000")[len(sys.argv[1:3]) :]))
    wanted = sys.argv[3] if len(sys.argv) > 3 else ""
    tools = {"upstream": UPSTREAM, "bpfscript": OURS}
    print(
        f"\nns per event{'':<8}{'upstream':>10}{'empty':>8}{'bpfscript':>11}{'empty':>8}"
        f"{'ratio':>8}"
        f"{'traced: upstream':>19}{'bpfscript':>11}"
    )
    with tempfile.TemporaryDirectory() as directory, statistics():
        workload = build(Path(directory))
        untraced = min(run(workload, events) for _ in range(BATCHES)) / events
        seen: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for script in (s for s in SCRIPTS if wanted in s.name):
            kinds = [script.text] + [script.empty] * (("upstream", script.empty) not in seen)
            for _, kind, (name, tool) in itertools.product(range(runs), kinds, tools.items()):
                cost = measure(tool, kind, workload, events)
                seen.setdefault((name, kind), []).append(cost)
            print(line(script, seen, untraced), flush=True)


def line(
    script: Script, seen: dict[tuple[str, str], list[tuple[float, float]]], untraced: float
) -> str:
    """The script's row: medians."""
    programs, empty, traced = [], [], []
    for name in ("upstream", "bpfscript"):
        full, own = (median(of) for of in zip(*seen[name, script.text], strict=True))
        empty.append(median(cost for cost, _ in seen[name, script.empty]))
        programs.append(full - empty[-1])
        traced.append(own - untraced)
    (theirs, ours), (none, nothing) = programs, empty
    return (
        f"{script.name:<20}{theirs:>10.1f}{none:>8.1f}{ours:>11.1f}{nothing:>8.1f}"
        f"{ours / theirs:>8.2f}{traced[0]:>19.0f}{traced[1]:>11.0f}"
    )


if __name__ == "__main__":
    main()
