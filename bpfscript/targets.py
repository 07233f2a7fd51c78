"""`bpfscript target save FILE`, `bpfscript check SCRIPT`: machines as files, scripts on them."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bpfscript.inputs import cache, described, source, target
from bpfscript.options import UsageError, parse
from bpfscript.output_file import write_whole

if TYPE_CHECKING:
    from bpfscript.console import Console

SAVE = "target save FILE [SYMBOL | PATH | LIBRARY]..."


def main(name: str, words: list[str], console: Console) -> int:
    """Do what `target` and `check` say with the words after them; the exit status."""
    return _check(words, console) if name == "check" else _save(words, console)


def _save(words: list[str], console: Console) -> int:
    """Record this machine, with the symbols and the user programs that are named."""
    from bpfscript.target_file import write

    command = parse(words)
    if command.words[:1] != ["save"] or len(command.words) < 2:
        raise UsageError(SAVE)
    _, path, *asked = command.words
    write_whole(path, write(target(command, cache(command, console)), asked))
    return 0


def _check(words: list[str], console: Console) -> int:
    """Say for each --target, or for this machine, whether and how a script would run."""
    from bpfscript.checking import report

    command = parse(words)
    script, paths = source(command), command.all("target")
    machines = {path: described(path) for path in paths} or {
        "this machine": target(command, cache(command, console))
    }
    fit = True
    for name, machine in machines.items():
        fits, lines = report(script, name, machine, command)
        sys.stdout.write("".join(f"{line}\n" for line in lines))
        fit = fit and fits
    return 0 if fit else 1
