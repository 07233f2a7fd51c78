"""The command: arguments, what goes to which stream, exit codes. Nothing else."""

from __future__ import annotations

import os
import signal
import sys

from bpfscript.console import Console, open_streams
from bpfscript.diagnostics import ScriptError
from bpfscript.identity import VERSION, program, stands_in, take_name, version_line
from bpfscript.options import (
    ABSENT,
    COMMANDS,
    OPTIONS,
    Command,
    Misunderstood,
    UsageError,
    parse,
    usage,
)
from bpfscript.runtime.sink import OutputClosed
from bpfscript.target import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import NoReturn

OK, FAULT, BUG = 0, 1, 70
MODES = {"codegen": "", "format": "fmt", "test": "test", "bench": "bench"}
"""What --mode takes: its short form, if there is one."""

_MADE = ("emit", "aot", "debug", "emit-llvm", "mode", "list")
"""What can be asked for with --target, where nothing can run."""

FORMATS = ("text", "json")  # those of other packages besides, see `plugins`
_FEATURES = ("kprobe_multi", "kprobe_session", "uprobe_multi")
_BPF, _PERFMON, _ADMIN = 39, 38, 21  # CAP_*, include/uapi/linux/capability.h


def command() -> NoReturn:
    """The process: `main`, then an end at once, for all that a run had is let go of by then."""
    code = main()
    if threading := sys.modules.get("threading"):
        for thread in threading.enumerate():  # what they make is kept for the next run
            if not thread.daemon and thread is not threading.current_thread():
                thread.join()
    sys.stderr.flush()
    os._exit(code)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns its exit code. What is a bug of ours ends the process with BUG."""
    sys.excepthook = _bug
    open_streams()
    console = Console()
    try:
        code = _main(sys.argv[1:] if argv is None else argv, console)
        sys.stdout.flush()
        return code
    except UsageError as error:
        console.error(f"USAGE: {error}")
        if error.help:
            print(f"\n{usage(program())}", end="", file=sys.stderr)
    except ScriptError as error:
        console.diagnostics(error.diagnostics)
        return error.status
    except MachineError as error:
        console.refusal(error)
        return error.status
    except (OutputClosed, BrokenPipeError):
        _die(signal.SIGPIPE)
    except KeyboardInterrupt:
        _die(signal.SIGINT)
    except OSError as error:
        name = f"{error.filename}: " if error.filename else ""
        console.error(f"{name}{error.strerror or error}")
    return FAULT


def _die(number: signal.Signals) -> None:
    """End by a signal, so that who waits for us learns of it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _bug(kind: type[BaseException], bug: BaseException, trace: TracebackType | None) -> None:
    """A fault of ours: one line, the traceback only for who asks."""
    what = " ".join(f"{kind.__name__}: {bug}".split())
    print(f"BUG: {program()} {VERSION} went wrong: {what}", file=sys.stderr)
    hint = "please report it with the script; BPFSCRIPT_TRACEBACK=1 shows where"
    print(f"HINT: {hint}", file=sys.stderr)
    if os.environ.get("BPFSCRIPT_TRACEBACK"):
        import traceback

        traceback.print_exception(kind, bug, trace)
    sys.stderr.flush()
    os._exit(BUG)


def _main(argv: list[str], console: Console) -> int:
    if argv and argv[0] in COMMANDS:
        from importlib import import_module

        take_name()
        console.open()
        module = "objects" if argv[0] in ("run", "inspect") else "targets"
        status: int = import_module(f"bpfscript.{module}").main(argv[0], argv[1:], console)
        return status
    if not argv:
        print(usage(program()), end="", file=sys.stderr)
        return FAULT
    command = parse(argv)
    if command.has("help"):
        print(usage(program()), end="")
        return OK
    if command.has("version"):
        print(version_line())
        return OK
    if shell := command.last("completion"):
        from bpfscript.completion import SHELLS, write

        if shell not in SHELLS:
            raise UsageError(f"--completion can only be {', '.join(SHELLS)}, not '{shell}'.")
        print(write(shell, program()), end="")
        return OK
    take_name()
    console.open()
    mode = _mode(command)
    _check(command)
    if command.has("info"):
        from bpfscript.runtime.info import report

        print(report(VERSION, stands_in=stands_in()), end="")
        return OK
    if not (command.has("e") or command.words or command.has("list")):
        raise UsageError("filename or -e 'program' required.")
    from bpfscript import modes

    if mode == "format":
        return modes.format(command)
    if not command.has("target"):
        _need_privileges()
    return (
        modes.show_list(command, console)
        if command.has("list")
        else modes.run(command, mode, console)
    )


def _mode(command: Command) -> str:
    """The one of MODES that was chosen, or ""."""
    given = command.all("mode")
    for mode in given:
        if mode not in MODES:
            raise UsageError(f"--mode can only be {', '.join(MODES)}, not '{mode}'.")
    given = [*given, *(mode for mode, short in MODES.items() if short and command.has(short))]
    if len(set(given)) > 1:
        raise UsageError(f"--{MODES[given[-1]] or 'mode'} conflicts with existing --mode")
    return given[0] if given else ""


def _check(command: Command) -> None:
    """What can be refused before anything is read."""
    for option in OPTIONS:
        if option.group == ABSENT and command.has(option.long):
            raise MachineError(f"--{option.long} is not supported", option.text)
    _check_format(command.last("f"))
    functions = command.last("traceable-functions")
    if functions and not os.access(functions, os.R_OK):
        why = "No permission" if os.path.exists(functions) else "No such file or directory"
        raise MachineError(f"Could not read functions from {functions}. ({why})")
    if command.last("B") not in (None, "line", "full", "none"):
        raise UsageError("-B must be either 'line', 'full', or 'none'.")
    share = command.last("max-overhead")
    if share is not None and not _is_percentage(share):
        raise UsageError(f"--max-overhead takes a percentage like 2%, not '{share}'.")
    if command.has("cmd") and command.has("pid"):
        raise Misunderstood("Cannot use both -c and -p.")
    if "" in command.all("plot") and command.last("f") not in (None, "text"):
        raise UsageError("--plot draws text: with another -f it takes a FILE.svg.")
    if command.has("target"):
        if command.has("cmd") or command.has("pid"):
            raise UsageError("Cannot use --target with -c or -p: nothing is run.")
        if not any(map(command.has, _MADE)):
            raise UsageError("--target is of another machine: it needs --emit, --aot, -d or -l.")
    if command.has("warnings") and command.has("aot"):
        raise UsageError("Cannot use -k with --aot")
    if command.has("warnings") and command.has("no-warnings"):
        raise UsageError("-k, --warnings conflicts with --no-warnings")
    if len(command.all("warnings")) > 1:
        raise UsageError("-kk has been deprecated: -k may be given once")
    if any(name not in _FEATURES for v in command.all("no-feature") for name in v.split(",")):
        raise UsageError(f"--no-feature can only have values '{','.join(_FEATURES)}'.")


def _is_percentage(text: str) -> bool:
    whole, _, part = text.removesuffix("%").partition(".")
    digits = (whole + part).isascii() and (whole + part).isdigit()
    return digits and len(whole) in (1, 2) and not text.rstrip("%").endswith(".")


def _check_format(name: str | None) -> None:
    if name not in (None, *FORMATS):
        from bpfscript.plugins import names

        known = (*FORMATS, *names("outputs"))
        if name not in known:
            text = f'Invalid output format "{name}"\nValid formats: {", ".join(map(repr, known))}'
            raise MachineError(text)


def _need_privileges() -> None:
    """Root, or the capabilities that tracing takes."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        effective = next(int(line.split()[1], 16) for line in status if line.startswith("CapEff"))
    for number, name in ((_BPF, "CAP_BPF"), (_PERFMON, "CAP_PERFMON")):
        if not (effective >> _ADMIN | effective >> number) & 1:
            raise MachineError(
                f"Missing {name} capability, please run {program()} as the root user.",
                f"sudo {program()} …",
            )


if __name__ == "__main__":
    command()
