"""What a script says, as records: the printer of a session that hands on instead of printing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from io import BytesIO, StringIO
from typing import Any

from bpfscript.manifest import Event as Definition
from bpfscript.manifest import Manifest, MapDef, Place
from bpfscript.runtime.entries import Entry
from bpfscript.runtime.ringbuf import Run
from bpfscript.runtime.sink import Sink
from bpfscript.runtime.symbols import Symbols
from bpfscript.runtime.text import TextPrinter
from bpfscript.runtime.values import parts_of

from .maps import Contents
from .values import Decoders


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that a script said.

    kind           args                        text                  name
    printf         the arguments               as formatted          ""
    print          the value                   as the tool shows it  ""
    print_map      a dict of the map           as the tool shows it  the map
    print_element  the value                   as the tool shows it  the map
    time           -                           the time              ""
    join           the strings                 joined                ""
    cat            the arguments of the path   the file              ""
    system         the arguments               the command's output  ""
    errorf, warnf  the arguments               as formatted          ""
    runtime_error  -                           what went wrong       ""
    helper_error   the helper's return value   what went wrong       the helper
    lost           how many events were lost   as the tool says it   ""
    error          -                           why user space failed ""

    text: without the end of line that the tool adds. place: of the call in the script, for errors.
    """

    kind: str
    args: tuple[Any, ...]
    text: str
    name: str = ""
    place: Place | None = None


class _Kept(Sink):
    """Keeps what is written until it is taken."""

    def __init__(self) -> None:
        super().__init__(BytesIO(), "full")
        self._kept: list[str] = []

    def write(self, text: str) -> None:
        self._kept.append(text)

    def batch_end(self) -> None:
        pass

    def flush(self) -> None:
        pass

    def take(self) -> str:
        text = "".join(self._kept)
        self._kept.clear()
        return text


class Collector(TextPrinter):
    """Makes an `Event` of each record and hands it on.

    lock: held while symbols are looked up, never while `give` runs.
    """

    def __init__(
        self,
        manifest: Manifest,
        symbols: Symbols,
        decoders: Decoders,
        lock: AbstractContextManager[object],
        give: Callable[[Event], None],
    ) -> None:
        super().__init__(manifest, BytesIO(), StringIO(), symbols, quiet=True, warnings=2)
        self._kept = self.sink = _Kept()
        self._decoders, self._lock, self._give = decoders, lock, give
        self._arguments: dict[int, Callable[[memoryview], tuple[Any, ...]]] = {}
        self._contents: dict[str, Contents] = {}
        self._made: list[Event] = []

    def event(self, event: Definition, data: memoryview) -> None:
        with self._lock:
            if id(event) not in self._arguments:
                self._arguments[id(event)] = self._taker(event)
            arguments = self._arguments[id(event)](data)
            super().event(event, data)
            if event.kind in _MESSAGES:
                self._made = [replace(made, args=arguments) for made in self._made]
            else:
                self._made.insert(0, Event(event.kind, arguments, self._text(event.kind)))
        self._hand_on()

    def run(self, event: Definition, run: Run) -> None:
        for data in run.records():
            self.event(event, data)

    def map(
        self, definition: MapDef, entries: Sequence[Entry], top: int = 0, divisor: int = 1
    ) -> None:
        with self._lock:
            super().map(definition, entries, top, divisor)
            shown = self._of(definition).decoded(entries, top)
            text = self._text("print_map")
            self._made.append(Event("print_map", (shown,), text, definition.name))
        self._hand_on()

    def element(self, definition: MapDef, values: list[bytes] | None) -> None:
        with self._lock:
            super().element(definition, values)
            value = self._of(definition).value(values or [bytes(definition.value_size)])
            text = self._text("print")
            self._made.append(Event("print_element", (value,), text, definition.name))
        self._hand_on()

    def flush(self) -> None:
        with self._lock:
            super().flush()

    def _hand_on(self) -> None:
        made, self._made = self._made, []
        for event in made:
            self._give(event)

    def attached(self, count: int) -> None:
        pass

    def pinned(self, path: str) -> None:
        pass

    def lost(self, count: int) -> None:
        self._give(Event("lost", (count,), f"Lost {count} events"))

    def end(self) -> None:
        pass

    def message(self, kind: str, text: str, place: Place | None) -> None:
        self._made.append(Event(kind, (), text.removesuffix("\n"), place=place))

    def helper_failed(self, event: Definition, code: int) -> None:
        text = self.reason(event, code)
        self._made.append(Event("helper_error", (), text, event.helper, event.place))

    def complain(self, text: str) -> None:
        self._made.append(Event("error", (), text))

    def finish(self, total_lost: int) -> None:
        pass

    def _of(self, definition: MapDef) -> Contents:
        if definition.name not in self._contents:
            self._contents[definition.name] = Contents(definition, self._decoders)
        return self._contents[definition.name]

    def _text(self, kind: str) -> str:
        text = self._kept.take()
        return text.removesuffix("\n") if kind in _LINES else text

    def _taker(self, event: Definition) -> Callable[[memoryview], tuple[Any, ...]]:
        """What decodes the fields of a record."""
        of, offsets = event.fields, event.offsets
        if event.kind == "print":  # before the value may stand what only printing needs
            of, offsets = of[-1:], offsets[-1:]
        take = parts_of(offsets, [self._decoders.of(t) for t in of])
        return lambda data: tuple(take(data))


_MESSAGES = ("errorf", "warnf", "runtime_error", "helper_error")
_LINES = ("print", "join", "system")
