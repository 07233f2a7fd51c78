"""bpfscript as a library: names resolve on first use, so that importing it loads no stage."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bpfscript.api import compile as compile
    from bpfscript.api import running_kernel as running_kernel
    from bpfscript.diagnostics import ScriptError as ScriptError
    from bpfscript.manifest import Artifact as Artifact
    from bpfscript.runtime.session import Session as Session
    from bpfscript.target import MachineError as MachineError
    from bpfscript.target import RecordedTarget as RecordedTarget

_EXPORTS = {
    "Artifact": "bpfscript.manifest",
    "MachineError": "bpfscript.target",
    "RecordedTarget": "bpfscript.target",
    "ScriptError": "bpfscript.diagnostics",
    "Session": "bpfscript.runtime.session",
    "compile": "bpfscript.api",
    "running_kernel": "bpfscript.api",
}
__all__ = [
    "Artifact",
    "MachineError",
    "RecordedTarget",
    "ScriptError",
    "Session",
    "compile",
    "running_kernel",
]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
