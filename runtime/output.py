"""Printing what a session sees: events and maps.

Here is what text and JSON have in common: each kind of event is made into a handler once, by the
manifest; a handler turns a record of the ring into output.
"""

from __future__ import annotations

import os
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import islice

from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import Event, Manifest, MapDef, Place
from bpfscript.types import Aggregate, String

from .entries import Entry
from .messages import Messages, coloured, helper_message
from .sink import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO, TextIO

    from bpfscript.pieces import MakeNative, MakeOrder
    from bpfscript.words import Buffering

    from .printf_runs import ShowRun, Wrap
    from .ringbuf import Run
    from .stream import Drain
    from .symbols import Symbols
    from .tables import Table
    from .values import Values

Handler = Callable[[memoryview], None]
_NOTIFY = "__BPFTRACE_NOTIFY_PROBES_ATTACHED"  # name of a variable, and what is then said
_USUAL = ("printf", "print", "errorf", "warnf", "time", "join", "cat", "system")
_PREPARED = 50  # events at most
_OFTEN_FAIL = ("probe_read", "map_lookup_elem")  # helpers whose failures only `-k` shows


class Printer(ABC):
    """What `TextPrinter` and `JsonPrinter` share.

    warnings: 0 none, 1 those that matter, 2 every failed helper. buffering: as `Sink` explains.
    Every method may raise OutputClosed, or MachineError where the output cannot be written.
    """

    def __init__(
        self,
        manifest: Manifest,
        stdout: BinaryIO,
        stderr: TextIO,
        symbols: Symbols,
        *,
        quiet: bool = False,
        buffering: Buffering = "line",
        warnings: int = 1,
    ) -> None:
        self.manifest, self.symbols = manifest, symbols
        self.quiet, self.warnings = quiet, warnings
        self.sink = Sink(stdout, buffering)
        self.terminal = stdout.isatty()
        self.messages = Messages(stderr, coloured(self.terminal, stderr.isatty()))
        self._handlers: dict[int, tuple[Event, Handler]] = {}  # by identity
        self._shows: dict[int, tuple[Event, ShowRun | None]] = {}
        self._tables: dict[str, Table] = {}
        self._packet_files: set[str] = set()  # begun in this run

    @property
    def texts(self) -> Values:
        return self._shapes[0]

    @property
    def values(self) -> Values:
        return self._shapes[1]

    @cached_property
    def _shapes(self) -> tuple[Values, Values]:
        return self.shapes()

    @abstractmethod
    def shapes(self) -> tuple[Values, Values]:
        """What shows values inside text, and what shows the values of print() and of maps."""

    make_order: MakeOrder | None = None  # native code for tables, see `pieces`
    quick = False  # many printfs at once, also by native code, go around `record`
    wrap: Wrap | None = None  # and what then stands around the text of each

    def __init_subclass__(cls) -> None:
        if "record" in vars(cls):  # going around it is for who says so
            cls.quick = vars(cls).get("quick", False)

    # What a session calls

    def prepare(self) -> None:
        """Get what it takes to show the events to come: later, loading it might be traced."""
        usual = (event for event in self.manifest.events if event.kind in _USUAL)
        for event in islice(usual, _PREPARED):
            self._known(event)
            self._runs(event)
        named = {event.map for event in self.manifest.events}
        for definition in self.manifest.maps:
            if definition.name in named:
                self._table(definition)

    def event(self, event: Event, data: memoryview) -> None:
        """data: the record, its 8-byte header included; not kept."""
        known = self._handlers.get(id(event)) or self._known(event)
        known[1](data)

    def _known(self, event: Event) -> tuple[Event, Handler]:
        made = self._handlers[id(event)] = event, self._handler(event)
        return made

    def run(self, event: Event, run: Run) -> None:
        """Records of one event, in a row."""
        if run.number > 1 and (show := self._runs(event)):
            self.sink.write(show(run))
        else:
            for data in run.records():
                self.event(event, data)

    def shown(self, text: memoryview) -> None:
        """What native code made of events."""
        self.sink.write_bytes(text)

    def _runs(self, event: Event) -> ShowRun | None:
        if id(event) not in self._shows:
            from .printf_runs import run_formatter

            fit = self.quick and event.kind == "printf"
            show = run_formatter(event, self.texts, self.wrap) if fit else None
            self._shows[id(event)] = event, show
        return self._shows[id(event)][1]

    def map(
        self, definition: MapDef, entries: Sequence[Entry], top: int = 0, divisor: int = 1
    ) -> None:
        """A map's contents. A scalar without entry shows its zero value."""
        table = self._table(definition)
        assert definition.value
        if not entries and definition.key is None and not _is_graph(definition.value):
            entries = [(b"", [bytes(definition.value_size)])]
        self.table(definition.name, table, entries, top, divisor)

    def element(self, definition: MapDef, values: list[bytes] | None) -> None:
        """The value of one key; without values its zero."""
        table = self._table(definition)
        key = bytes(definition.key_size)
        (row,) = table.rows([(key, values or [bytes(definition.value_size)])])
        self.value(table.shower(1)(row.value))

    def _table(self, definition: MapDef) -> Table:
        if definition.value is None:
            raise CompilerBug(f"map {definition.name} has no type of values")
        if definition.name not in self._tables:
            from .tables import Table

            self._tables[definition.name] = Table(
                definition.key, definition.value, definition.labels, self.texts, self.values,
                self.make_order,
            )  # fmt: skip
        return self._tables[definition.name]

    def flush(self) -> None:
        """The events at hand are handled."""
        self.symbols.drain()
        self.sink.batch_end()

    def native(self, make: MakeNative) -> Drain | None:
        """Native code that shows the events that it can; takes a while."""
        from .native import native

        if not self.quick:
            return None
        return native(self.manifest.events, self.texts, self.wrap, make)

    @abstractmethod
    def attached(self, count: int) -> None:
        """Tracing starts with `count` probes."""

    @abstractmethod
    def pinned(self, path: str) -> None:
        """An iterator is now a file."""

    def notify(self) -> None:
        """The line that test harnesses wait for, if the environment asks for it."""
        if _NOTIFY in os.environ:
            self.sink.write(f"{_NOTIFY}\n")

    @abstractmethod
    def lost(self, count: int) -> None:
        """So many events found the ring full."""

    @abstractmethod
    def end(self) -> None:
        """Tracing is over; maps follow."""

    def finish(self, total_lost: int) -> None:
        """Nothing follows."""
        self.sink.flush()
        if total_lost:
            self.messages.warning(f"Total lost event count: {total_lost}")

    # How a record is written

    @abstractmethod
    def record(self, kind: str, text: str) -> None:
        """Text of an event that is no message: printf, time, cat, join, system."""

    @abstractmethod
    def value(self, shown: str) -> None:
        """A value of print(), as `self.values` shows it."""

    @abstractmethod
    def table(
        self, name: str, table: Table, entries: Sequence[Entry], top: int, divisor: int
    ) -> None:
        """A map."""

    @abstractmethod
    def message(self, kind: str, text: str, place: Place | None) -> None:
        """errorf, warnf or runtime_error."""

    @abstractmethod
    def helper_failed(self, event: Event, code: int) -> None:
        """A BPF helper returned `code`."""

    # Events

    def _handler(self, event: Event) -> Handler:
        match event.kind:
            case "printf":
                return self._formatted(event, lambda text: self.record("printf", text))
            case "errorf" | "warnf" | "runtime_error":
                return self._message(event)
            case "helper_error":
                return self._helper_error(event)
            case "print":
                return self._value(event)
            case "time":
                from .names import local_time

                return lambda data: self.record("time", local_time(event.text))
            case "join":
                return self._join(event)
            case "cat":
                return self._formatted(event, self._cat)
            case "system":
                return self._formatted(event, self._system)
            case "skboutput":
                return self._packets(event)
        raise CompilerBug(f"an event of kind {event.kind!r} has nothing to print")

    def _formatted(self, event: Event, use: Callable[[str], None]) -> Handler:
        from .printf import formatter

        show = formatter(event.text, event.fields, event.offsets, self.texts)
        return lambda data: use(show(data))

    def _message(self, event: Event) -> Handler:
        kind, place = event.kind, event.place
        if kind == "runtime_error":  # its text is no format
            return self._unless_silent(1, lambda data: self.message(kind, event.text, place))
        handler = self._formatted(event, lambda text: self.message(kind, text, place))
        return handler if kind == "errorf" else self._unless_silent(1, handler)

    def _unless_silent(self, level: int, handler: Handler) -> Handler:
        return handler if self.warnings >= level else lambda data: None

    def _helper_error(self, event: Event) -> Handler:
        unpack = struct.Struct("<i").unpack_from
        at = event.offsets[0]
        level = 2 if event.helper.startswith(_OFTEN_FAIL) else 1
        return self._unless_silent(
            level, lambda data: self.helper_failed(event, unpack(data, at)[0])
        )

    def _value(self, event: Event) -> Handler:
        shape = self.values.shape(event.fields[-1])
        unpack = struct.Struct("<" + shape.code).unpack_from
        at, show = event.offsets[-1], shape.show
        return lambda data: self.value(show(unpack(data, at)[0]))

    def _join(self, event: Event) -> Handler:
        if not all(isinstance(t, String) for t in event.fields):
            raise CompilerBug("join of what are no strings")
        shapes = [self.texts.shape(t) for t in event.fields]
        readers = [struct.Struct("<" + shape.code).unpack_from for shape in shapes]
        parts = list(zip(readers, event.offsets, shapes, strict=True))

        def join(data: memoryview) -> None:
            words = []
            for unpack, at, shape in parts:
                word = shape.show(unpack(data, at)[0])
                if not word:
                    break
                words.append(word)
            self.record("join", event.text.join(words))

        return join

    def _packets(self, event: Event) -> Handler:
        time, length, content = event.offsets
        read = struct.Struct("<Q").unpack_from, struct.Struct("<I").unpack_from

        def write(data: memoryview) -> None:
            kept, start = read[1](data, content)[0], content + 4
            packet = bytes(data[start : start + kept])
            self._packet(event.text, read[0](data, time)[0], read[1](data, length)[0], packet)

        return write

    def _packet(self, path: str, when: int, length: int, content: bytes) -> None:
        from .names import boot
        from .packets import append

        try:
            append(path, boot() + when, length, content, path not in self._packet_files)
            self._packet_files.add(path)
        except (OSError, ValueError) as error:
            reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
            self.complain(f"failed to write file '{path}' ({reason})")

    def _cat(self, path: str) -> None:
        try:
            with open(os.fsencode(path), "rb") as file:
                content = file.read(self.manifest.settings.max_cat_bytes)
        except (OSError, ValueError) as error:
            reason = os.strerror(error.errno or 0) if isinstance(error, OSError) else str(error)
            self.complain(f"failed to open file '{path}' ({reason})")
            return
        self.record("cat", content.decode("utf-8", "surrogateescape"))

    def _system(self, command: str) -> None:
        if not self.manifest.unsafe:
            self.complain("syscall() not allowed in safe mode. Use '--unsafe'.")
            return
        import subprocess  # slow to import, and rare

        self.sink.flush()
        done = subprocess.run(
            [b"/bin/sh", b"-c", os.fsencode(command)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        if done.returncode < 0:
            self.complain("child process did not exit normally")
        elif done.returncode:
            self.complain(f"command exited with code {done.returncode}")
        if done.stdout or not done.returncode:
            self.record("system", done.stdout.decode("utf-8", "surrogateescape"))

    def complain(self, text: str) -> None:
        """An error of user space, always on the error stream."""
        self.sink.batch_end()
        self.messages.error(text)

    def reason(self, event: Event, code: int) -> str:
        return helper_message(event.helper, code, event.text)


def _is_graph(t: object) -> bool:
    """Whether a map of these shows nothing as long as nothing is in it."""
    return isinstance(t, Aggregate) and t.name in ("hist", "lhist", "tseries")
