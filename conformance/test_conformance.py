"""One test for each conformance case; as many run at a time as there are processors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from conformance import casefile, machine, runner, vintage
from conformance.casefile import Case
from conformance.recording import Recording
from conformance.runner import Result, Verdict

CASES = casefile.load()
EXPECTED = runner.expected_failures()


@pytest.fixture(scope="session")
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Result]]]:
    """Of the cases chosen for this session, by name, being run ahead of their tests."""
    if not runner.UPSTREAM.exists():
        pytest.skip("upstream is not unpacked: make conformance/.upstream/bpftrace")
    programs = machine.build(tmp_path_factory.mktemp("programs"))
    chosen = {item.name for item in request.session.items}
    recording = Recording()
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield {
            case.name: pool.submit(runner.check, case, programs, EXPECTED, recording, trust=True)
            for case in CASES
            if f"test_case[{case.name}]" in chosen
        }
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, results: dict[str, Future[Result]]) -> None:
    result = results[case.name].result()
    if result.verdict is Verdict.SKIPPED:
        pytest.skip(result.why)
    if result.verdict is Verdict.EXPECTED:
        pytest.xfail(result.why)
    assert result.verdict is not Verdict.FAILING, f"{case.name}\n{result.why}"


def test_expected_failures_name_cases() -> None:
    assert EXPECTED.keys() <= {case.name for case in CASES}


def test_old_scripts_do_the_same_under_the_old_version(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if not runner.OLD.exists():
        pytest.skip("bpftrace 0.17 is not unpacked: make conformance/.upstream-0.17/bpftrace")
    programs = machine.build(tmp_path_factory.mktemp("old-programs"))
    results = vintage.check(vintage.chosen(CASES), programs, jobs=os.cpu_count() or 1)
    assert results and [case.name for case, same in results if not same] == []
