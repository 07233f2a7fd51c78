"""One run of one tool on one case: what it gave on each stream, and its exit code."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformance import forked, normalise
from conformance.casefile import Case

HERE = Path(__file__).parent
UPSTREAM = HERE / ".upstream" / "bpftrace"
OLD = HERE / ".upstream-0.17" / "bpftrace"
BACKENDS = ("native", "llvm")
TOOLS = {
    "upstream": (str(UPSTREAM),),
    "0.17": (str(OLD),),
    **{name: (sys.executable, "-m", "bpfscript.cli", "--backend", name) for name in BACKENDS},
}
POLL = 0.005  # seconds between two looks at a tool's output
START = 10.0  # seconds in which a tool attaches

Process = subprocess.Popen[bytes] | forked.Forked


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


@dataclass(frozen=True)
class Way:
    """How tools are run.

    patience: by what to multiply the time that a case has
    forked: bpfscript is a child that has its modules already, not a process of its own
    """

    patience: float = 1.0
    forked: bool = False


NORMAL = Way()


def run(case: Case, tool: str, form: str, programs: list[Path], way: Way = NORMAL) -> Output:
    """One run. Raises OSError if a command of the case cannot be started."""
    with contextlib.ExitStack() as stack:
        name = stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-"))
        folder = Path(name)
        for file, text in case.files.items():
            (folder / file).parent.mkdir(exist_ok=True)
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
        paths = [folder / name for name in (".stdin", ".stdout", ".stderr")]
        paths[0].write_text(case.stdin or "")
        modes = ("r", "w", "w")
        streams = [stack.enter_context(path.open(m)) for path, m in zip(paths, modes, strict=True)]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("BPFTRACE_")}
        environment |= case.env
        start = forked.Forked if way.forked and tool in BACKENDS else _process
        process = start(command, folder, environment, [s.fileno() for s in streams])
        code = _follow(case, process, folder, paths[1:], way.patience)
        out, err = (path.read_bytes().decode(errors="backslashreplace") for path in paths[1:])
        return Output(code, out.replace(name, "DIR"), err.replace(name, "DIR"))


def _process(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], streams: list[int]
) -> subprocess.Popen[bytes]:
    """The tool in a session of its own, so that what it started can be ended with it."""
    stdin, stdout, stderr = streams
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdin=stdin, stdout=stdout, stderr=stderr,
        start_new_session=True,
    )  # fmt: skip


def _follow(
    case: Case, process: Process, folder: Path, streams: list[Path], patience: float
) -> int | None:
    """Give a tool the case's workload; its exit code, or None if it had to be ended."""
    try:
        if case.signals:
            if not _attached(process, START * patience, streams):
                return process.poll()
            if case.workload:
                with _started(case.workload, folder) as workload:
                    workload.wait(case.timeout * patience)
            for name in case.signals:
                time.sleep(0.1)
                process.send_signal(signal.Signals[f"SIG{name}"])
        return process.wait(case.timeout * patience)
    except subprocess.TimeoutExpired:
        return None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _attached(process: Process, seconds: float, streams: list[Path]) -> bool:
    end = time.monotonic() + seconds
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
