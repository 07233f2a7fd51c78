"""The bpftrace tracing language as a library.

    with bpfscript.trace('tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }') as session:
        time.sleep(1)
    print(dict(session.maps["@"]))

`compile` makes an `Artifact` of a script, `load` takes it into the kernel as a `Session`, `trace`
does both and starts. Names resolve on first use, so that importing this loads no stage.
"""

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.api import compile as compile
    from bpfscript.api import load as load
    from bpfscript.api import running_kernel as running_kernel
    from bpfscript.api import save as save
    from bpfscript.api import save_target as save_target
    from bpfscript.api import trace as trace
    from bpfscript.codec import ObjectError as ObjectError
    from bpfscript.diagnostics import Diagnostic as Diagnostic
    from bpfscript.diagnostics import ScriptError as ScriptError
    from bpfscript.library.distributions import Bucket as Bucket
    from bpfscript.library.distributions import Histogram as Histogram
    from bpfscript.library.distributions import Series as Series
    from bpfscript.library.distributions import Stats as Stats
    from bpfscript.library.events import Event as Event
    from bpfscript.library.maps import MapView as MapView
    from bpfscript.library.session import Session as Session
    from bpfscript.library.stacks import Frame as Frame
    from bpfscript.library.stacks import Stack as Stack
    from bpfscript.library.values import Constant as Constant
    from bpfscript.library.values import Fields as Fields
    from bpfscript.manifest import Artifact as Artifact
    from bpfscript.runtime.errors import AttachError as AttachError
    from bpfscript.runtime.errors import KernelError as KernelError
    from bpfscript.target import MachineError as MachineError
    from bpfscript.target import RecordedTarget as RecordedTarget

_EXPORTS = {
    "Artifact": "bpfscript.manifest",
    "AttachError": "bpfscript.runtime.errors",
    "Bucket": "bpfscript.library.distributions",
    "Constant": "bpfscript.library.values",
    "Diagnostic": "bpfscript.diagnostics",
    "Event": "bpfscript.library.events",
    "Fields": "bpfscript.library.values",
    "Frame": "bpfscript.library.stacks",
    "Histogram": "bpfscript.library.distributions",
    "KernelError": "bpfscript.runtime.errors",
    "MachineError": "bpfscript.target",
    "MapView": "bpfscript.library.maps",
    "ObjectError": "bpfscript.codec",
    "RecordedTarget": "bpfscript.target",
    "ScriptError": "bpfscript.diagnostics",
    "Series": "bpfscript.library.distributions",
    "Session": "bpfscript.library.session",
    "Stack": "bpfscript.library.stacks",
    "Stats": "bpfscript.library.distributions",
    "compile": "bpfscript.api",
    "load": "bpfscript.api",
    "running_kernel": "bpfscript.api",
    "save": "bpfscript.api",
    "save_target": "bpfscript.api",
    "trace": "bpfscript.api",
}
__all__ = [
    "Artifact",
    "AttachError",
    "Bucket",
    "Constant",
    "Diagnostic",
    "Event",
    "Fields",
    "Frame",
    "Histogram",
    "KernelError",
    "MachineError",
    "MapView",
    "ObjectError",
    "RecordedTarget",
    "ScriptError",
    "Series",
    "Session",
    "Stack",
    "Stats",
    "compile",
    "load",
    "running_kernel",
    "save",
    "save_target",
    "trace",
]
__version__ = "0.1.0"


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name in _EXPORTS:
        found = globals()[name] = getattr(import_module(_EXPORTS[name]), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
