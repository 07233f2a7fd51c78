"""What programs send through the rings, acted on: some records change a map or end the run, the
others a printer shows.

Two rings, one order: a record that steers says how far the ring of events was filled when it was
sent, and what lies before that is shown first. The ring of events is looked at before the other
one, so what a program sent to it after a record that steers is not seen earlier than that record.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from bpfscript.manifest import Event, Internal, Manifest, MapDef
from bpfscript.progress import progress
from bpfscript.target import MachineError

from .entries import Entry
from .maps import Map
from .ringbuf import RingBuffer, Run
from .stream import MakeDrain, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

Action = Callable[[Event, memoryview], None]
_POSITION = 8  # bytes, the last ones of a record that steers


class Printer(Protocol):
    """Where a session's output goes; `runtime.output` has the real ones."""

    def prepare(self) -> None:
        """Probes are going to be attached: from then on the tool itself may be traced."""

    def attached(self, count: int) -> None:
        """Tracing starts: `count` probes are attached."""

    def pinned(self, path: str) -> None:
        """An iterator is now a file."""

    def event(self, event: Event, data: memoryview) -> None:
        """A record that is not the session's own to act on. `data` is valid during the call."""

    def run(self, event: Event, run: Run) -> None:
        """Several such records in a row."""

    def shown(self, text: memoryview) -> None:
        """What native code made of events; valid during the call."""

    def map(
        self, definition: MapDef, entries: Sequence[Entry], top: int = 0, divisor: int = 1
    ) -> None:
        """A map's contents; the key of one with labels is the uint32 index of its label."""

    def element(self, definition: MapDef, values: list[bytes] | None) -> None:
        """The value of one key, zero where it has none."""

    def lost(self, count: int) -> None:
        """So many events more were lost since the last call."""

    def end(self) -> None:
        """Tracing is over; maps follow."""

    def finish(self, total_lost: int) -> None:
        """Nothing follows."""

    def flush(self) -> None:
        """Whoever reads the output may want to see it now."""


class Records:
    """Reads the rings, once they are there.

    exited     exit() was called; what comes after it does not count
    exit_code  what with
    lost       how many records found no room, as of the last count
    stream     the ring of events
    """

    def __init__(
        self,
        manifest: Manifest,
        maps: Mapping[str, Map],
        printer: Printer,
        warn: Callable[[str], None],
        native: MakeDrain | None = None,
    ) -> None:
        self.stream: Stream | None = None
        self._control: RingBuffer | None = None
        self._native = native
        self._waiting: deque[bytes] = deque()  # records that steer, not yet acted on
        self.exited, self.exit_code, self.lost = False, 0, 0
        self._manifest, self._maps, self._warn = manifest, maps, warn
        self._show(printer)

    def _show(self, printer: Printer) -> None:
        self._printer = printer
        own: dict[str, Action] = {"exit": self._exit, "clear": self._clear, "zero": self._zero}
        own |= {"print_map": self._print_map, "print_element": self._print_element}
        if not self._manifest.unsafe:
            own["system"] = self._refuse
        self._actions = [
            (own.get(event.kind, printer.event), event) for event in self._manifest.events
        ]

    @contextmanager
    def apart(self, printer: Printer) -> Iterator[None]:
        """Meanwhile records go to another printer, and exit() ends nothing."""
        usual = self._printer
        self._show(printer)
        try:
            yield
        finally:
            self._show(usual)
            self.exited, self.exit_code = False, 0

    def open(self, name: str, ring: RingBuffer) -> None:
        """Read the ring that is the map `name`."""
        if name == Internal.CONTROL:
            self._control = ring
        else:
            self.stream = Stream(ring, self._run, self._printer.shown, self._native)

    def consume(self, until: Callable[[], bool] = lambda: False) -> bool:
        """Act on the records that are complete; whether there were any."""
        before = self._positions()
        end = self.stream.ring.produced if self.stream else 0  # first: see above
        if self._control:
            self._waiting += map(bytes, self._control.records())
        while self._waiting and not until():
            data = self._waiting[0]
            if not self._flow(min(int.from_bytes(data[-_POSITION:], "little"), end), until):
                break
            self._waiting.popleft()
            self._act(memoryview(data))
        else:
            self._flow(end, until)
        progress = self._positions() != before
        if progress:
            self._printer.flush()
        return progress

    def _positions(self) -> tuple[int, ...]:
        rings = (self.stream.ring if self.stream else None, self._control)
        return (len(self._waiting), *(ring.consumed for ring in rings if ring))

    def _flow(self, stop: int, until: Callable[[], bool]) -> bool:
        """Show events up to a position; whether none is left before it."""
        if not self.stream:
            return True
        if self.exited:
            self.stream.skip(stop)
            return True
        return self.stream.flow(stop, lambda: self.exited or until())

    def _run(self, run: Run) -> None:
        act, event = self._action(run.event)
        if self.exited:
            return
        if act == self._printer.event:
            self._printer.run(event, run)
        else:
            for data in run.records():
                act(event, data)

    def _act(self, data: memoryview) -> None:
        act, event = self._action(int.from_bytes(data[:8], "little"))
        if not self.exited:
            act(event, data)

    def _action(self, index: int) -> tuple[Action, Event]:
        if index >= len(self._actions):
            raise MachineError(f"a program sent a record of unknown kind {index}")
        return self._actions[index]

    def count_lost(self) -> None:
        """Report those lost since the last time."""
        if total := sum(self.lost_by_program().values()):
            if total > self.lost:
                self._printer.lost(total - self.lost)
            self.lost = total

    def lost_by_program(self) -> dict[str, int]:
        """How many records of each program found no room."""
        counter = self._maps.get(Internal.LOST)
        if not counter:
            return {}
        labels = counter.definition.labels or ("",)
        return {
            str(label): sum(
                int.from_bytes(value[:8], "little")
                for value in counter.value(slot.to_bytes(4, "little")) or []
            )
            for slot, label in enumerate(labels)
        }

    def print_maps(self) -> None:
        """The script's maps that have entries, by name."""
        for name in sorted((n for n in self._maps if n.startswith("@")), key=str.encode):
            with progress(f"reading {name}"):
                entries = self._maps[name].entries()
            if entries:
                self._printer.map(self._maps[name].definition, entries)

    def _exit(self, event: Event, data: memoryview) -> None:
        at = event.offsets[0]
        self.exit_code = int.from_bytes(data[at : at + 8], "little", signed=True)
        self.exited = True

    def _clear(self, event: Event, _: memoryview) -> None:
        self._maps[event.map].clear()

    def _zero(self, event: Event, _: memoryview) -> None:
        self._maps[event.map].zero()

    def _print_map(self, event: Event, _: memoryview) -> None:
        chosen = self._maps[event.map]
        self._printer.map(chosen.definition, chosen.entries(), event.top, event.divisor or 1)

    def _print_element(self, event: Event, data: memoryview) -> None:
        chosen, at = self._maps[event.map], event.offsets[0]
        key = bytes(data[at : at + event.fields[0].size])
        self._printer.element(chosen.definition, chosen.value(chosen.stored_key(key)))

    def _refuse(self, _: Event, __: memoryview) -> None:
        self._warn("syscall() not allowed in safe mode. Use '--unsafe'.")
