"""What this machine can refuse. Every class carries its data; `str()` is one line."""

from __future__ import annotations

import errno as errnos
import os

from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import Assumption
from bpfscript.target import MachineError

ROOT_HINT = "run it as root, or with CAP_BPF, CAP_PERFMON and CAP_DAC_READ_SEARCH"

_PRIVILEGED = ("BPF_MAP_CREATE", "BPF_PROG_LOAD", "BPF_BTF_LOAD", "perf_event_open")
_ENOTSUPP = 524  # include/linux/errno.h; what breakpoints say of instructions they cannot replace
_PARANOID = ("perf_event_open", errnos.EACCES)  # kernel.perf_event_paranoid


class KernelError(MachineError):
    """The kernel would not do what a loaded script needs. `status` is the tool's exit status."""

    status = 255


class BpfError(KernelError):
    """bpf(2), perf_event_open(2) or ioctl(2) failed: command name and errno."""

    def __init__(self, cmd: str, errno: int, what: str = "") -> None:
        self.cmd, self.errno, self.what = cmd, errno, what
        if (errno == errnos.EPERM and cmd in _PRIVILEGED) or (cmd, errno) == _PARANOID:
            super().__init__(f"tracing needs root ({cmd}: {os.strerror(errno)})", ROOT_HINT)
        else:
            why = "the kernel cannot probe this" if errno == _ENOTSUPP else os.strerror(errno)
            super().__init__(f"{cmd}{f' for {what}' if what else ''}: {why}")


class FeatureMissing(KernelError):
    """The kernel lacks `name`; `needs` says what has it, as in `target.FEATURES`."""

    def __init__(self, name: str, needs: str) -> None:
        self.name, self.needs = name, needs
        super().__init__(f"this kernel has no {name} (needs {needs})")


class OtherKernel(KernelError):
    """What an artifact takes for granted is otherwise on this kernel: `here`, "" for not at all."""

    def __init__(self, assumed: Assumption, here: str) -> None:
        self.assumed, self.here = assumed, here
        name, there = assumed.name, assumed.value
        message = {
            "release": f"the object reads structs of kernel {there}, and this is {here}",
            "layout": f"the object copies {name}, which this kernel lays out otherwise",
            "answer": f"the object was compiled where {name} is {there}, and here it is {here}",
            "tracepoint": f"tracepoint field {name} is not where the object looks for it",
            "constant": f"the object was compiled where {name} is {there}, and here it is {here}",
            "symbol": f"the kernel's {name} is not where it was when the object was compiled",
            "cgroup": f"cgroup {name} is another than when the object was compiled",
            "parameter": f"parameter {name} is not where the object looks for it",
        }.get(assumed.kind, f"the object assumes {assumed.kind} {name}")
        super().__init__(message, "compile the script on this kernel")


class MissingType(KernelError):
    """The script comes to a type or member that this kernel lacks: `what`, at a place of it."""

    def __init__(self, what: str, script: str, line: int, column: int) -> None:
        self.what, self.script, self.line, self.column = what, script, line, column
        super().__init__(
            f"{script}:{line}:{column}: this kernel has no {what}",
            "the object was compiled on a kernel that has it",
        )


class AttachError(KernelError):
    """The probe `name` could not be attached. `cause` says why."""

    def __init__(self, name: str, cause: str) -> None:
        self.name, self.cause = name, cause
        super().__init__(
            f"Unable to attach probe: {name}. If this is expected, set the 'missing_probes' config "
            "variable to 'warn'.",
            cause,
        )


class VerifierRefused(KernelError, CompilerBug):
    """The verifier refused a program: always a bug of bpfscript. `log` is all that it wrote.

    reason: the telling line; file, line: what it speaks of, or "" and 0.
    """

    def __init__(self, program: str, log: str, errno: int) -> None:
        self.program, self.log, self.errno = program, log, errno
        lines = log.strip("\0\n").split("\n")
        self.reason, self.file, self.line = _telling(lines, os.strerror(errno))
        where = f", line {self.line}" if self.line else ""
        KernelError.__init__(
            self,
            f"bug of bpfscript: the kernel's verifier refused {program}{where}: {self.reason} "
            f"({max(len(lines) - 1, 0)} lines omitted)",
        )

    @property
    def gave_up(self) -> bool:
        """Whether it found no fault, but no end."""
        return self.errno in (errnos.E2BIG, errnos.ENOMEM) or "is too complex" in self.reason


class RefusedC(KernelError):
    """The verifier refused a program for C that the script imports. place: file:line, or ""."""

    status = 1

    def __init__(self, probe: str, place: str, reason: str) -> None:
        self.probe, self.place, self.reason = probe, place, reason
        super().__init__(
            f"{place}{': ' if place else ''}the kernel's verifier refuses the imported C that "
            f"{probe} calls: {reason}",
            "compare pointers with null and indexes with their bounds before use, and end loops",
        )


class _AtProbe(KernelError):
    """The verifier stopped at `probe`, near a line of the script; 0 if it named none."""

    status = 1
    says = advice = ""

    def __init__(self, probe: str, script: str, line: int, reason: str) -> None:
        self.probe, self.script, self.line, self.reason = probe, script, line, reason
        place = f"{script}:{f'{line}:' if line else ''}"
        super().__init__(f"{place} {self.says.format(probe=probe)}: {reason}", self.advice)


class TooComplex(_AtProbe):
    """The verifier gave up before it had seen all ways through a probe, which nobody else can tell
    (BPF_COMPLEXITY_LIMIT_INSNS, BPF_COMPLEXITY_LIMIT_JMP_SEQ)."""

    says = "too many ways lead through {probe} for the kernel's verifier"
    advice = "split the probe, or have fewer branches, loops and long strings inside its loops"


class VerifierFault(_AtProbe):
    """The verifier came upon a fault of its own (EFAULT: verifier_bug() and what was before it,
    kernel/bpf/verifier.c)."""

    says = "this kernel's verifier has a fault, which {probe} makes it show"
    advice = "split the probe, or have fewer loops in it; other kernels may take it as it is"


def _telling(lines: list[str], otherwise: str) -> tuple[str, str, int]:
    """The complaint, which the verifier writes last, and the last source line named before it, as
    the name of its file and its number."""
    import re  # this never happens: not on the way of a start

    summary = re.compile(r"processed \d+ insns|verification time|stack depth|mark_precise|^\s*$")
    instruction = re.compile(r"^\d+: \(|^;|^from \d|^R\d+=|^\d+: R")
    source = re.compile(r"^; .* @ (.*):(\d+)$")  # since 6.10, from the line table
    reason = otherwise
    for line in reversed(lines):
        if not summary.search(line):
            reason = otherwise if instruction.match(line) else line
            break
    sources = [(found[1], int(found[2])) for line in lines if (found := source.match(line))]
    return reason, *(sources[-1] if sources else ("", 0))
