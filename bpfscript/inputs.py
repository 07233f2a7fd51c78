"""What a command line says about a script: its text, its options, the machine, the stages."""

from __future__ import annotations

import os
import sys

from bpfscript.diagnostics import Source
from bpfscript.options import Command, UsageError
from bpfscript.target import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.console import Console
    from bpfscript.frontend.typed import Importer, Options
    from bpfscript.runtime.cache import Cache
    from bpfscript.runtime.live_target import LiveTarget
    from bpfscript.target import Target

# Stages by bpftrace's names; asked for so, they go to the error stream, and the script runs.
STAGE_ALIASES = {
    "ast": ("nodes",),
    "parse": ("nodes",),
    "codegen": ("ir", "llvm"),
    "codegen-opt": ("legal", "llvm"),
    "dis": ("asm",),
}
_MAX_PID = 0x400000  # PID_MAX_LIMIT, include/linux/threads.h


class Unfit(MachineError):
    """A script that there is no way to run as it was asked for."""

    status = 255


def source(command: Command) -> Source:
    """The script: of -e, of a file, of standard input. Raises UsageError, MachineError."""
    name = "" if command.has("e") or not command.words else command.words.pop(0)
    text = command.last("e") or ""
    if not name and not text:
        raise UsageError("filename or -e 'program' required.")
    if name == "-":
        text = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
    elif name:
        return Source(name, content(name).decode("utf-8", "surrogateescape"))
    return Source("stdin", text)


def options(command: Command, mode: str, importer: Importer | None = None) -> Options:
    from bpfscript.frontend.typed import Options
    from bpfscript.runtime.import_files import ImportFiles

    environment = {k: v for k, v in os.environ.items() if k.startswith(("BPFTRACE_", "BPFSCRIPT_"))}
    return Options(
        positional=tuple(command.words),
        named=command.named,
        unsafe=command.has("unsafe"),
        pid=pid(command),
        targets=any(map(command.has, ("pid", "cmd", "dwarf-pid"))),
        warnings=warnings(command),
        split=not command.has("emit") and not command.has("aot"),
        environment=environment,
        include_dirs=tuple(command.all("I")),
        include_files=tuple(command.all("include")),
        probe_filter=_filter(command),
        importer=importer or ImportFiles(),
        mode="test" if mode == "test" else "bench" if mode == "bench" else "",
    )


def warnings(command: Command) -> int:
    """0: none, 1: those of the compiler, 2: also of reads and look-ups that fail at run time."""
    return 0 if command.has("no-warnings") else 2 if command.has("warnings") else 1


def backend(command: Command) -> str:
    """The code generator's name."""
    return command.last("backend") or "native"


def pid(command: Command) -> int | None:
    """The process of -p, which is there."""
    text = command.last("pid")
    return None if text is None else _process(text)


def dwarf_pids(command: Command) -> list[int]:
    """Processes of --dwarf-pid, which are there."""
    return list(map(_process, command.all("dwarf-pid")))


def _process(text: str) -> int:
    import re

    from bpfscript.runtime.process import watch

    if not (number := re.fullmatch(r"([+-]?\d+)(.*)", text, re.DOTALL | re.ASCII)):
        raise MachineError(f"Failed to parse pid: invalid integer: {text}")
    if number[2]:
        raise MachineError(f"Failed to parse pid: invalid trailing bytes: {text}")
    if not 0 <= int(number[1]) <= _MAX_PID:
        raise MachineError(f"Pid out of range: {text}")
    watch(int(number[1])).close()
    return int(number[1])


def _filter(command: Command) -> str | None:
    if (pattern := command.last("probe-filter")) is None:
        return None
    import re

    try:
        re.compile(pattern)
    except re.error as error:
        raise Unfit(f"Invalid --probe-filter regex '{pattern}': {error}") from error
    return pattern


def cache(command: Command, console: Console) -> Cache:
    """What was made once and kept, unless the options or others' rights forbid to look."""
    from bpfscript.runtime.cache import Cache, place

    kept = Cache(None if command.has("no-cache") else place(os.environ))
    if why := kept.refusal():
        console.warning(f"the cache is not used: {why}")
    return kept


def target(command: Command, cache: Cache) -> LiveTarget:
    from bpfscript.runtime.live_target import LiveTarget

    return LiveTarget(
        environment=os.environ,
        traceable_functions=command.last("traceable-functions"),
        without=frozenset(name for value in command.all("no-feature") for name in value.split(",")),
        cache=cache,
    )


def described(path: str) -> Target:
    """The machine that a file tells of. Raises MachineError, ObjectError."""
    from bpfscript.target_file import read

    return read(content(path), path)


def content(path: str) -> bytes:
    """A file's bytes. Raises MachineError."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise MachineError(f"failed to open file '{path}': {error.strerror}") from error


def stages(command: Command) -> list[str]:
    """What -d asks for, as it was written."""
    from bpfscript.driver import STAGES

    words = [word for value in command.all("debug") for word in value.split(",")]
    for word in words:
        if word not in (*STAGES, *STAGE_ALIASES, "all"):
            known = " ".join((*STAGES, "all"))
            raise UsageError(f"invalid option for -d: {word} (one of {known})")
    return words
