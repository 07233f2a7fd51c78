"""The same under bpftrace 0.17, for cases that say `ALSO 0.17`: their scripts are old enough.

    python -m conformance.vintage [--all] [--only REGEX]

Compared are exit codes and standard output without blank lines, of which 0.17 prints others, and
without `Attaching…`, which it prints there. --all tries every case and names those that agree.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from conformance import casefile, machine, normalise
from conformance.casefile import Case
from conformance.running import OLD, run

VERSION = "0.17"
_PROBE = re.compile(r"(^|[};\s])(begin|end)(?=\s*[{,])")


def agrees(case: Case, programs: list[Path]) -> bool:
    """Whether 0.17 and bpfscript print the same for the case's script.

    It is made to end, which 0.17 does not do by itself, with BEGIN and END in capitals.
    """
    prog = _PROBE.sub(lambda m: m[1] + m[2].upper(), case.prog or "")
    old = replace(case, prog=f"{prog} interval:ms:300 {{ exit(); }}", timeout=5.0)
    return _seen(old, VERSION, programs) == _seen(old, "native", programs)


def _seen(case: Case, tool: str, programs: list[Path]) -> tuple[int | None, list[str]]:
    output = run(case, tool, "text", programs)
    text = normalise.stdout(output.stdout, case.compare, case.replace)
    lines = [line for line in text.splitlines() if line and not line.startswith("Attaching")]
    return output.exit, lines


def check(cases: Sequence[Case], programs: list[Path], jobs: int) -> list[tuple[Case, bool]]:
    with ThreadPoolExecutor(jobs) as pool:
        found = pool.map(lambda case: agrees(case, programs), cases)
        return list(zip(cases, found, strict=True))


def chosen(cases: Sequence[Case], *, every: bool = False) -> list[Case]:
    """Those with a script in text that this machine can run."""
    return [
        case
        for case in cases
        if (every or VERSION in case.also)
        and case.prog is not None
        and "text" in case.formats
        and not machine.missing(case.needs)
    ]


def main() -> int:
    parser = argparse.ArgumentParser(prog="conformance.vintage", description=__doc__)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--only", default="", metavar="REGEX")
    options = parser.parse_args()
    if not OLD.exists():
        print("bpftrace 0.17 is not unpacked: make conformance/.upstream-0.17/bpftrace")
        return 2
    cases = [case for case in casefile.load() if re.search(options.only, case.name)]
    with tempfile.TemporaryDirectory(prefix="programs-") as folder:
        programs = machine.build(Path(folder), cases)
        results = check(chosen(cases, every=options.all), programs, jobs=2)
    for case, same in results:
        if same == options.all:
            print(f"{'equal' if same else 'failing'}  {case.name}")
    print(f"{sum(same for _, same in results)} of {len(results)} equal under {VERSION}")
    return 0 if options.all or all(same for _, same in results) else 1


if __name__ == "__main__":
    sys.exit(main())
