"""`bpfscript run x.o`, `bpfscript inspect x.o`: what objects do and hold, without the compiler."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bpfscript.inputs import cache, content, target
from bpfscript.launcher import without_launcher
from bpfscript.manifest import MapType
from bpfscript.options import UsageError, parse

if TYPE_CHECKING:
    from bpfscript.console import Console
    from bpfscript.options import Command


def main(name: str, words: list[str], console: Console) -> int:
    """Do what `run` and `inspect` say with the words after them; the exit status."""
    command = parse(words)
    if len(command.words) != 1:
        raise UsageError(f"{name} takes one object file")
    data = without_launcher(content(command.words[0]))
    return _run(command, data, console) if name == "run" else _inspect(command, data, console)


def _run(command: Command, data: bytes, console: Console) -> int:
    """Trace as if the script had been compiled just now."""
    from bpfscript.backends import elf, object_file
    from bpfscript.modes import trace

    if command.has("e") or command.has("emit"):
        raise UsageError("an object is compiled already: -e and --emit have no place here")
    machine = target(command, cache(command, console))
    file = object_file.read(data)
    if elf.OWN in file.sections:
        return trace(command, "", elf.read(data), machine, console)
    from bpfscript.backends.foreign import Foreign

    foreign = Foreign(file, machine)
    artifact = foreign.artifact(command.words[0])
    for program, section, why in foreign.left:
        console.warning(f"{program} ({section}) is left out: {why}")
    for m in artifact.manifest.maps:
        if m.kind is MapType.RINGBUF:
            console.warning(f"what comes by {m.name} is not shown: only its maker can read it")
    return trace(command, "", artifact, machine, console)


def _inspect(command: Command, data: bytes, console: Console) -> int:
    from bpfscript.inspection import report

    machine = target(command, cache(command, console))
    sys.stdout.write("\n".join(report(data, machine)) + "\n")
    return 0
