"""The same scripts under upstream bpftrace and under bpfscript, outputs compared.

    python -m conformance.runner [--report FILE] [--only REGEX] [--tool NAME] [-j N] [-v]

Each case runs in a directory of its own, first under upstream, then under bpfscript, in each of its
formats. The tools trace only what the case started: by -c, by -p, or by a filter in the script.
--report also records upstream's outputs, for tests (`recording`).
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from conformance import casefile, machine, normalise, report
from conformance.casefile import Case
from conformance.recording import Recording

HERE = Path(__file__).parent
UPSTREAM = HERE / ".upstream" / "bpftrace"
EXPECTED_FAILURES = HERE / "expected_failures.txt"
OLD = HERE / ".upstream-0.17" / "bpftrace"
TOOLS = {
    "upstream": (str(UPSTREAM),),
    "0.17": (str(OLD),),
    "ours": (sys.executable, "-m", "bpfscript.cli"),
}
POLL = 0.005  # seconds between two looks at a tool's output
START = 10.0  # seconds in which a tool attaches


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
    verdict: Verdict
    why: str = ""


@dataclass(frozen=True)
class Output:
    """What one run gave. `exit` is None when it took longer than the case allows."""

    exit: int | None
    stdout: str
    stderr: str

    def normalised(self, case: Case) -> str:
        """The comparable part, as lines with the stream in front."""
        parts = {
            "exit": str(self.exit),
            "stdout": normalise.stdout(self.stdout, case.compare, case.replace),
            "stderr": normalise.STDERR[case.stderr](self.stderr),
        }
        return "".join(f"{k}| {line}\n" for k, v in parts.items() for line in v.splitlines())


def run(case: Case, tool: str, form: str, programs: list[Path]) -> Output:
    """One run of one tool. Raises OSError if a command of the case cannot be started."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-"))
        folder = Path(name)
        for file, text in case.files.items():
            (folder / file).write_text(text)
        for program in programs:
            if case.mentions(program.name):
                shutil.copy(program, folder)
        before = str(stack.enter_context(_started(case.before, folder)).pid) if case.before else ""
        arguments = [
            *(["-f", "json"] if form == "json" else []),
            *(["-e", case.prog] if case.prog is not None else []),
            *case.args,
        ]
        command = [*TOOLS[tool], *(a.replace("{pid}", before) for a in arguments)]
        streams = [folder / ".stdout", folder / ".stderr"]
        code = _trace(case, command, folder, *streams)
        out, err = (s.read_bytes().decode(errors="backslashreplace") for s in streams)
        return Output(code, out.replace(name, "DIR"), err.replace(name, "DIR"))


def _trace(case: Case, command: list[str], folder: Path, out: Path, err: Path) -> int | None:
    """Run the tool with the case's workload; its exit code, or None if it had to be ended."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BPFTRACE_")}
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment | case.env,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,  # so that what the tool started can be ended with it
        )
    try:
        assert process.stdin
        process.stdin.write((case.stdin or "").encode())
        process.stdin.close()
        if case.signals:
            if not _attached(process, out, err):
                return process.poll()
            if case.workload:
                with _started(case.workload, folder) as workload:
                    workload.wait(case.timeout)
            for name in case.signals:
                time.sleep(0.1)
                process.send_signal(signal.Signals[f"SIG{name}"])
        return process.wait(case.timeout)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _attached(process: subprocess.Popen[bytes], *streams: Path) -> bool:
    end = time.monotonic() + START
    while process.poll() is None and time.monotonic() < end:
        if any(normalise.ATTACHED.search(s.read_text(errors="replace")) for s in streams):
            return True
        time.sleep(POLL)
    return False


@contextlib.contextmanager
def _started(command: tuple[str, ...], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    null = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=folder, stdin=null, stdout=null, stderr=null) as process:
        try:
            yield process
        finally:
            process.kill()


def check(
    case: Case,
    programs: list[Path],
    expected: dict[str, str],
    recording: Recording,
    *,
    trust: bool = False,
) -> Result:
    """Run both tools in all formats and compare. An expected failure that passes is failing.

    trust: where upstream's output is recorded, compare with that. Else it is recorded.
    """
    if feature := machine.missing(case.needs):
        return Result(case, Verdict.SKIPPED, f"needs {feature}")
    found = ""
    for form in case.formats:
        theirs = recording.find(case, form) if trust else None
        if theirs is None:
            theirs = run(case, "upstream", form, programs).normalised(case)
            recording.put(case, form, theirs)
        ours = run(case, "ours", form, programs)
        if theirs != ours.normalised(case):
            diff = difflib.ndiff(theirs.splitlines(), ours.normalised(case).splitlines())
            found += "\n".join([f"[{form}] - upstream, + bpfscript", *diff]) + "\n"
            if case.stderr != "exact":
                found += "".join(f"  bpfscript says: {s}\n" for s in ours.stderr.splitlines()[:6])
        if case.expect is not None and case.expect not in ours.stdout:
            return Result(case, Verdict.FAILING, found + f"not as EXPECT says: {ours.stdout}")
    if case.different and (found or case.expect is None):
        return (
            Result(case, Verdict.DIFFERENT, case.different)
            if found
            else Result(case, Verdict.FAILING, "equal, though it says DIFFERENT")
        )
    if case.name in expected:
        return (
            Result(case, Verdict.EXPECTED, expected[case.name])
            if found
            else Result(case, Verdict.FAILING, "passes: take it out of expected_failures.txt")
        )
    return Result(case, Verdict.FAILING if found else Verdict.EQUAL, found)


def expected_failures(path: Path = EXPECTED_FAILURES) -> dict[str, str]:
    """Name → reason; lines `area/name reason`."""
    rows = (line.split(maxsplit=1) for line in path.read_text().splitlines())
    return {row[0]: row[1] for row in rows if row and not row[0].startswith("#")}


def show(case: Case, tool: str, programs: list[Path]) -> None:
    """Print what one tool gives, unchanged."""
    for form in case.formats:
        output = run(case, tool, form, programs)
        print(f"== {case.name} [{form}] exit {output.exit}\n{output.stdout}{output.stderr}", end="")


def main() -> int:
    parser = argparse.ArgumentParser(prog="conformance.runner", description=__doc__)
    parser.add_argument("--report", type=Path, metavar="FILE")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose area/name matches")
    parser.add_argument("--tool", choices=[*TOOLS, "both"], default="both")
    jobs = os.cpu_count() or 1
    parser.add_argument("-j", type=int, default=jobs, metavar="N", help="cases at a time")
    parser.add_argument("-v", action="store_true", help="every case, as soon as it is done")
    options = parser.parse_args()
    if not UPSTREAM.exists():
        print("upstream is not unpacked: make conformance/.upstream/bpftrace", file=sys.stderr)
        return 2
    cases = [case for case in casefile.load() if re.search(options.only, case.name)]
    with tempfile.TemporaryDirectory(prefix="programs-") as folder:
        programs = machine.build(Path(folder))
        if options.tool != "both":
            for case in cases:
                show(case, options.tool, programs)
            return 0
        expected, results, recording = expected_failures(), list[Result](), Recording()
        with ThreadPoolExecutor(options.j) as pool:
            for result in pool.map(lambda case: check(case, programs, expected, recording), cases):
                results.append(result)
                if options.v or result.verdict is Verdict.FAILING:
                    print(report.line(result), flush=True)
    print(report.table(results))
    if options.report:
        options.report.write_text(report.document(results))
        recording.write({case.name for case in casefile.load()})
    return any(result.verdict is Verdict.FAILING for result in results)


if __name__ == "__main__":
    sys.exit(main())
