"""What programs send through the ring, acted on: some records change a map or end the run, the
others a printer shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from bpfscript.manifest import Event, Internal, Manifest, MapDef
from bpfscript.target import MachineError

from .maps import Entry, Map
from .ringbuf import RingBuffer

Action = Callable[[Event, memoryview], None]


class Printer(Protocol):
    """Where a session's output goes; `runtime.output` has the real ones."""

    def attached(self, count: int) -> None:
        """Tracing starts: `count` probes are attached."""

    def event(self, event: Event, data: memoryview) -> None:
        """A record that is not the session's own to act on. `data` is valid during the call."""

    def map(self, definition: MapDef, entries: list[Entry], top: int = 0, divisor: int = 1) -> None:
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
    """Reads the ring, once there is one.

    exited     exit() was called; what comes after it does not count
    exit_code  what with
    lost       how many records found the ring full, as of the last count
    """

    def __init__(
        self,
        manifest: Manifest,
        maps: Mapping[str, Map],
        printer: Printer,
        warn: Callable[[str], None],
    ) -> None:
        self.ring: RingBuffer | None = None
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

    def consume(self, until: Callable[[], bool] = lambda: False) -> bool:
        """Act on the records that are complete; whether there were any."""
        if not self.ring:
            return False
        progress, actions = False, self._actions
        for data in self.ring.records():
            progress = True
            index = int.from_bytes(data[:8], "little")
            if index >= len(actions):
                raise MachineError(f"a program sent a record of unknown kind {index}")
            if not self.exited:
                act, event = actions[index]
                act(event, data)
            if until():
                break
        if progress:
            self._printer.flush()
        return progress

    def count_lost(self) -> None:
        """Report those lost since the last time."""
        if counter := self._maps.get(Internal.LOST):
            values = counter.value(bytes(4)) or []
            total = sum(int.from_bytes(value[:8], "little") for value in values)
            if total > self.lost:
                self._printer.lost(total - self.lost)
                self.lost = total

    def print_maps(self) -> None:
        """The script's maps that have entries, by name."""
        for name in sorted((n for n in self._maps if n.startswith("@")), key=str.encode):
            if entries := self._maps[name].entries():
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
