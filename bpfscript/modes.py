"""What the command does with a script: run it, test it, write its object, format it, list it."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, closing

from bpfscript.inputs import (
    STAGE_ALIASES,
    Unfit,
    backend,
    cache,
    described,
    dwarf_pids,
    options,
    pid,
    source,
    stages,
    target,
    warnings,
)
from bpfscript.options import Command, Misunderstood
from bpfscript.output_file import open_output, write_whole
from bpfscript.progress import progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfscript.console import Console
    from bpfscript.diagnostics import Source
    from bpfscript.frontend.nodes import Program
    from bpfscript.manifest import Artifact
    from bpfscript.pieces import HostCode, MakeOrder
    from bpfscript.runtime.cache import Cache
    from bpfscript.runtime.live_target import LiveTarget
    from bpfscript.runtime.output import Printer
    from bpfscript.runtime.records import Printer as RecordPrinter
    from bpfscript.runtime.session import Session
    from bpfscript.runtime.sink import Sink
    from bpfscript.runtime.stream import Drain, MakeDrain
    from bpfscript.runtime.symbols import Symbols
    from bpfscript.target import Target

OK, NOTHING = 0, 1
PICTURES = ("flame", "plot", "trace-json")
_TITLES = {"nodes": "nodes (AST)"}


def format(command: Command) -> int:
    """`--fmt`: the script in standard form, to the output or, complete or not at all, to a file."""
    from bpfscript.frontend.format import format

    text = format(source(command))
    if path := command.last("output"):
        write_whole(path, text.encode("utf-8", "surrogateescape"))
    else:
        sys.stdout.write(text)
    return OK


def run(command: Command, mode: str, console: Console) -> int:
    """Compile, then what the options say: show stages, write the object, trace."""
    from bpfscript.compiled import SHOWN, compiled

    text, kept = source(command), cache(command, console)
    machine = target(command, kept)
    elsewhere = command.last("target")
    if "help" in command.named:
        from bpfscript.frontend.parser import parse

        return _explain(parse(text), console)
    artifact: Artifact | None
    if elsewhere:
        _show(command, mode, text, described(elsewhere), console)
        return OK
    if mode == "codegen" or any(map(command.has, SHOWN)):
        artifact = _show(command, mode, text, machine, console)
    else:
        pid(command)  # a process that is not there is told before faults of the script
        made = compiled(command, mode, text, machine, kept)
        if warnings(command):
            console.diagnostics(made.warnings)
        artifact = made.artifact
    if artifact is None:
        return OK
    if not artifact.manifest.probes:
        from bpfscript.frontend.parser import parse

        return _nothing(command, parse(text))
    return trace(command, mode, artifact, machine, console)


def _show(
    command: Command, mode: str, text: Source, machine: Target, console: Console
) -> Artifact | None:
    """Compile, showing stages or writing the object; what is to be run after that."""
    from bpfscript import driver

    words, chosen = stages(command), options(command, mode)
    chosen.portable = command.has("emit") or command.has("aot")
    chosen.oldest = not command.has("target")
    foreign = "all" in words or any(word in STAGE_ALIASES for word in words)
    shown = (
        driver.STAGES if "all" in words else [s for w in words for s in STAGE_ALIASES.get(w, (w,))]
    )
    llvm = command.last("emit-llvm")
    stream = sys.stderr if foreign else sys.stdout

    def show(stage: str, content: str) -> None:
        if stage in shown:
            print(f"== {_TITLES.get(stage, stage)} ==\n{content.rstrip()}\n", file=stream)
        if stage == "llvm" and llvm:
            write_whole(f"{llvm}.original.ll", content.encode())

    with progress("compiling"):
        result = driver.compile(
            text, machine, chosen,
            backend=backend(command),
            optimise=not command.has("no-optimise"),
            verify=command.has("verify-ir"),
            show=show, wanted=frozenset([*shown, *(["llvm"] if llvm else [])]),
        )  # fmt: skip
    if chosen.warnings:
        console.diagnostics(result.warnings)
    emit, executable = command.last("emit"), command.last("aot")
    if emit or executable:
        from bpfscript.backends.elf import write
        from bpfscript.launcher import launcher

        data = write(result.artifact)
        if emit:
            write_whole(emit, data)
        if executable:
            write_whole(executable, launcher() + data, mode=0o755)
        return None
    return None if mode == "codegen" or (words and not foreign) else result.artifact


def _explain(program: Program, console: Console) -> int:
    """`-- --help`: the parameters that a script has by name."""
    from bpfscript.frontend import nodes

    lines = dict[str, str]()
    waiting: list[nodes.Node] = [program]
    while waiting:
        node = waiting.pop()
        waiting += nodes.children(node)[::-1]
        match node:
            case nodes.Call(name="getopt", args=(nodes.StringLiteral(value=name), *rest)):
                told = [a.value for a in rest[1:] if isinstance(a, nodes.StringLiteral)]
                description = (told or [b""])[0].decode("utf-8", "surrogateescape")
                lines.setdefault(f"--{name.decode('utf-8', 'surrogateescape')}", description)
    console.lines(
        "HINT: expected program options:",
        *(f"{n}: {text}" if text else n for n, text in lines.items()),
    )
    return NOTHING


def _nothing(command: Command, program: Program) -> int:
    """The script has nothing to attach, which may be for want of --test or --bench."""
    from bpfscript.frontend.nodes import Probe

    points = [
        p.text for probe in program.items if isinstance(probe, Probe) for p in probe.attach_points
    ]
    for kind, what in (("test", "test"), ("bench", "benchmark")):
        if any(point.partition(":")[0].strip() == kind for point in points):
            raise Unfit(f"No probes attached; use --{kind} to run {what} probes.")
    if not command.has("quiet"):
        print("No probes to attach")
    return NOTHING


def trace(
    command: Command,
    mode: str,
    artifact: Artifact,
    machine: LiveTarget,
    console: Console,
) -> int:
    """Run an artifact as the options say; the exit status."""
    from bpfscript.runtime.process import Child
    from bpfscript.runtime.session import Session
    from bpfscript.runtime.symbols import Symbols

    with ExitStack() as stack:
        stdout = sys.stdout.buffer
        if path := command.last("output"):
            stdout = stack.enter_context(open_output(path))
        symbols = stack.enter_context(closing(Symbols(artifact.manifest.settings)))
        if artifact.manifest.shows_user_code:
            stack.enter_context(symbols.watch())
        buffering: Any = command.last("B") or "line"
        printer = _printer(command)(
            artifact.manifest, stdout, sys.stderr, symbols,
            quiet=command.has("quiet"), buffering=buffering,
            warnings=warnings(command),
        )  # fmt: skip
        printer.make_order = _order(machine.features.cache)
        shown: RecordPrinter = printer
        if any(map(command.has, PICTURES)):
            from bpfscript.gallery import beside

            shown = beside(printer, command, artifact.manifest, symbols, stack)
        words = command.last("cmd")
        child = Child.start(words) if words else None
        if mode == "bench":
            from bpfscript.runtime.trials import repeatable

            artifact = repeatable(artifact)
        native = None
        if not mode and not command.has("trace-json"):
            native = _native(printer, machine.features.cache)
        session = Session(
            artifact, shown, pid=pid(command), child=child,
            unwound=dwarf_pids(command), dry_run=command.has("dry-run"),
            features=machine.features, warn=console.warning,
            say=console.lines if command.has("verbose") else lambda _: None,
            native=native,
            max_overhead=float((command.last("max-overhead") or "0").rstrip("%")) / 100,
            stats=console.lines if command.has("stats") else None,
        )  # fmt: skip
        stack.enter_context(session)
        if mode in ("test", "bench"):
            return _try(session, mode, symbols, printer.sink, console, command.last("f") == "json")
        session.load()
        session.attach()
        return session.run()


def _native(printer: Printer, cache: Cache) -> MakeDrain:
    """What makes native code for a stream that is so hot that it pays."""

    def make(kept: bool) -> Drain | None:
        from bpfscript.host_objects import HostObjects

        objects = HostObjects(cache)
        return printer.native(objects.kept if kept else objects.made)

    return make


def _order(cache: Cache) -> MakeOrder:
    """What makes native code for a map of very many entries."""

    def make() -> HostCode:
        from bpfscript.host_objects import HostObjects

        return HostObjects(cache).order()

    return make


def _printer(command: Command) -> type[Printer]:
    name = command.last("f") or "text"
    if name == "json":
        from bpfscript.runtime.json_output import JsonPrinter

        return JsonPrinter
    if name != "text":
        from bpfscript.plugins import load

        found: type[Printer] = load("outputs", name, ("text", "json"))
        return found
    if "" in command.all("plot"):
        from bpfscript.pictures.terminal import PlotPrinter

        return PlotPrinter
    from bpfscript.runtime.text import TextPrinter

    return TextPrinter


def _try(
    session: Session, mode: str, symbols: Symbols, sink: Sink, console: Console, json: bool
) -> int:
    """Run the test or bench probes of a session, the others attached."""
    from bpfscript.runtime import trials
    from bpfscript.runtime.trial_reports import JsonReport, TextReport

    recorder = trials.Recorder(session.manifest, symbols)
    report = (JsonReport if json else TextReport)(sink, console.error)
    if mode == "test":
        session.load()
        session.attach()
        return trials.run_tests(session, recorder, report)
    trials.load_benchmarks(session)
    session.attach()
    return trials.run_benchmarks(session, recorder, report)


def show_list(command: Command, console: Console) -> int:
    """`-l`: what matches a pattern, or what a script attaches to."""
    from bpfscript.listing import Listing

    words, verbose = command.words, command.has("verbose")
    is_script = command.has("e") or (words and os.path.isfile(words[0]))
    if len(words) > 1 and not is_script:
        raise Misunderstood("-l takes one pattern")
    script = source(command) if is_script else None
    elsewhere = command.last("target")
    machine = described(elsewhere) if elsewhere else target(command, cache(command, console))
    listing = Listing(machine, options(command, ""), console.warning)
    if script:
        from bpfscript.frontend.parser import parse

        lines = listing.program(parse(script), verbose)
    else:
        pattern = words[0] if words else "*:*"
        if "." in pattern and ":" not in pattern and "*" not in pattern:
            console.warning(
                f"It appears that '{pattern}' is a filename but the file does not exist. "
                f"Treating '{pattern}' as a search pattern."
            )
        lines = listing.patterns(pattern, verbose)
    with progress("listing"):
        text = "".join(f"{line}\n" for line in lines)
    sys.stdout.write(text)
    return OK
