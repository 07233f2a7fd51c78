"""Test and bench probes, run here and now: judged, or timed (LANGUAGE §7.7)."""

from __future__ import annotations

import time
from io import BytesIO, TextIOWrapper

from bpfscript.manifest import Artifact, Manifest, Place, ProgramType
from bpfscript.plain import replace

from .errors import KernelError, VerifierRefused
from .fd import Fd
from .programs import run_once, run_repeatedly
from .session import Session
from .symbols import Symbols
from .text import TextPrinter
from .trial_reports import Benchmark, Report, Trial

LONG_ENOUGH = 1_000_000  # ns that the runs of a benchmark take together
MANY = 1 << 30  # runs of what takes no time at all
FAILURE = 1


class Recorder(TextPrinter):
    """Keeps what a trial prints, and whether errorf() was part of it."""

    def __init__(self, manifest: Manifest, symbols: Symbols) -> None:
        self._output = BytesIO()
        stderr = TextIOWrapper(
            self._output, "utf-8", "surrogateescape", newline="", write_through=True
        )
        super().__init__(manifest, self._output, stderr, symbols, buffering="none")
        self.failed = False

    def message(self, kind: str, text: str, place: Place | None) -> None:
        self.failed |= kind == "errorf"
        super().message(kind, text, place)

    def take(self) -> str:
        """What there was since the last time; forgets the failure, too."""
        text = self._output.getvalue().decode("utf-8", "surrogateescape")
        self._output.seek(0)
        self._output.truncate()
        self.failed = False
        return text


def run_tests(session: Session, recorder: Recorder, report: Report) -> int:
    """Run the test probes of a session that is attached; the tool's exit status.

    A test passes if it returns 0, and neither calls errorf() nor exits with another code.
    """
    records, places = session.records, session.places("test")
    records.consume()  # what `begin` probes say
    done: list[Trial] = []
    if places:
        report.tests(len(places))
    for program, name in places:
        if session.is_over():
            break
        report.running(_own(name))
        with records.apart(recorder):
            start = time.perf_counter_ns()
            value = run_once(program, session.kernel, name)
            duration = time.perf_counter_ns() - start
            records.consume()
            passed = not (value or recorder.failed or records.exit_code)
            done.append(Trial(_own(name), passed, duration, recorder.take()))
        report.test(done[-1])
    if done:
        report.tested(done)
    session.finish(maps=False)
    return records.exit_code % 256 or FAILURE * any(not trial.passed for trial in done)


def run_benchmarks(session: Session, recorder: Recorder, report: Report) -> int:
    """Time the bench probes of a session that is attached; the tool's exit status.

    One that returns other than 0 is left out; one that calls errorf() or exits with another code
    has failed. What they print is dropped.
    """
    records, places = session.records, session.places("bench")
    records.consume()
    status = 0
    if places:
        report.benchmarks([_own(name) for _, name in places])
    for program, name in places:
        if session.is_over():
            break
        with records.apart(recorder):
            value, _ = run_repeatedly(program, session.kernel, 1, name)
            records.consume()
            failed = recorder.failed or records.exit_code
            timed = None if value or failed else _timed(session, program, name)
            recorder.take()
        if failed:
            status = FAILURE
            report.failed(_own(name))
        elif timed:
            report.benchmark(timed)
    session.finish(maps=False)
    return records.exit_code % 256 or status


def _timed(session: Session, program: Fd, name: str) -> Benchmark | None:
    """Ever more runs, until they take long enough; None after a signal."""
    runs = 100
    while not session.stopping:
        _, average = run_repeatedly(program, session.kernel, runs, name)
        session.records.consume()
        if average * runs >= LONG_ENOUGH or runs >= MANY:
            return Benchmark(_own(name), average, runs)
        runs = 1000 if runs == 100 else runs * 2
    return None


def repeatable(artifact: Artifact) -> Artifact:
    """The same artifact, its bench probes as programs that the kernel can run repeatedly."""
    bench = {
        i.program for i in artifact.manifest.probes for p in i.attachments if p.kind == "bench"
    }
    programs = [
        replace(program, type=ProgramType.XDP) if program.name in bench else program
        for program in artifact.programs
    ]
    return replace(artifact, programs=programs)


def load_benchmarks(session: Session) -> None:
    """Load what `repeatable` made. Raises KernelError if a probe does what no benchmark can."""
    try:
        session.load()
    except VerifierRefused as error:
        types = {program.name: program.type for program in session.artifact.programs}
        if types[error.program] != ProgramType.XDP:
            raise
        raise KernelError(f"This cannot be run as a benchmark: {error.reason}") from error


def _own(name: str) -> str:
    """`test:name` as its report has it."""
    return name.partition(":")[2]
