"""One test for each conformance case; as many run at a time as there are processors."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from conformance import casefile, machine, vintage
from conformance.casefile import Case
from conformance.comparing import Comparison, Result, Verdict, expected_failures, judge
from conformance.recording import Recording
from conformance.running import OLD, UPSTREAM, Output

CASES = casefile.load()
EXPECTED = expected_failures()


@pytest.fixture(scope="session")
def results(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[list[Result]]]]:
    """Of the cases chosen for this session, by name, being run ahead of their tests."""
    if not UPSTREAM.exists():
        pytest.skip("upstream is not unpacked: make conformance/.upstream/bpftrace")
    names = {item.name for item in request.session.items}
    chosen = [case for case in CASES if f"test_case[{case.name}]" in names]
    programs = machine.build(tmp_path_factory.mktemp("programs"), chosen)
    how = Comparison(programs, EXPECTED, Recording(), ("native",), trust=True)
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        yield {case.name: pool.submit(how.check, case) for case in chosen}
    finally:
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case, results: dict[str, Future[list[Result]]]) -> None:
    (result,) = results[case.name].result()
    if result.verdict is Verdict.SKIPPED:
        pytest.skip(result.why)
    if result.verdict is Verdict.EXPECTED:
        pytest.xfail(result.why)
    assert result.verdict is not Verdict.FAILING, f"{case.name}\n{result.why}"


def test_expected_failures_name_cases() -> None:
    assert EXPECTED.keys() <= {case.name for case in CASES}


def _judged(
    same: bool,
    expected: str | None = None,
    different: str | None = None,
    expect: str | None = None,
) -> Verdict:
    case = Case(name="a/case", different=different, expect=expect)
    ours = {"text": Output(0, "x\n", ""), "json": Output(0, "x\n", "")}
    text = ours["text"].normalised(case)
    theirs = {"text": text, "json": text if same else "exit| 0\nstdout| y\n"}
    return judge(case, theirs, ours, expected)[0]


def test_what_differs_without_a_reason_fails() -> None:
    assert _judged(True) is Verdict.EQUAL
    assert _judged(False) is Verdict.FAILING
    assert _judged(False, different="why") is Verdict.DIFFERENT
    assert _judged(False, expected="why") is Verdict.EXPECTED


def test_what_passes_unexpectedly_fails() -> None:
    assert _judged(True, expected="why") is Verdict.FAILING
    assert _judged(True, different="why") is Verdict.FAILING


def test_what_to_expect_counts_whatever_upstream_gives() -> None:
    assert _judged(True, different="why", expect="x") is Verdict.EQUAL
    assert _judged(False, different="why", expect="x") is Verdict.DIFFERENT
    assert _judged(False, different="why", expect="z") is Verdict.FAILING
    assert _judged(True, expect="z") is Verdict.FAILING


def test_old_scripts_do_the_same_under_the_old_version(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    if not OLD.exists():
        pytest.skip("bpftrace 0.17 is not unpacked: make conformance/.upstream-0.17/bpftrace")
    chosen = vintage.chosen(CASES)
    programs = machine.build(tmp_path_factory.mktemp("old-programs"), chosen)
    results = vintage.check(chosen, programs, jobs=os.cpu_count() or 1)
    assert results and [case.name for case, same in results if not same] == []
