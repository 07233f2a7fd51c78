"""`--flame`, `--plot FILE.svg`, `--trace-json`: pictures of a run, made beside what it prints."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from threading import RLock
from typing import TYPE_CHECKING, BinaryIO

from bpfscript.library.events import Collector, Event
from bpfscript.library.values import Decoders
from bpfscript.manifest import Manifest
from bpfscript.options import UsageError
from bpfscript.output_file import whole_file, write_whole
from bpfscript.pictures import flame, of_maps, trace
from bpfscript.pictures.flame_page import page
from bpfscript.pictures.svg import Picture, below_each_other, element
from bpfscript.target import MachineError
from bpfscript.types import Aggregate, Int, Stack, parts

if TYPE_CHECKING:
    from bpfscript.manifest import Event as Definition
    from bpfscript.manifest import MapDef
    from bpfscript.options import Command
    from bpfscript.runtime.entries import Entry
    from bpfscript.runtime.output import Printer
    from bpfscript.runtime.ringbuf import Run
    from bpfscript.runtime.symbols import Symbols

_Maps = dict[str, of_maps.Entries]


class _Witness(Collector):
    """Sees what the printer sees, does nothing that a script asks for, shows nothing."""

    def _system(self, command: str) -> None:
        self.record("system", command)

    def _cat(self, path: str) -> None:
        self.record("cat", path)

    def _packet(self, path: str, when: int, length: int, content: bytes) -> None:
        pass


class Beside:
    """A printer, and a witness of what it prints. `done` is called when nothing follows.

    all: the witness sees events, too, and not only maps; else native code may show them.
    """

    def __init__(
        self, printer: Printer, witness: Collector, all: bool, done: Callable[[], None]
    ) -> None:
        self._printer, self._witness, self._all, self._done = printer, witness, all, done
        self.prepare, self.attached = printer.prepare, printer.attached
        self.pinned, self.shown = printer.pinned, printer.shown

    def event(self, event: Definition, data: memoryview) -> None:
        self._printer.event(event, data)
        if self._all:
            self._witness.event(event, data)

    def run(self, event: Definition, run: Run) -> None:
        self._printer.run(event, run)
        if self._all:
            self._witness.run(event, run)

    def map(
        self, definition: MapDef, entries: Sequence[Entry], top: int = 0, divisor: int = 1
    ) -> None:
        self._printer.map(definition, entries, top, divisor)
        self._witness.map(definition, entries, top, divisor)

    def element(self, definition: MapDef, values: list[bytes] | None) -> None:
        self._printer.element(definition, values)
        if self._all:
            self._witness.element(definition, values)

    def lost(self, count: int) -> None:
        self._printer.lost(count)
        self._witness.lost(count)

    def end(self) -> None:
        self._printer.end()

    def finish(self, total_lost: int) -> None:
        self._printer.finish(total_lost)
        self._done()

    def flush(self) -> None:
        self._printer.flush()


def beside(
    printer: Printer, command: Command, manifest: Manifest, symbols: Symbols, stack: ExitStack
) -> Beside:
    """A printer that also makes the pictures asked for; their files are there once it is done.

    stack: closes what is being written, when the run ends. Raises UsageError for a picture that
    this script cannot give, MachineError for a file that cannot be written.
    """
    flames, plots = command.last("flame"), next(filter(None, command.all("plot")), None)
    if flames and not flames.endswith((".svg", ".html")):
        raise UsageError(f"--flame takes FILE.svg or FILE.html, not '{flames}'.")
    if flames and not any(map(_counts_stacks, manifest.maps)):
        raise MachineError("--flame: no map of this script counts stacks", "@[kstack] = count();")
    if plots and not any(map(_is_plotted, manifest.maps)):
        raise MachineError("--plot: no map of this script is a histogram or a time series")
    latest = _Maps()
    takers: list[Callable[[Event], None]] = [lambda event: _keep(event, latest)]
    if traced := command.last("trace-json"):
        takers.append(_tracer(stack.enter_context(whole_file(traced)), stack))

    def give(event: Event) -> None:
        for take in takers:
            take(event)

    def done() -> None:
        if flames:
            write_whole(flames, _flame(latest, flames.endswith(".html")).encode())
        if plots:
            found = [p for name, entries in latest.items() for p in of_maps.plots(name, entries)]
            found = found or [Picture(120, 20, [element("text", "no data", x=4, y=14)])]
            write_whole(plots, below_each_other(found).document().encode())

    witness = _Witness(manifest, symbols, Decoders(manifest, symbols), RLock(), give)
    return Beside(printer, witness, traced is not None, done)


def _keep(event: Event, latest: _Maps) -> None:
    """What a map last was when it was printed."""
    if event.kind == "print_map" and event.args[0]:
        latest[event.name] = event.args[0]


def _tracer(file: BinaryIO, stack: ExitStack) -> Callable[[Event], None]:
    """What writes events to a file, which is whole once the stack is left."""
    pid, before = os.getpid(), b'{"displayTimeUnit": "ns", "traceEvents": [\n'

    def take(event: Event) -> None:
        nonlocal before
        for row in trace.rows(event, pid):
            file.write(before + trace.dump(row))
            before = b",\n"

    named = {"name": "process_name", "ph": "M", "pid": pid, "args": {"name": "bpfscript"}}
    file.write(before + trace.dump(named))
    before = b",\n"
    stack.callback(file.write, b"\n]}\n")
    return take


def _flame(maps: _Maps, whole_page: bool) -> str:
    found = {name: samples for name, e in maps.items() if (samples := of_maps.samples(e))}
    title = ", ".join(found)
    samples = [s for one in found.values() for s in one]
    if len(found) > 1:
        samples = [((name, *names), n) for name, one in found.items() for names, n in one]
    return page(samples, title) if whole_page else flame.picture(samples, title).document()


def _counts_stacks(m: MapDef) -> bool:
    counts = isinstance(m.value, Int) or (isinstance(m.value, Aggregate) and m.value.readable)
    return counts and m.key is not None and any(isinstance(t, Stack) for t in parts(m.key))


def _is_plotted(m: MapDef) -> bool:
    return isinstance(m.value, Aggregate) and m.value.name in ("hist", "lhist", "tseries")
