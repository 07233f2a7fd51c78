"""Backends and output formats of other packages, which register them as entry points:

[project.entry-points."bpfscript.outputs"]
csv = "package.module:CsvPrinter"      # a class like `runtime.output.Printer`, for -f csv

[project.entry-points."bpfscript.backends"]
mine = "package.module:MyBackend"      # a class like `backends.Backend`, for --backend mine
"""

from __future__ import annotations

from typing import Any, Literal

from bpfscript.diagnostics import MachineError

Group = Literal["backends", "outputs"]


def names(group: Group) -> list[str]:
    """What is registered, sorted."""
    from importlib.metadata import entry_points

    return sorted({found.name for found in entry_points(group=f"bpfscript.{group}")})


def load(group: Group, name: str, own: tuple[str, ...]) -> Any:
    """What is registered under a name. own: the names that need no registration.

    Raises MachineError if there is no such name, or its package fails to load.
    """
    from importlib.metadata import entry_points

    for found in entry_points(group=f"bpfscript.{group}", name=name):
        try:
            return found.load()
        except Exception as error:
            owner = found.dist.name if found.dist else found.value
            raise MachineError(f"{group[:-1]} {name} of {owner} does not load: {error}") from error
    known = ", ".join((*own, *names(group)))
    raise MachineError(f"there is no {group[:-1]} {name}", f"there are: {known}")
