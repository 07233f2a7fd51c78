"""Time and memory beside upstream's, both measured in this run, interleaved. Asserts nothing.

    python -m conformance.bench [RUNS]

Wants a quiet machine. RUNS (10) of the short rows; those that take upstream long run a third.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

UPSTREAM = Path(__file__).parent / ".upstream" / "bpftrace"
OURS = Path(sys.executable).parent / "bpfscript"


@dataclass(frozen=True)
class Row:
    """`tracing`: seconds that the script itself asks for, taken off both times."""

    name: str
    args: tuple[str, ...]
    tracing: float = 0.0
    slow: bool = False


ROWS = (
    Row("start: begin, exit", ("-e", "BEGIN { exit(); }")),
    Row("start: kernel struct", ("-e", "BEGIN { printf(\"%d\\n\", curtask.pid); exit(); }")),
    Row(
        "start: one tracepoint",
        ("-e", "t:sched:sched_switch { @ = count(); } interval:ms:1 { exit(); }"),
    ),
    Row(
        "lab's first script",
        ("-e", "t:syscalls:sys_enter_* { @calls[probe] = count(); } interval:s:1 { exit(); }"),
        tracing=1.0,
        slow=True,
    ),
)  # fmt: skip


def measure(tool: Path, args: tuple[str, ...]) -> tuple[float, float]:
    """Seconds and peak MiB of one run. Raises CalledProcessError if it fails."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [str(tool), *args],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr
    complaint = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(
            process.returncode, [str(tool), *args], stderr=complaint
        )
    return seconds, usage.ru_maxrss / 1024


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    print(f"{'':<24}{'upstream':>20}{'bpfscript':>20}{'time':>8}{'memory':>8}")
    for row in ROWS:
        seen: dict[Path, list[tuple[float, float]]] = {UPSTREAM: [], OURS: []}
        for _ in range(max(1, runs // 3) if row.slow else runs):
            for tool, results in seen.items():
                seconds, memory = measure(tool, row.args)
                results.append((seconds - row.tracing, memory))
        (theirs, theirs_memory), (ours, ours_memory) = (
            (median(s for s, _ in results), median(m for _, m in results))
            for results in seen.values()
        )
        columns = (
            f"{row.name:<24}",
            f"{theirs:>10.3f} s {theirs_memory:>4.0f} MiB",
            f"{ours:>10.3f} s {ours_memory:>4.0f} MiB",
            f"{ours / theirs:>8.2f}{ours_memory / theirs_memory:>8.2f}",
        )
        print("".join(columns), flush=True)


if __name__ == "__main__":
    main()
