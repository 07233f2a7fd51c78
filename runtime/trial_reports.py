"""How the outcome of tests and benchmarks is shown, as text and as JSON (LANGUAGE §7.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from bpfscript.plain import dataclass

from .json_values import quote
from .sink import Sink

GREEN, RED, RESET = "\033[32m", "\033[31m", "\033[0m"
NAME_WIDTH, TIME_WIDTH = 41, 15  # columns
UNITS = (("s", 1_000_000_000), ("ms", 1_000_000), ("μs", 1000), ("ns", 1))


@dataclass(frozen=True, slots=True)
class Trial:
    """A test that was run. duration: ns; output: all that it said."""

    name: str
    passed: bool
    duration: int
    output: str


@dataclass(frozen=True, slots=True)
class Benchmark:
    """average: ns that one of `runs` runs took."""

    name: str
    average: int
    runs: int


class Report(Protocol):
    def tests(self, count: int) -> None:
        """So many tests follow."""

    def running(self, name: str) -> None:
        """A test begins."""

    def test(self, trial: Trial) -> None:
        """It is over."""

    def tested(self, trials: Sequence[Trial]) -> None:
        """All are over."""

    def benchmarks(self, names: Sequence[str]) -> None:
        """These benchmarks follow."""

    def benchmark(self, result: Benchmark) -> None:
        """One is over."""

    def failed(self, name: str) -> None:
        """One is over that did not come to a result."""


class TextReport:
    """For people. error: takes the line about a benchmark that failed."""

    def __init__(self, sink: Sink, error: Callable[[str], None]) -> None:
        self._sink, self._error = sink, error
        self._width = NAME_WIDTH

    def tests(self, count: int) -> None:
        self._line(GREEN, "==========", f"Running {count} tests.")

    def running(self, name: str) -> None:
        self._line(GREEN, " RUN      ", name)

    def test(self, trial: Trial) -> None:
        if not trial.passed:
            self._sink.write(trial.output)
            if trial.output and not trial.output.endswith("\n"):
                self._sink.write("\n")
        told = f"{trial.name} ({_time(trial.duration)})"
        self._line(*((GREEN, "       OK ") if trial.passed else (RED, "  FAILED  ")), told)

    def tested(self, trials: Sequence[Trial]) -> None:
        failed = [trial.name for trial in trials if not trial.passed]
        self._line(GREEN, "==========", f"{_tests(len(trials))} ran.")
        self._line(GREEN, "  PASSED  ", f"{_tests(len(trials) - len(failed))}.")
        if failed:
            self._line(RED, "  FAILED  ", f"{_tests(len(failed))}, listed below:")
        for name in failed:
            self._line(RED, "  FAILED  ", name)

    def benchmarks(self, names: Sequence[str]) -> None:
        self._width = max(NAME_WIDTH, *(len(name) + 1 for name in names))
        head = f"{'Benchmark':<{self._width}}{'Time(ns)':<{TIME_WIDTH}}Iterations"
        self._sink.write(f"{head}\n{'-' * len(head)}\n")

    def benchmark(self, result: Benchmark) -> None:
        row = f"{result.name:<{self._width}}{result.average:<{TIME_WIDTH}}{result.runs}"
        self._sink.write(f"{row}\n")
        self._sink.batch_end()

    def failed(self, name: str) -> None:
        self._sink.batch_end()
        self._error(f"Benchmark '{name}' failed.")

    def _line(self, colour: str, mark: str, text: str) -> None:
        self._sink.write(f"{colour}[{mark}]{RESET} {text}\n")
        self._sink.batch_end()


class JsonReport:
    """For programs: a line for each test or benchmark that is over."""

    def __init__(self, sink: Sink, error: Callable[[str], None]) -> None:
        self._sink, self._error = sink, error

    def tests(self, count: int) -> None:
        pass

    def running(self, name: str) -> None:
        pass

    def test(self, trial: Trial) -> None:
        self._line(
            "test_result", trial.name,
            f'"duration": {trial.duration}, "passed": {str(trial.passed).lower()}, '
            f'"output": {quote(trial.output)}',
        )  # fmt: skip

    def tested(self, trials: Sequence[Trial]) -> None:
        pass

    def benchmarks(self, names: Sequence[str]) -> None:
        pass

    def benchmark(self, result: Benchmark) -> None:
        told = f'"average": {result.average}, "iters": {result.runs}'
        self._line("benchmark_result", result.name, told)

    def failed(self, name: str) -> None:
        self._sink.batch_end()
        self._error(f"Benchmark '{name}' failed.")

    def _line(self, kind: str, name: str, data: str) -> None:
        self._sink.write(f'{{"type": "{kind}", "data": {{{quote(name)}: {{{data}}}}}}}\n')
        self._sink.batch_end()


def _tests(count: int) -> str:
    return f"{count} test{'' if count == 1 else 's'}"


def _time(duration: int) -> str:
    """ns in the largest unit of which it is at least one."""
    name, unit = next((u for u in UNITS if duration >= u[1]), UNITS[-1])
    return f"{duration // unit} {name}"
