"""Whether a script would run on a machine, and how: compiled for it, and attached in thought.

a.target: runs (Linux 6.12.9, x86_64, 4 CPUs)
    kprobe:vfs_* and 61 more        62 places by kprobe_multi
    fentry:vmlinux:tcp_connect      1 place by kprobe
    without fentry (BPF trampolines)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from bpfscript import driver
from bpfscript.backends import isa
from bpfscript.diagnostics import ScriptError, Source, shown
from bpfscript.inputs import backend, options
from bpfscript.manifest import MapType
from bpfscript.runtime.features import HELPERS
from bpfscript.runtime.links import attach_type
from bpfscript.runtime.sys import AttachType
from bpfscript.target import FEATURES, MachineError, Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from bpfscript.manifest import Artifact, ProbeInfo
    from bpfscript.options import Command

_OLD_LIMIT = 4096  # instructions, BPF_MAXINSNS
_INDENT = "    "


class _Witness:
    """A target that remembers which features it was asked for in vain."""

    def __init__(self, target: Target) -> None:
        self._target, self.lacking = target, dict[str, None]()

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def has(self, feature: str) -> bool:
        answer = self._target.has(feature)
        if not answer:
            self.lacking[feature] = None
        return answer


def report(script: Source, name: str, target: Target, command: Command) -> tuple[bool, list[str]]:
    """Whether a script would run as the options have it, and what there is to say about it."""
    witness, lines = _Witness(target), []
    try:
        result = driver.compile(
            script, cast("Target", witness), options(command, ""), backend=backend(command)
        )
    except ScriptError as error:
        fits, lines = False, [line for d in error.diagnostics for line in d.render().split("\n")]
    except MachineError as error:
        fits, lines = False, [f"ERROR: {error}", *([f"HINT: {error.hint}"] if error.hint else [])]
    else:
        missing = [f for f in _needed(result.artifact) if not target.has(f)]
        fits = not missing
        lines = [line for d in result.warnings for line in d.render().split("\n")]
        lines += [_probe(info, witness.has) for info in result.artifact.manifest.probes]
        lines += [f"lacks {f} ({FEATURES[f]})" for f in missing]
        done_without = [f for f in witness.lacking if f not in missing]
        lines += [f"does without {f} ({FEATURES[f]})" for f in done_without]
    release = ".".join(map(str, target.release))
    cpus = f"{target.cpus} CPU{'s' if target.cpus != 1 else ''}"
    verdict = "runs" if fits else "does not run"
    head = f"{name}: {verdict} (Linux {release}, {target.arch}, {cpus})"
    return fits, [head, *(_INDENT + line for line in lines)]


def _probe(info: ProbeInfo, has: Callable[[str], bool]) -> str:
    """A probe, how many places its program goes to, and by what."""
    how = attach_type(info, has)
    kinds = sorted({place.kind for place in info.attachments})
    by = (
        how.name.lower().removeprefix("trace_")
        if how is not AttachType.NONE
        else " and ".join(kinds)
    )
    more = f" and {len(info.names) - 1} more" if len(info.names) > 1 else ""
    count = len(info.attachments)
    return f"{shown(info.names[0]) + more:<48} {count} place{'s' * (count != 1)} by {by}"


def _needed(artifact: Artifact) -> Iterator[str]:
    """Features that code and maps rely on, whoever chose them."""
    if any(m.kind is MapType.RINGBUF for m in artifact.manifest.maps):
        yield "ringbuf"
    for program in artifact.programs:
        size = sum(len(artifact.functions[name].code) for name in program.functions)
        if size > _OLD_LIMIT * isa.SLOT:
            yield "large_programs"
            break
    code = [insn for f in artifact.functions.values() for insn in isa.decode(f.code)]
    helpers = {insn.imm for insn in code if insn.code == isa.CALL and not insn.src}
    yield from (name for name, number in HELPERS.items() if number in helpers)
    if any(insn.code == isa.MAY_GOTO for insn in code):
        yield "may_goto"
