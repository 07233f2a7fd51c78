"""The same scripts under upstream bpftrace and under bpfscript, outputs compared.

    python -m conformance.runner [--backend NAME] [--report FILE] [--only REGEX] [--tool NAME] …

Each case runs in a directory of its own, first under upstream, then under bpfscript with each
backend, in each of its formats. The tools trace only what the case started: by -c, by -p, or by a
filter in the script. --lab takes cases that this machine cannot run to a guest. --report also
tries old scripts under bpftrace 0.17, and records upstream's outputs, for tests (`recording`).
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conformance import casefile, forked, guest, machine, report, vintage
from conformance.casefile import Case
from conformance.comparing import Comparison, Result, Verdict, expected_failures
from conformance.recording import Recording
from conformance.running import BACKENDS, OLD, TOOLS, UPSTREAM, Way, run


def show(case: Case, tool: str, programs: list[Path]) -> None:
    """Print what one tool gives, unchanged."""
    for form in case.formats:
        output = run(case, tool, form, programs)
        print(f"== {case.name} [{form}] exit {output.exit}\n{output.stdout}{output.stderr}", end="")


def compare(cases: Sequence[Case], how: Comparison, options: argparse.Namespace) -> list[Result]:
    """Results of all cases, told as they come. What fails beside others is tried again alone."""
    results: list[Result] = []

    def tell(found: list[Result]) -> None:
        results.extend(found)
        if options.results:
            guest.write(found)
            return
        for result in found:
            if options.v or result.verdict is Verdict.FAILING:
                print(report.line(result), flush=True)

    def fails(found: list[Result]) -> bool:
        return any(result.verdict is Verdict.FAILING for result in found)

    away = [c for c in cases if options.lab and guest.available() and machine.missing(c.needs)]
    with ThreadPoolExecutor(options.j + 1) as pool:
        there = pool.submit(guest.run, away, how.backends) if away else None
        again: list[Case] = []
        for found in pool.map(how.check, [c for c in cases if c not in away]):
            if options.j > 1 and fails(found):
                again.append(found[0].case)
            else:
                tell(found)
        if there:
            tell(there.result())
    for case in again:
        tell(how.check(case))
    order = {case.name: at for at, case in enumerate(cases)}
    return sorted(results, key=lambda result: order[result.case.name])


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="conformance.runner", description=__doc__)
    parser.add_argument(
        "--backend", action="append", choices=BACKENDS, help="all, if none is given"
    )
    parser.add_argument("--report", type=Path, metavar="FILE")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose area/name matches")
    parser.add_argument("--lab", action="store_true", help="what this machine lacks, in a guest")
    parser.add_argument("--tool", choices=TOOLS, help="show what this one gives, compare nothing")
    parser.add_argument("--results", action="store_true", help="a line of JSON for each result")
    parser.add_argument("--patience", type=float, default=1.0, help="factor of all times")
    parser.add_argument("--forked", action="store_true", help="start bpfscript by a fork")
    jobs = os.cpu_count() or 1
    parser.add_argument("-j", type=int, default=jobs, metavar="N", help="cases at a time")
    parser.add_argument("-v", action="store_true", help="every case, as soon as it is done")
    return parser.parse_args()


def main() -> int:
    # A shell starts what runs in the background with interrupts ignored, as children would be then.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    options = arguments()
    if not UPSTREAM.exists():
        print("upstream is not unpacked: make conformance/.upstream/bpftrace", file=sys.stderr)
        return 2
    cases = [case for case in casefile.load() if re.search(options.only, case.name)]
    recording = Recording()
    with tempfile.TemporaryDirectory(prefix="programs-") as folder:
        programs = machine.build(Path(folder), cases)
        if options.tool:
            for case in cases:
                show(case, options.tool, programs)
            return 0
        backends = tuple(options.backend or BACKENDS)
        if options.forked:
            forked.preload()
        way = Way(options.patience, options.forked)
        how = Comparison(programs, expected_failures(), recording, backends, way=way)
        results = compare(cases, how, options)
        old = (
            vintage.check(vintage.chosen(cases), programs, options.j)
            if options.report and OLD.exists()
            else []
        )
    if not options.results:
        print(report.table(results, old))
    if options.report:
        options.report.write_text(report.document(results, old))
        recording.write({case.name for case in casefile.load()})
    failing = any(result.verdict is Verdict.FAILING for result in results)
    return failing or not all(same for _, same in old)


if __name__ == "__main__":
    sys.exit(main())
