"""The command: arguments, what goes to which stream, exit codes. Nothing else."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from bpfscript.diagnostics import CompilerBug, Diagnostic, ScriptError, Source
from bpfscript.options import Command, UsageError, parse, usage
from bpfscript.target import MachineError

if TYPE_CHECKING:
    from typing import BinaryIO

    from bpfscript.frontend.typed import Options
    from bpfscript.manifest import Artifact

VERSION = "0.1.0"
PROGRAM = "bpfscript"

OK, FAULT, BUG = 0, 1, 70


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    try:
        code = _main(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return code
    except UsageError as error:
        print(f"USAGE: {error}\n\n{usage(PROGRAM)}", end="", file=sys.stderr)
    except ScriptError as error:
        _show(error.diagnostics)
    except MachineError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        if error.hint:
            print(f"HINT: {error.hint}", file=sys.stderr)
        return getattr(error, "status", FAULT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        return 130
    except CompilerBug as bug:
        return _bug(bug)
    except (
        AssertionError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        RecursionError,
    ) as bug:
        return _bug(bug)
    return FAULT


def _bug(bug: Exception) -> int:
    """A fault of ours: one line, the traceback only for who asks."""
    print(f"BUG: {PROGRAM} {VERSION} went wrong: {bug.__class__.__name__}: {bug}", file=sys.stderr)
    print(
        "HINT: please report it with the script; BPFSCRIPT_TRACEBACK=1 shows where", file=sys.stderr
    )
    if os.environ.get("BPFSCRIPT_TRACEBACK"):
        import traceback

        traceback.print_exception(bug)
    return BUG


def _main(argv: list[str]) -> int:
    command = parse(argv)
    if not argv:
        raise UsageError("filename or -e 'program' required.")
    if command.has("help"):
        print(usage(PROGRAM), end="")
        return OK
    if command.has("version"):
        print(f"{PROGRAM} v{VERSION}")
        return OK
    _check(command)
    _need_privileges()
    if command.has("info"):
        from bpfscript.runtime.info import report

        print(report(VERSION), end="")
        return OK
    if command.has("list"):
        return _list(command)
    return _run(command)


def _check(command: Command) -> None:
    """What can be refused before anything is read."""
    choices = {"format": ("text", "json"), "B": ("line", "full", "none")}
    for name, allowed in choices.items():
        value = command.last(name)
        if value is not None and value not in allowed:
            what = "output format" if name == "format" else "output buffer mode"
            quoted = ", ".join(f"'{a}'" for a in allowed)
            raise MachineError(f'Invalid {what} "{value}"', f"Valid: {quoted}")
    if command.has("cmd") and command.has("pid"):
        raise UsageError("-c and -p cannot be used together")
    if command.has("warnings") and command.has("no-warnings"):
        raise UsageError("-k and --no-warnings cannot be used together")
    if len(command.flags.get("warnings", [])) > 1:
        raise UsageError("-k may be given once")
    from bpfscript.driver import STAGES

    for stage in _stages(command):
        if stage not in STAGES:
            raise UsageError(f"invalid option for -d: {stage} (one of {' '.join(STAGES)})")


def _stages(command: Command) -> list[str]:
    return [s for value in command.flags.get("debug", []) for s in value.split(",")]


def _need_privileges() -> None:
    """Root, or the capabilities that tracing takes (include/uapi/linux/capability.h)."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    admin = effective >> 21 & 1
    for number, name in ((39, "CAP_BPF"), (38, "CAP_PERFMON")):
        if not admin and not effective >> number & 1:
            raise MachineError(
                f"Missing {name} capability, please run {PROGRAM} as the root user.",
                f"sudo {PROGRAM} …",
            )


def _source(command: Command) -> Source:
    if command.has("e"):
        return Source("stdin", command.last("e") or "")
    if not command.words:
        raise UsageError("filename or -e 'program' required.")
    name = command.words.pop(0)
    try:
        if name == "-":
            return Source("stdin", sys.stdin.buffer.read().decode("utf-8", "surrogateescape"))
        with open(name, "rb") as file:
            return Source(name, file.read().decode("utf-8", "surrogateescape"))
    except OSError as error:
        raise MachineError(f"failed to open file '{name}': {error.strerror}") from error


def _pid(command: Command) -> int | None:
    text = command.last("pid")
    if text is None:
        return None
    if not text.isdecimal():
        raise MachineError(f"Failed to parse pid: invalid integer: {text}")
    if not 0 < int(text) <= 0x400000:
        raise MachineError(f"Pid out of range: {text}")
    if not os.path.exists(f"/proc/{int(text)}"):
        raise MachineError(f"Failed to attach to pid: no process {text}")
    return int(text)


def _options(command: Command) -> Options:
    from bpfscript.frontend.typed import Options

    return Options(
        positional=tuple(command.words),
        named=command.named,
        unsafe=command.has("unsafe"),
        pid=_pid(command),
        warnings=0 if command.has("no-warnings") else 2 if command.has("warnings") else 1,
        environment={
            k: v for k, v in os.environ.items() if k.startswith(("BPFTRACE_", "BPFSCRIPT_"))
        },
        include_dirs=tuple(command.flags.get("I", ())),
        include_files=tuple(command.flags.get("include", ())),
        probe_filter=command.last("probe-filter"),
    )


def _run(command: Command) -> int:
    from bpfscript.driver import compile
    from bpfscript.runtime.live_target import LiveTarget

    source = _source(command)
    options = _options(command)
    wanted = frozenset(_stages(command))
    result = compile(
        source, LiveTarget(), options,
        backend=command.last("backend") or "llvm",
        optimise=not command.has("no-optimise"),
        verify=command.has("verify-ir"),
        show=_print_stage, wanted=wanted,
    )  # fmt: skip
    if options.warnings:
        _show(result.warnings)
    if command.has("emit"):
        return _emit(result.artifact, command.last("emit") or "")
    if wanted:
        return OK
    return _trace(command, options, result.artifact)


def _print_stage(stage: str, text: str) -> None:
    print(f"== {stage} ==\n{text.rstrip()}\n")


def _emit(artifact: Artifact, path: str) -> int:
    """Write the object; it is complete or absent."""
    from bpfscript.backends.elf import write

    data = write(artifact)
    partial = f"{path}.{os.getpid()}.tmp"
    try:
        with open(partial, "xb") as file:
            file.write(data)
        os.replace(partial, path)
    except OSError as error:
        if os.path.exists(partial):
            os.unlink(partial)
        raise MachineError(f"cannot write {path}: {error.strerror}") from error
    return OK


def _trace(command: Command, options: Options, artifact: Artifact) -> int:
    from contextlib import ExitStack, closing

    from bpfscript.runtime.json_output import JsonPrinter
    from bpfscript.runtime.process import Child
    from bpfscript.runtime.session import Session
    from bpfscript.runtime.symbols import Symbols
    from bpfscript.runtime.text import TextPrinter

    with ExitStack() as stack:
        stdout = sys.stdout.buffer
        if path := command.last("output"):
            stdout = stack.enter_context(_output_file(path))
        symbols = stack.enter_context(closing(Symbols(artifact.manifest.settings)))
        if artifact.manifest.shows_user_code:
            stack.enter_context(symbols.watch())
        make = JsonPrinter if command.last("format") == "json" else TextPrinter
        printer = make(
            artifact.manifest, stdout, sys.stderr, symbols,
            quiet=command.has("quiet"), buffering=command.last("B") or "line", warnings=options.warnings,
        )  # fmt: skip
        words = command.last("cmd")
        child = Child.start(words) if words else None
        session = Session(
            artifact, printer, pid=options.pid, child=child, dry_run=command.has("dry-run"),
            warn=lambda text: print(f"WARNING: {text}", file=sys.stderr),
        )  # fmt: skip
        stack.enter_context(session)
        session.load()
        session.attach()
        return session.run()


def _output_file(path: str) -> BinaryIO:
    try:
        return open(path, "wb")
    except OSError as error:
        raise MachineError(f'Failed to open output file: "{path}": {error.strerror}') from error


def _list(command: Command) -> int:
    raise NotImplementedError


def _show(diagnostics: list[Diagnostic]) -> None:
    for diagnostic in diagnostics:
        print(diagnostic.render(), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
