"""The results of a run as text: a line per case, a table per area, and REPORT.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from conformance.casefile import Case
from conformance.comparing import Result, Verdict

Old = Sequence[tuple[Case, bool]]  # cases tried under 0.17, and whether they agree there
_COLUMNS = (Verdict.EQUAL, Verdict.DIFFERENT, Verdict.FAILING)
_HEADINGS = ("equal", "different", "failing")
_WORDS = {Verdict.DIFFERENT: "Different on purpose", Verdict.EXPECTED: "Failing as expected",
          Verdict.FAILING: "Failing", Verdict.SKIPPED: "Skipped"}  # fmt: skip


def line(result: Result) -> str:
    """`equal  area/name (backend)`, the difference indented below when there is one."""
    below = "".join(f"\n    {text}" for text in result.why.splitlines())
    return f"{result.verdict.value:<8} {result.case.name} ({result.backend}){below}"


def table(results: Sequence[Result], old: Old = ()) -> str:
    """A markdown table, one row per area and one for all; three columns for each backend.

    Failing are also those that are expected to.
    """
    backends = list(dict.fromkeys(result.backend for result in results))
    areas = list(dict.fromkeys(result.case.area for result in results))
    head = ["area", "cases", *(f"{b}: {h}" for b in backends for h in _HEADINGS), "skipped"]
    rows = [head + ["0.17: equal"] * bool(old), ["---", *["--:"] * (len(head) - 1 + bool(old))]]
    for area in [*areas, "all"]:
        of = [r for r in results if area in (r.case.area, "all")]
        row = [area, str(len({r.case.name for r in of}))]
        for backend in backends:
            counts = Counter(r.verdict for r in of if r.backend == backend)
            counts[Verdict.FAILING] += counts[Verdict.EXPECTED]
            row += [str(counts[verdict]) for verdict in _COLUMNS]
        row.append(str(len({r.case.name for r in of if r.verdict is Verdict.SKIPPED})))
        if old:
            tried = [same for case, same in old if area in (case.area, "all")]
            row.append(f"{sum(tried)} of {len(tried)}" if tried else "")
        rows.append(row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def document(results: Sequence[Result], old: Old) -> str:
    """REPORT.md: the table, then every case that is not equal, with its reason."""
    parts = [
        "# Conformance: bpfscript beside bpftrace 0.27.1\n",
        "Made by `make conformance`: the same script and workload under both, outputs normalised"
        " and compared, in text and in JSON, with each backend. Cases whose scripts are old enough"
        " also run under bpftrace 0.17.\n",
        table(results, old) + "\n",
    ]
    for verdict, heading in _WORDS.items():
        if chosen := [result for result in results if result.verdict is verdict]:
            parts.append(f"## {heading}\n")
            parts.append("".join(_entries(chosen)))
    if differing := [case.name for case, same in old if not same]:
        parts.append("## Failing under 0.17\n")
        parts.append("".join(f"- `{name}`\n" for name in differing))
    return "\n".join(parts)


def _entries(results: Sequence[Result]) -> list[str]:
    """A line for each case, or for each backend where their reasons are not the same."""
    whys: dict[str, dict[str, list[str]]] = {}
    for r in results:
        whys.setdefault(r.case.name, {}).setdefault(r.why, []).append(r.backend)
    every = {r.backend for r in results}
    return [
        f"- `{name}`{'' if set(backends) == every else f' ({chr(44).join(backends)})'}:"
        f" {_reason(why)}\n"
        for name, found in whys.items()
        for why, backends in found.items()
    ]


def _reason(why: str) -> str:
    """One line of prose as it is, a difference as an indented block."""
    if "\n" not in why.strip():
        return why.strip()
    return "\n\n" + "".join(f"      {text}\n" for text in why.splitlines())
