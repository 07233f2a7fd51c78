"""bpfscript in a child of this process, which has loaded its modules: a start costs a fork.

For guests of the lab, whose emulated processor takes ten seconds to load them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bpfscript import cli

POLL = 0.02  # seconds


def preload() -> None:
    """Load what a run needs, by compiling a script with each backend."""
    from bpfscript import driver, modes  # noqa: F401
    from bpfscript.backends import BACKENDS
    from bpfscript.diagnostics import Source
    from bpfscript.frontend.typed import Options
    from bpfscript.runtime import json_output, session, text  # noqa: F401
    from bpfscript.runtime.live_target import LiveTarget

    script = 'begin { @[comm, pid] = count(); printf("%d %s", 1, str(0)); }'
    for name in BACKENDS:
        driver.compile(Source("stdin", script), LiveTarget(), Options(), backend=name)


class Forked:
    """A running tool: as much of `subprocess.Popen` as a case needs."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        streams: list[int],
    ) -> None:
        """command: as for a process; what follows `bpfscript.cli` are its arguments.

        streams: descriptors of standard input, output and errors.
        """
        self._code: int | None = None
        argv = command[list(command).index("bpfscript.cli") + 1 :]
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(_guarded(lambda: _become(argv, folder, environment, streams)))

    def poll(self) -> int | None:
        """The exit code, negative for a signal, or None while it runs."""
        if self._code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Raises subprocess.TimeoutExpired after so many seconds."""
        end = time.monotonic() + (timeout or float("inf"))
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired("bpfscript", timeout or 0)
            time.sleep(POLL)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


def _become(
    argv: Sequence[str], folder: Path, environment: Mapping[str, str], streams: list[int]
) -> int:
    os.setsid()
    os.chdir(folder)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
    os.closerange(3, 1024)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    sys.argv = ["bpfscript", *argv]
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    return cli.main()


def _guarded(body: Callable[[], int]) -> int:
    """What a process that does this alone exits with."""
    try:
        code = body()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code
