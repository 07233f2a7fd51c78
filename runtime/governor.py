"""What tracing costs, by the kernel's own count, and an end to what costs too much.

BPF_ENABLE_STATS (since 5.8, with CAP_SYS_ADMIN) makes the kernel count runs of programs and their
time; it shows them in the fdinfo of each program. Where it refuses, programs are sampled. Overhead
is their share of the CPU time that the machine has.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import NamedTuple

from bpfscript.target import MachineError

from .errors import BpfError
from .fd import Fd
from .sys import Cmd, EnableStats, Kernel, cpus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .sampling import Sampler

_EVERY = 1.0  # seconds between looks
_PATIENCE = 2  # looks in a row above the limit before a probe is let go


class Cost(NamedTuple):
    """What a program has taken so far: how often it ran, None where nobody counts that, and ns."""

    runs: int | None
    time: int


class Governor:
    """Watches programs, from `open` until `close`.

    limit: share of all CPU time, 0 for none. name: the probe of a program, and where it stands.
    detach: lets go of a program. warn: takes a line.
    """

    def __init__(
        self,
        limit: float,
        kernel: Kernel,
        name: Callable[[str], str],
        detach: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._limit, self._kernel = limit, kernel
        self._name, self._detach, self._warn = name, detach, warn
        self._programs: Mapping[str, Fd] = {}
        self._last: dict[str, Cost] = {}
        self._above = 0
        self._sampler: Sampler | None = None
        self._stack = ExitStack()
        self._cpus = len(cpus("online"))
        self.began = self._looked = time.monotonic()

    def open(self, programs: Mapping[str, Fd]) -> None:
        """Count from now on. Raises MachineError where the kernel lets us neither count nor
        sample."""
        self._programs = programs
        try:
            fd = Fd(self._kernel.bpf(Cmd.ENABLE_STATS, EnableStats(), "run time"))
            self._stack.enter_context(fd)
        except BpfError as error:
            self._sample(error)
        self.began = self._looked = time.monotonic()
        self._last = self.costs()

    def _sample(self, refusal: BpfError) -> None:
        from .sampling import Sampler

        text = f"the kernel does not count the run time of programs ({refusal})"
        try:
            self._sampler = Sampler(self._programs, self._kernel)
        except MachineError as error:
            raise MachineError(
                f"{text}, and they cannot be sampled: {error}",
                "--max-overhead and --stats want CAP_SYS_ADMIN, or CAP_PERFMON and CAP_SYSLOG",
            ) from None
        self._stack.callback(self._sampler.close)
        self._warn(f"{text}; what they take is sampled")

    def close(self) -> None:
        self._stack.close()

    def costs(self) -> dict[str, Cost]:
        """What each program has taken since they are counted or sampled."""
        if self._sampler:
            times = self._sampler.times()
            return {name: Cost(None, times.get(name, 0)) for name in self._programs}
        return {name: _cost(fd) for name, fd in self._programs.items()}

    def look(self) -> None:
        """Once a second: judge what the programs took since the last time."""
        now = time.monotonic()
        if now - self._looked < _EVERY or not (self._limit or self._sampler):
            return
        costs, machine = self.costs(), (now - self._looked) * 1e9 * self._cpus
        shares = {
            name: (cost.time - self._last[name].time) / machine for name, cost in costs.items()
        }
        self._looked, self._last = now, costs
        total = sum(shares.values())
        if total <= self._limit or not self._limit:
            self._above = 0
            return
        self._above += 1
        worst = max(shares, key=shares.__getitem__)
        if self._above < _PATIENCE:
            self._warn(
                f"Tracing takes {total:.1%} of the CPU time, more than {self._limit:.1%}; "
                f"most of it, {shares[worst]:.1%}, {self._name(worst)}"
            )
            return
        self._above = 0
        self._warn(f"Detached, for tracing still takes {total:.1%}: {self._name(worst)}")
        self._detach(worst)
        self._looked, self._last = time.monotonic(), self.costs()  # it ran until it was gone

    def report(self, lost: Mapping[str, int]) -> list[str]:
        """A table of what each probe took. lost: its events that found no room."""
        machine = (time.monotonic() - self.began) * 1e9 * self._cpus
        lines = [f"{'events':>12} {'ns/event':>10} {'CPU':>8} {'lost':>10}  probe"]
        for program, (runs, spent) in self.costs().items():
            each = "-" if runs is None else f"{spent / runs if runs else 0:.0f}"
            lines.append(
                f"{'-' if runs is None else runs:>12} {each:>10} {spent / machine:>8.2%} "
                f"{lost.get(program, 0):>10}  {self._name(program)}"
            )
        return lines


def _cost(program: Fd) -> Cost:
    with open(f"/proc/self/fdinfo/{program.fileno()}", encoding="ascii") as file:
        fields = dict(line.split(":\t", 1) for line in file if ":\t" in line)
    return Cost(int(fields.get("run_cnt", 0)), int(fields.get("run_time_ns", 0)))
