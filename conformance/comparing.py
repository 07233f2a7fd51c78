"""A case under upstream and under bpfscript with each backend: equal, or what differs."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from conformance import machine
from conformance.casefile import Case
from conformance.recording import Recording
from conformance.running import BACKENDS, HERE, NORMAL, Output, Way, run

EXPECTED_FAILURES = HERE / "expected_failures.txt"


class Verdict(Enum):
    EQUAL = "equal"
    DIFFERENT = "different on purpose"
    EXPECTED = "failing as expected"
    FAILING = "failing"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Result:
    """`why`: the difference as text, or the reason to skip; empty when equal."""

    case: Case
    backend: str
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Comparison:
    """How cases are compared.

    expected: reasons of failures by the case's name
    trust: where upstream's output is recorded, compare with that; else it is recorded
    """

    programs: list[Path]
    expected: Mapping[str, str]
    recording: Recording
    backends: Sequence[str] = BACKENDS
    trust: bool = False
    way: Way = NORMAL

    def check(self, case: Case) -> list[Result]:
        """Run the tools in all formats of the case; a result for each backend."""
        if feature := machine.missing(case.needs):
            why = f"needs {feature}"
            return [Result(case, backend, Verdict.SKIPPED, why) for backend in self.backends]
        theirs = {form: self._upstream(case, form) for form in case.formats}
        results = []
        for backend in self.backends:
            ours = {
                form: run(case, backend, form, self.programs, self.way) for form in case.formats
            }
            verdict, why = judge(case, theirs, ours, self.expected.get(case.name))
            results.append(Result(case, backend, verdict, why))
        return results

    def _upstream(self, case: Case, form: str) -> str:
        found = self.recording.find(case, form) if self.trust else None
        if found is None:
            output = run(case, "upstream", form, self.programs, self.way)
            found = output.normalised(case)
            self.recording.put(case, form, found)
        return found


def judge(
    case: Case, theirs: Mapping[str, str], ours: Mapping[str, Output], expected: str | None
) -> tuple[Verdict, str]:
    """The verdict by format on upstream's normalised outputs and ours, and its reason.

    expected: why the case is expected to fail. If it passes all the same, it is failing; so is a
    case that says DIFFERENT and is equal, unless it says what to EXPECT whichever upstream gives.
    """
    found = ""
    for form, output in ours.items():
        found += difference(case, form, theirs[form], output)
        if case.expect is not None and case.expect not in output.stdout:
            return Verdict.FAILING, found + f"not as EXPECT says: {output.stdout}"
    if case.different and found:
        return Verdict.DIFFERENT, case.different
    if case.different and case.expect is None:
        return Verdict.FAILING, "equal, though it says DIFFERENT"
    if expected is not None:
        if found:
            return Verdict.EXPECTED, expected
        return Verdict.FAILING, "passes: take it out of expected_failures.txt"
    return (Verdict.FAILING if found else Verdict.EQUAL), found


def difference(case: Case, form: str, theirs: str, ours: Output) -> str:
    """What differs, line by line with a heading; empty if nothing does."""
    mine = ours.normalised(case)
    if theirs == mine:
        return ""
    diff = difflib.ndiff(theirs.splitlines(), mine.splitlines())
    found = "\n".join([f"[{form}] - upstream, + bpfscript", *diff]) + "\n"
    if case.stderr != "exact":
        found += "".join(f"  bpfscript says: {s}\n" for s in ours.stderr.splitlines()[:6])
    return found


def expected_failures(path: Path = EXPECTED_FAILURES) -> dict[str, str]:
    """Name → reason; lines `area/name reason`."""
    rows = (line.split(maxsplit=1) for line in path.read_text().splitlines())
    return {row[0]: row[1] for row in rows if row and not row[0].startswith("#")}
