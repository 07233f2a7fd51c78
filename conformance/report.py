"""The results of a run as text: a line per case, a table per area, and REPORT.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.runner import Result

HEADINGS = ("equal", "different on purpose", "failing as expected", "failing", "skipped")


def line(result: Result) -> str:
    """`equal  area/name`, the difference indented below when there is one."""
    below = "".join(f"\n    {text}" for text in result.why.splitlines())
    return f"{result.verdict.value:<8} {result.case.name}{below}"


def table(results: Sequence[Result]) -> str:
    """A markdown table, one row per area and one for all."""
    areas = list(dict.fromkeys(result.case.area for result in results))
    rows = [_row(area, [r for r in results if r.case.area == area]) for area in areas]
    head = [["area", "cases", *HEADINGS], ["---", *["--:"] * (1 + len(HEADINGS))]]
    return "\n".join(f"| {' | '.join(row)} |" for row in [*head, *rows, _row("all", results)])


def _row(name: str, results: Sequence[Result]) -> list[str]:
    counts = Counter(result.verdict.value for result in results)
    return [name, str(len(results)), *(str(counts[heading]) for heading in HEADINGS)]


def document(results: Sequence[Result]) -> str:
    """REPORT.md: the table, then every case that is not equal, with its reason."""
    parts = [
        "# Conformance: bpfscript beside bpftrace 0.27.1\n",
        "Made by `make conformance`: the same script and workload under both, outputs normalised"
        " and compared, in text and in JSON.\n",
        table(results) + "\n",
    ]
    for heading in HEADINGS[1:]:
        if chosen := [result for result in results if result.verdict.value == heading]:
            parts.append(f"## {heading.capitalize()}\n")
            parts.append("".join(f"- `{r.case.name}`: {_reason(r.why)}\n" for r in chosen))
    return "\n".join(parts)


def _reason(why: str) -> str:
    """One line of prose as it is, a difference as an indented block."""
    if "\n" not in why.strip():
        return why.strip()
    return "\n\n" + "".join(f"      {text}\n" for text in why.splitlines())
