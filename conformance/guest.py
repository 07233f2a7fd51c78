"""Cases that need what this machine lacks (kprobe, fentry, iterators), in one guest of the lab.

All tools run in the guest, upstream too. The guest's runner prints a JSON object for each result.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from conformance.casefile import Case
from conformance.comparing import Result, Verdict

LAB = Path(__file__).parent.parent / "lab"
KERNEL = "6.12"
SECONDS = 3000  # until the guest is ended; what has no result by then is failing
PATIENCE = 20  # a guest is emulated


def available() -> bool:
    return (LAB / ".cache" / KERNEL / "vmlinux").exists()


def run(cases: Sequence[Case], backends: Sequence[str]) -> list[Result]:
    """Results in the order of the cases, as `Comparison.check` gives them."""
    only = f"^({'|'.join(re.escape(case.name) for case in cases)})$"
    command = [
        str(LAB / "run"), "-k", KERNEL, "-t", str(SECONDS), "--",
        "env", "BPFSCRIPT_CACHE=/tmp/cache", sys.executable, "-B", "-m", "conformance.runner",
        "--results", "--forked", "--patience", str(PATIENCE),
        "--only", only, *(word for name in backends for word in ("--backend", name)),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=LAB.parent, stdout=subprocess.PIPE, text=True)
    found = dict(map(_read, done.stdout.splitlines()))
    lost = (Verdict.FAILING, f"the guest gave no result (exit status {done.returncode})")
    return [
        Result(case, backend, *found.get((case.name, backend), lost))
        for case in cases
        for backend in backends
    ]


def write(results: Iterable[Result]) -> None:
    """What `run` reads."""
    for r in results:
        row = (r.case.name, r.backend, r.verdict.value, r.why)
        print(json.dumps(row), flush=True)


def _read(line: str) -> tuple[tuple[str, str], tuple[Verdict, str]]:
    name, backend, verdict, why = json.loads(line)
    return (name, backend), (Verdict(verdict), why)
