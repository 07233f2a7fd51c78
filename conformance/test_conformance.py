"""One test for each conformance case."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance import casefile, machine, runner
from conformance.casefile import Case
from conformance.runner import Verdict

CASES = casefile.load()
EXPECTED = runner.expected_failures()


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    if not runner.UPSTREAM.exists():
        pytest.skip("upstream is not unpacked: make conformance/.upstream/bpftrace")
    return machine.build(tmp_path_factory.mktemp("programs"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, programs: list[Path]) -> None:
    result = runner.check(case, programs, EXPECTED)
    if result.verdict is Verdict.SKIPPED:
        pytest.skip(result.why)
    if result.verdict is Verdict.EXPECTED:
        pytest.xfail(result.why)
    assert result.verdict is not Verdict.FAILING, f"{case.name}\n{result.why}"


def test_expected_failures_name_cases() -> None:
    assert EXPECTED.keys() <= {case.name for case in CASES}
