"""Time and memory beside upstream's, both measured in this run, interleaved. Asserts nothing.

    python -m conformance.bench [RUNS]

Wants a quiet machine. RUNS (10) of the short rows; those that take upstream long run a third.
Ours: as it runs the first time, with each backend, and again, from its cache.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

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


@dataclass(frozen=True)
class Tool:
    """A way to run a script. cache: whether what earlier runs kept may be used."""

    name: str
    command: tuple[str, ...]
    cache: bool = False


TOOLS = (
    Tool("upstream", (str(UPSTREAM),)),
    Tool("llvm", (str(OURS), "--backend", "llvm")),
    Tool("native", (str(OURS), "--backend", "native")),
    Tool("cached", (str(OURS),), cache=True),
)


def measure(tool: Tool, args: tuple[str, ...], cache: str) -> tuple[float, float]:
    """Seconds and peak MiB of one run. Raises CalledProcessError if it fails."""
    words = [*tool.command, *args]
    began = time.perf_counter()
    process = subprocess.Popen(
        words,
        env={**os.environ, "BPFSCRIPT_CACHE": cache if tool.cache else "off"},
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
        raise subprocess.CalledProcessError(process.returncode, words, stderr=complaint)
    return seconds, usage.ru_maxrss / 1024


def report(row: Row, runs: int, cache: str) -> str:
    """The row's line: medians, and after each of ours the ratios of time and memory."""
    measure(TOOLS[-1], row.args, cache)  # what is cached was seen before
    seen: dict[str, list[tuple[float, float]]] = {tool.name: [] for tool in TOOLS}
    for _ in range(runs):
        for tool in TOOLS:
            seconds, memory = measure(tool, row.args, cache)
            seen[tool.name].append((seconds - row.tracing, memory))
    columns, base = [f"{row.name:<24}"], (0.0, 0.0)
    for name, results in seen.items():
        seconds, memory = (median(of) for of in zip(*results, strict=True))
        columns.append(f"{seconds:>8.3f} s {memory:>4.0f} MiB")
        if name == TOOLS[0].name:
            base = seconds, memory
        else:
            columns.append(f"{seconds / base[0]:>6.2f} {memory / base[1]:>5.2f}")
    return "".join(columns)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    first, *others = (tool.name for tool in TOOLS)
    print(f"{'':<24}{first:>19}" + "".join(f"{name:>19}{'ratios':>12}" for name in others))
    with TemporaryDirectory() as cache:
        for row in ROWS:
            print(report(row, max(1, runs // 3) if row.slow else runs, cache), flush=True)


if __name__ == "__main__":
    main()
