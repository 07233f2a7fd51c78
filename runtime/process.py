"""The process under observation: started here and held until probes are in place, or found."""

from __future__ import annotations

import os
import signal
from select import select

from bpfscript.target import MachineError

from .fd import Fd

# what Python or a Session changes; the program expects the system's own
_RESET = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ)


def watch(pid: int) -> Fd:
    """A pidfd: readable once the process has ended. Raises MachineError if there is none."""
    try:
        return Fd(os.pidfd_open(pid))
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "Invalid argument"
        raise MachineError(f"Failed to attach to pid: Unable to open pidfd ({reason})") from None


class Child:
    """A process of our own that waits before exec, so that it is traced from its first instruction.

    It ends with us: while it waits, as its pipe closes; later by SIGTERM, unless we are killed.
    """

    def __init__(self, arguments: list[str], path: str) -> None:
        """arguments: argv of the program in the file `path`."""
        held, go = os.pipe()
        failed, report = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _become(arguments, path, held, go, report)
        os.close(held)
        os.close(report)
        self._go, self._failed = Fd(go), Fd(failed)
        self.status: int | None = None  # as waitpid(2) gives it
        self.pidfd = watch(self.pid)
        self._waits = True  # before exec
        self._stopped = False  # at the entry point

    @classmethod
    def start(cls, command: str) -> Child:
        """Start `command`: split at blanks, no shell, no quotes; its first word is sought in PATH.

        Raises MachineError if there is no such program, or several.
        """
        arguments = command.split(" ")
        found = _programs(arguments[0])
        if len(found) != 1:
            raise MachineError(
                f"Failed to fork child: Path '{arguments[0]}' must refer to a unique binary "
                f"but matched {len(found)} binaries (Invalid argument)"
                if found
                else f"Failed to fork child: Path '{arguments[0]}' does not exist "
                "or is not executable (No such file or directory)"
            )
        return cls(arguments, found[0])

    def run_to_entry(self) -> None:
        """Let it execute its program, up to where that begins: libraries are mapped then.

        Raises MachineError if that cannot be executed.
        """
        from .ptrace import run_to_entry

        self.status = run_to_entry(self.pid, self._execute)
        self._stopped = self.status is None

    def release(self) -> None:
        """Let it run its program. Raises MachineError if that cannot be executed."""
        if self._stopped:
            self._continue()
        elif self._waits:
            self._execute()

    def _continue(self) -> None:
        self._stopped = False
        signal.pidfd_send_signal(self.pidfd.fileno(), signal.SIGCONT)

    def _execute(self) -> None:
        self._waits = False
        os.write(self._go.fileno(), b"g")
        self._go.close()
        reason = os.read(self._failed.fileno(), 16)  # the end of file: exec has closed it
        self._failed.close()
        if reason:
            self._reap(0)
            raise MachineError(f"Failed to run child: {os.strerror(int(reason))}")

    def ended(self) -> bool:
        """Whether it has ended; then it is reaped."""
        if self.status is None:
            self._reap(os.WNOHANG)
        return self.status is not None

    def outcome(self) -> str:
        """How it ended, in words."""
        if not self.ended() or self.status is None:
            return "Child still runs"
        code = os.waitstatus_to_exitcode(self.status)
        how = f"exited with code: {code}" if code >= 0 else f"terminated by signal: {-code}"
        return f"Child {how}"

    def close(self) -> None:
        """Send it SIGTERM if it still runs, and wait for it, but no longer than a second."""
        if not self.ended():
            signal.pidfd_send_signal(self.pidfd.fileno(), signal.SIGTERM)
            if self._stopped:
                self._continue()
            select([self.pidfd], [], [], 1.0)
            self.ended()
        for fd in (self.pidfd, self._go, self._failed):
            fd.close()

    def _reap(self, options: int) -> None:
        pid, status = os.waitpid(self.pid, options)
        if pid:
            self.status = status


def _programs(name: str) -> list[str]:
    """Executable files that a command means, the same file under two names counted once."""
    folders = [None] if "/" in name else os.get_exec_path()
    found = {
        os.path.realpath(path): path
        for folder in reversed(folders)
        if (path := os.path.join(folder, name) if folder else name)
        and os.path.isfile(path)
        and os.access(path, os.X_OK)
    }
    return list(found.values())


def _become(arguments: list[str], path: str, held: int, go: int, report: int) -> None:
    """In the new process: wait for the word, then exec at once, so that a trace shows no more."""
    try:
        for number in _RESET:
            signal.signal(number, signal.SIG_DFL)
        os.close(go)
        if os.read(held, 1):
            os.execv(path, arguments)
    except OSError as error:
        os.write(report, str(error.errno).encode())
    finally:
        os._exit(127)
