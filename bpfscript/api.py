"""The library's verbs. `compile` touches nothing, `load` enters the kernel, `trace` does it all."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from bpfscript.diagnostics import Diagnostic, Source
from bpfscript.manifest import Artifact
from bpfscript.output_file import write_whole
from bpfscript.target import MachineError, Target

if TYPE_CHECKING:
    from bpfscript.library.events import Event
    from bpfscript.library.session import Session

    Path = str | os.PathLike[str]

_COMPILING = threading.RLock()  # the parser and LLVM have one state for all threads
# a fork waits for it: in the child, nobody would ever release it
os.register_at_fork(
    before=_COMPILING.acquire,
    after_in_parent=_COMPILING.release,
    after_in_child=_COMPILING.release,
)


def running_kernel() -> Target:
    """The machine this runs on, as a target: nothing is read before a script needs it."""
    from bpfscript.runtime.live_target import LiveTarget

    return LiveTarget()


def compile(
    text: str,
    *parameters: object,
    named: Mapping[str, str] | None = None,
    target: Target | Path | None = None,
    name: str = "script",
    unsafe: bool = False,
    pid: int | None = None,
    backend: str = "native",
    portable: bool = True,
    warn: Callable[[Diagnostic], None] | None = None,
) -> Artifact:
    """Compile a script; inert data, the same bytes for the same inputs.

    parameters: `$1`, `$2`, … named: what `getopt()` asks for. target: the machine it is for, or
    the path of one that `save_target` recorded; by default this one. name: of the script in
    messages; what it imports is looked for beside it. unsafe: allow system(), signal() and their
    kin. pid: limit the script to a process. portable: what kernels differ in is left to the
    loader; without it the artifact is for the target's release alone, a little faster where it
    reads structs of the kernel. warn: takes warnings about the script.

    Raises ScriptError for faults of the script, MachineError for what the target lacks.

    >>> artifact = compile('begin { printf("%d", $1); exit(); }', 42)
    >>> [program.name for program in artifact.programs]
    ['begin_1']
    """
    from bpfscript import driver
    from bpfscript.frontend.typed import Options
    from bpfscript.runtime.import_files import ImportFiles

    options = Options(
        positional=tuple(map(str, parameters)), named=dict(named or {}), unsafe=unsafe, pid=pid,
        targets=not portable, portable=portable, oldest=target is None, importer=ImportFiles(),
    )  # fmt: skip
    with _COMPILING:
        result = driver.compile(Source(name, text), _target(target), options, backend=backend)
    for warning in result.warnings if warn else ():
        assert warn
        warn(warning)
    return result.artifact


def load(
    program: Artifact | bytes | Path,
    *,
    pid: int | None = None,
    command: Sequence[str] | None = None,
    on_event: Callable[[Event], None] | None = None,
) -> Session:
    """Make a script's maps and programs in the kernel; `Session.attach` starts tracing.

    program: an artifact, the bytes of an object, or the path of one. pid, command: the process
    that the script is about, which is there already, or is started once all probes are attached;
    its end ends tracing. on_event: called with each event, in the session's own thread, instead of
    `Session.events`.

    Raises KernelError where the kernel refuses, ObjectError for what is no object of ours.
    """
    from bpfscript.library.session import Session

    return Session(_artifact(program), pid=pid, command=command, on_event=on_event)


def trace(
    text: str,
    *parameters: object,
    named: Mapping[str, str] | None = None,
    name: str = "script",
    unsafe: bool = False,
    pid: int | None = None,
    command: Sequence[str] | None = None,
    on_event: Callable[[Event], None] | None = None,
    warn: Callable[[Diagnostic], None] | None = None,
) -> Session:
    """Compile a script for this machine, load and attach it: tracing has begun.

    The arguments are those of `compile` and `load`, and so are the errors; AttachError besides.

    >>> with trace('begin { @x = 3; printf("hello\\\\n"); exit(); }') as session:
    ...     [(event.kind, event.text) for event in session.events()]
    [('printf', 'hello\\n')]
    >>> session.maps["@x"].value
    3
    """
    artifact = compile(
        text, *parameters, named=named, name=name, unsafe=unsafe, pid=pid, portable=False, warn=warn
    )
    session = load(artifact, pid=pid, command=command, on_event=on_event)
    try:
        session.attach()
    except BaseException:
        session.close()
        raise
    return session


def save(artifact: Artifact, path: Path) -> None:
    """Write an artifact as the ELF object that `load`, libbpf and bpftool read.

    The file is complete or absent. Raises ObjectError for what an object cannot hold, MachineError
    for a path that cannot be written.
    """
    from bpfscript.backends.elf import write

    write_whole(os.fspath(path), write(artifact))


def save_target(path: Path, *names: str) -> None:
    """Record this machine in a file, complete or absent, for `compile` to compile for elsewhere.

    names: what scripts are going to ask for: kernel symbols, and the paths, programs and libraries
    that uprobes name. Needs the rights that tracing takes. Raises MachineError.
    """
    from bpfscript.target_file import write

    write_whole(os.fspath(path), write(running_kernel(), names))


def _target(target: Target | Path | None) -> Target:
    if target is None:
        return running_kernel()
    if not isinstance(target, str | os.PathLike):
        return target
    from bpfscript.target_file import read

    return read(_content(target), os.fspath(target))


def _artifact(program: Artifact | bytes | Path) -> Artifact:
    if isinstance(program, Artifact):
        return program
    from bpfscript.backends.elf import read

    if isinstance(program, bytes):
        return read(program)
    return read(_content(program))


def _content(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise MachineError(f"{os.fspath(path)}: {error.strerror}") from error
