"""From the text of a script into the kernel and out again, without attaching anything."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from tempfile import TemporaryDirectory

from script_strategies import POSITIONAL

from bpfscript.diagnostics import Source
from bpfscript.driver import compile
from bpfscript.frontend.typed import Options
from bpfscript.manifest import Artifact, Event, MapDef
from bpfscript.runtime.cache import Cache
from bpfscript.runtime.entries import Entry
from bpfscript.runtime.features import Features
from bpfscript.runtime.live_target import LiveTarget
from bpfscript.runtime.ringbuf import Run
from bpfscript.runtime.session import Session


class NoPrinter:
    """Drops all output."""

    def prepare(self) -> None: ...
    def attached(self, count: int) -> None: ...
    def pinned(self, path: str) -> None: ...
    def event(self, event: Event, data: memoryview) -> None: ...
    def run(self, event: Event, run: Run) -> None: ...
    def shown(self, text: memoryview) -> None: ...
    def map(
        self, definition: MapDef, entries: Sequence[Entry], top: int = 0, divisor: int = 1
    ) -> None: ...
    def element(self, definition: MapDef, values: list[bytes] | None) -> None: ...
    def lost(self, count: int) -> None: ...
    def end(self) -> None: ...
    def finish(self, total_lost: int) -> None: ...
    def flush(self) -> None: ...


@cache
def target() -> LiveTarget:
    return LiveTarget()


def compiled(
    text: str, *, backend: str = "native", optimise: bool = True, verify: bool = True
) -> Artifact:
    """Raises ScriptError."""
    options, source = Options(positional=POSITIONAL), Source("t.bt", text)
    return compile(
        source, target(), options, backend=backend, optimise=optimise, verify=verify
    ).artifact


@cache
def kept() -> TemporaryDirectory[str]:
    """Where the index over the kernel's BTF is, once one script has needed it."""
    return TemporaryDirectory()


def load(artifact: Artifact) -> None:
    """Into the kernel and out. Raises VerifierRefused."""
    features = Features(cache=Cache(kept().name))
    with Session(artifact, NoPrinter(), signals=False, features=features) as session:
        session.load()
