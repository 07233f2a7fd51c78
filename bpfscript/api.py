"""The library's verbs. `compile` touches nothing; `running_kernel` reads this machine, lazily."""

from __future__ import annotations

from collections.abc import Sequence

from bpfscript.diagnostics import Source
from bpfscript.manifest import Artifact
from bpfscript.target import Target


def running_kernel() -> Target:
    """The machine this runs on, as a target: nothing is read before a script needs it."""
    from bpfscript.runtime.live_target import LiveTarget

    return LiveTarget()


def compile(
    text: str,
    *,
    target: Target,
    name: str = "stdin",
    parameters: Sequence[str] = (),
    unsafe: bool = False,
    pid: int | None = None,
    backend: str = "llvm",
) -> Artifact:
    """Compile a script for a target; inert data, the same bytes for the same inputs.

    `name` stands in messages, `parameters` are `$1`, `$2`, …, `pid` limits the script to a process.
    Raises ScriptError for faults of the script, MachineError for what the target lacks.
    """
    from bpfscript import driver
    from bpfscript.frontend.typed import Options

    options = Options(positional=tuple(parameters), unsafe=unsafe, pid=pid)
    return driver.compile(Source(name, text), target, options, backend=backend).artifact
