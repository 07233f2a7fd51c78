"""A command line's script, compiled: as it was kept when it was last seen, or now."""

from __future__ import annotations

import os

from bpfscript.inputs import backend, options
from bpfscript.manifest import Artifact
from bpfscript.packing import pack, unpack
from bpfscript.plain import dataclass
from bpfscript.runtime.cache import identity
from bpfscript.runtime.import_files import ImportFiles
from bpfscript.runtime.recording import Asked, Recorder, machine_identity, stands

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfscript.diagnostics import Source
    from bpfscript.options import Command
    from bpfscript.runtime.cache import Cache
    from bpfscript.runtime.live_target import LiveTarget

_STAGES = ("frontend", "ir", "passes", "backends")
SHOWN = ("aot", "debug", "emit", "emit-llvm", "verify-ir")
"""Options about stages: with them nothing is taken from the cache."""

_SEARCHED = ("PATH", "LD_LIBRARY_PATH", "HOME", "CPATH", "C_INCLUDE_PATH", "DEBUGINFOD_URLS")


@dataclass(frozen=True)
class Warned:
    """A warning of the compile, as it was shown."""

    severity: str
    text: str

    def render(self) -> str:
        return self.text


@dataclass(frozen=True)
class Compiled:
    artifact: Artifact
    warnings: list[Warned]


def compiled(
    command: Command, mode: str, source: Source, machine: LiveTarget, cache: Cache
) -> Compiled:
    """Compile, unless this was done before and all that it was made of still stands.

    Raises what `driver.compile` raises.
    """
    kept = _kept(command, source)
    key = _key(command, mode, source) if kept else b""
    files = ImportFiles()
    if kept and (data := cache.get("script", key)):
        try:
            asked, warnings, artifact = unpack(data)
        except ValueError:
            pass
        else:
            if stands(asked, {"machine": machine, "files": files}):
                artifact.source_name, artifact.source_text = source.name, source.text
                return Compiled(artifact, [Warned(*w) for w in warnings])
    from bpfscript import driver

    asked = Asked()
    importer: Any = Recorder("files", files, asked)
    target: Any = Recorder("machine", machine, asked)
    chosen = options(command, mode, importer)
    result = driver.compile(
        source, target, chosen,
        backend=backend(command), optimise=not command.has("no-optimise"),
    )  # fmt: skip
    made = Compiled(result.artifact, [Warned(w.severity, w.render()) for w in result.warnings])
    if kept and None not in asked.values():
        warnings = [(w.severity, w.text) for w in made.warnings]
        cache.put("script", key, pack((asked, warnings, made.artifact)))
    return made


def _kept(command: Command, source: Source) -> bool:
    """Whether the result is kept: not if libclang, or a question, may read any file."""
    headers = "include" in source.text or "embed" in source.text or command.has("include")
    return not headers and not command.has("traceable-functions")


def _key(command: Command, mode: str, source: Source) -> bytes:
    """All that a compile depends on and that it does not ask a machine for."""
    environment = [
        (name, value)
        for name, value in sorted(os.environ.items())
        if name.startswith(("BPFTRACE_", "BPFSCRIPT_")) or name in _SEARCHED
    ]
    try:
        btf = identity(os.environ["BPFTRACE_BTF"])
    except (KeyError, OSError) as error:
        btf = type(error).__name__
    given = (command.flags, command.words, command.named)
    parts = (given, mode, source.name, source.text, os.getcwd(), environment, btf)
    return repr((parts, machine_identity(), tool_identity())).encode("utf-8", "surrogateescape")


def tool_identity() -> list[tuple[str, int, int]]:
    """What tells this compiler from others: its files, as they are here."""
    here = os.path.dirname(__file__)
    found = []
    for directory in (here, *(os.path.join(here, stage) for stage in _STAGES)):
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith((".py", ".lark")):
                    of = entry.stat()
                    found.append((entry.name, of.st_size, of.st_mtime_ns))
    return sorted(found)
