"""Time and memory beside upstream's, both measured in this run, interleaved. Asserts nothing.

    python -m conformance.bench [RUNS]

Wants a quiet machine. RUNS (10) of the short rows; those that take upstream long run a fifth. For
each tool the median wall time, CPU time and peak memory; of all but the first their ratios to it.
Ours: at first sight of the script, with each backend, on a machine where the tool ran before (so
that what it keeps of the kernel is there); and again, from its cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

UPSTREAM_0_17 = Path(__file__).parent / ".upstream-0.17" / "bpftrace"
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
    Tool("0.17", (str(UPSTREAM_0_17),)),
    Tool("llvm", (str(OURS), "--backend", "llvm")),
    Tool("native", (str(OURS), "--backend", "native")),
    Tool("cached", (str(OURS),), cache=True),
)
PRIMER = ("-e", "BEGIN { @ = curtask.tgid; exit(); }")
"""A script of no row, that reads the kernel's types."""

Numbers = tuple[float, ...]


def runs_here(tool: Tool) -> bool:
    """Whether it can run at all: it is there, and this kernel is not too new for it."""
    try:
        measure(tool, PRIMER, "off")
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def measure(tool: Tool, args: tuple[str, ...], cache: str) -> Numbers:
    """Wall seconds, CPU seconds and peak MiB of one run. cache: a directory of what was kept, left
    as it is unless the tool may use all of it. Raises CalledProcessError if it fails."""
    with TemporaryDirectory() as fresh:
        if not tool.cache and cache != "off":
            cache = shutil.copytree(cache, f"{fresh}/cache")
        return _run([*tool.command, *args], cache)


def _run(words: list[str], cache: str) -> Numbers:
    began = time.perf_counter()
    process = subprocess.Popen(
        words,
        env={**os.environ, "BPFSCRIPT_CACHE": cache},
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
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def report(row: Row, runs: int, tools: list[Tool], primed: str) -> list[str]:
    """A line for each tool. primed: a cache that has seen other scripts."""
    seen: dict[str, list[Numbers]] = {tool.name: [] for tool in tools}
    with TemporaryDirectory() as place:
        cache = shutil.copytree(primed, f"{place}/cache")
        for tool in tools:
            if tool.cache:
                measure(tool, row.args, cache)
        for _ in range(runs):
            for tool in tools:
                seconds, *others = measure(tool, row.args, cache if tool.cache else primed)
                seen[tool.name].append((seconds - row.tracing, *others))
    lines, base = [], tuple[float, ...]()
    for name, results in seen.items():
        found = tuple(median(of) for of in zip(*results, strict=True))
        base = base or found
        ratios = "".join(f"{own / other:>8.2f}" for own, other in zip(found, base, strict=True))
        seconds, spent, memory = found
        line = f"{row.name:<24}{name:<10}{seconds:>8.3f} s{spent:>9.3f} s{memory:>6.0f} MiB"
        lines.append(line + (ratios if found is not base else ""))
    return lines


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    tools = [tool for tool in TOOLS if runs_here(tool)]
    print(f"{'':<34}{'wall':>10}{'CPU':>11}{'memory':>10}{'ratios to upstream':>24}")
    with TemporaryDirectory() as place:
        primed = f"{place}/cache"
        measure(TOOLS[-1], PRIMER, primed)
        for row in ROWS:
            lines = report(row, max(1, runs // 5) if row.slow else runs, tools, primed)
            print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
