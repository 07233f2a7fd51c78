"""Ways from legal IR to an Artifact. A new one is a file and a line in `BACKENDS`, or an
entry point of another package (`plugins`)."""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from bpfscript.diagnostics import Source
    from bpfscript.ir.core import Module
    from bpfscript.manifest import Artifact
    from bpfscript.passes.pipeline import Holds
    from bpfscript.target import Target
else:
    Protocol = object


class Backend(Protocol):
    """`emit` is pure: the same module, target and source give the same artifact."""

    name: str
    needs: frozenset[Holds]  # of the module; see passes.pipeline.check_order

    def emit(self, module: Module, target: Target, source: Source) -> Artifact:
        """Compile a module of legal operations. Raises CompilerBug if it breaks the IR's rules."""


BACKENDS: dict[str, tuple[str, str]] = {
    "native": ("bpfscript.backends.native", "NativeBackend"),
    "llvm": ("bpfscript.backends.llvm", "LlvmBackend"),
}
"""Module and class of each backend, imported when it is asked for."""


def backend(name: str) -> Backend:
    """The backend of that name, ours or another package's. Raises MachineError."""
    if name not in BACKENDS:
        from bpfscript.plugins import load

        found: Backend = load("backends", name, tuple(BACKENDS))()
    else:
        module, cls = BACKENDS[name]
        found = getattr(import_module(module), cls)()
    return found
