"""One run of an artifact: load, attach, hand events on, detach, print maps."""

from __future__ import annotations

import resource
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Protocol

from bpfscript.manifest import GLOBALS_LAYOUT, Artifact, Event, Internal, MapDef, ProbeInfo
from bpfscript.target import MachineError

from .errors import AttachError, KernelError
from .fd import Fd
from .features import Features
from .links import LAST_FIRST, RUN_ONCE, Attacher, Link, attach_type, groups, release, stop
from .maps import Entry, Map, create_map
from .process import Child, watch
from .programs import Loader, no_kfunc, run_once
from .ringbuf import RingBuffer
from .sys import AttachType, Kernel, cpus
from .wait import Waiter

_LOST_EVERY = 1.0  # seconds between looks at the count of lost events
_UNTIL_COMMIT = 0.001  # seconds to wait for a record that a program is still writing


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


class Session:
    """Owns all that a run has in the kernel; leaving the context lets go of it, links first.

    pid, child  the process that the run is about; its end ends the run
    dry_run     attach, then stop
    signals     SIGINT and SIGTERM end the run, SIGUSR1 runs `self` probes; main thread only
    kfunc       BTF id of a kernel function by name
    warn        takes the line about each probe that `missing_probes = warn` leaves out
    """

    def __init__(
        self,
        artifact: Artifact,
        printer: Printer,
        *,
        pid: int | None = None,
        child: Child | None = None,
        dry_run: bool = False,
        signals: bool = True,
        kernel: Kernel | None = None,
        features: Features | None = None,
        kfunc: Callable[[str], int] = no_kfunc,
        warn: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.artifact, self.printer, self.child = artifact, printer, child
        self.manifest, self.dry_run, self.warn = artifact.manifest, dry_run, warn
        self.kernel = kernel or Kernel()
        self.features = features or Features(self.kernel)
        self.maps: dict[str, Map] = {}
        self.exit_code = 0
        self._pid, self._kfunc, self._signals = pid, kfunc, signals
        self._programs: dict[str, Fd] = {}
        self._how: dict[str, AttachType] = {}
        self._links: list[Link] = []
        self._attached = 0
        self._stack = ExitStack()
        self._ring: RingBuffer | None = None
        self._exited = False
        self._lost, self._lost_seen_at = 0, 0.0
        own: dict[str, Callable[[Event, memoryview], None]]
        own = {"exit": self._exit, "clear": self._clear, "zero": self._zero}
        own |= {"print_map": self._print_map, "print_element": self._print_element}
        if not self.manifest.unsafe:
            own["system"] = self._refuse
        self._actions = [
            (own.get(event.kind, printer.event), event) for event in self.manifest.events
        ]

    def __enter__(self) -> Session:
        with ExitStack() as stack:
            self._waiter = Waiter(self._signals)
            stack.callback(self._waiter.close)
            self._target: Fd | None = None  # readable when the process of interest has ended
            if self.child:
                stack.callback(self.child.close)
                self._target = self.child.pidfd
            elif self._pid is not None:
                self._target = stack.enter_context(watch(self._pid))
            if self._target:
                self._waiter.add(self._target.fileno())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stack.close()

    def load(self) -> None:
        """Make maps and programs. Raises BpfError, or VerifierRefused."""
        _raise_limits(self.manifest.probes, len(self.manifest.maps))
        settings, possible = self.manifest.settings, len(cpus("possible"))
        for definition in self.manifest.maps:
            made = create_map(definition, settings, possible, self.kernel, self.artifact.rodata)
            self._stack.callback(made.close)
            self.maps[definition.name] = made
        if shared := self.maps.get(Internal.GLOBALS):
            known = {"start": time.clock_gettime_ns(time.CLOCK_BOOTTIME)}
            known["child"] = self.child.pid if self.child else 0
            shared.update(bytes(4), struct.pack("<2Q", *(known[name] for name in GLOBALS_LAYOUT)))
        if events := self.maps.get(Internal.EVENTS):
            self._ring = RingBuffer.open(events.fd, events.definition.max_entries)
            self._stack.callback(self._ring.close)
            self._waiter.add(events.fd.fileno())
        for info in self.manifest.probes:
            self._how[info.program] = attach_type(info, self.features.has)
        loader = Loader(self.artifact, self.maps, self.kernel, self._kfunc)
        try:
            for program in self.artifact.programs:
                loaded = loader.load(program, self._how.get(program.name, AttachType.NONE))
                self._programs[program.name] = self._stack.enter_context(loaded)
        finally:
            loader.close()

    def attach(self) -> int:
        """Run `begin` probes, then attach the rest; the number of matches served.

        Raises AttachError for a place that refuses, unless `missing_probes` says otherwise, and
        KernelError if all of them do. Stops early after a signal.
        """
        if not self.dry_run:
            self._run_all("begin")
        self._stack.callback(self._detach)
        attacher = Attacher(self.kernel, self.child.pid if self.child else self._pid)
        probes = self.manifest.probes
        order = [info for info in probes if not _is_last_first(info)]
        order += [info for info in reversed(probes) if _is_last_first(info)]
        self._attached = sum(self._attach_probe(info, attacher) for info in order)
        if probes and not self._attached and not self._waiter.stopping:
            raise KernelError("Attachment failed for all probes.")
        return self._attached

    def run(self) -> int:
        """Trace until something ends it, then print maps; the tool's exit status."""
        if self.dry_run:
            return 0
        self.printer.attached(self._attached)
        self.printer.flush()
        self._consume()  # what `begin` probes say, exit() above all
        if self.child and not self._waiter.stopping:
            self.child.release()
        lasting = bool(self._links) or bool(self._places("self"))
        ready: set[int] = set()
        self._lost_seen_at = time.monotonic()
        while True:
            progress = self._consume()
            ended = self._target is not None and self._target.fileno() in ready
            if self._waiter.stopping or ended or not lasting:
                break
            if ready and not progress:
                time.sleep(_UNTIL_COMMIT)
            ready = self._waiter.wait(self._lost_seen_at + _LOST_EVERY - time.monotonic())
            self._attend()
        self._waiter.default_stop()
        self._finish()
        return self.exit_code % 256

    def stop(self) -> None:
        """End the run soon, from any thread."""
        self._waiter.stop()

    def _attend(self) -> None:
        """What is due besides records."""
        while self._waiter.triggers:
            self._waiter.triggers -= 1
            self._run_all("self")
        if time.monotonic() - self._lost_seen_at >= _LOST_EVERY:
            self._count_lost()

    def _finish(self) -> None:
        stop(self._links)
        self._consume(all_of_it=True)
        self._exited = False  # what `end` probes send counts again
        self._run_all("end")
        self._consume(all_of_it=True)
        self._count_lost()
        self.printer.end()
        if self.manifest.settings.print_maps_on_exit:
            for name in sorted((n for n in self.maps if n.startswith("@")), key=str.encode):
                if entries := self.maps[name].entries():
                    self.printer.map(self.maps[name].definition, entries)
        self.printer.finish(self._lost)
        self.printer.flush()

    def _attach_probe(self, info: ProbeInfo, attacher: Attacher) -> int:
        """Attach one probe's program everywhere; how many of its matches are served."""
        how, failed = self._how[info.program], 0
        waiting = groups(info, how)
        if _is_last_first(info):
            waiting.reverse()
        while waiting and not self._waiter.stopping:
            places = waiting.pop(0)
            if places[0].kind in RUN_ONCE:
                continue
            try:
                self._links += attacher.attach(self._programs[info.program], places, how)
            except AttachError as error:
                if len(places) > 1:  # one by one shows which it is
                    waiting[:0] = [[place] for place in places]
                else:
                    self._skip(error)
                    failed += 1
        return info.matches - failed if failed < len(info.attachments) else 0

    def _skip(self, error: AttachError) -> None:
        missing = self.manifest.settings.missing_probes
        if missing == "error":
            raise error
        if missing == "warn":
            self.warn(f"Unable to attach probe: {error.name}. Skipping.")

    def _detach(self) -> None:
        stop(self._links)
        release(self._links)
        self._links.clear()

    def _places(self, kind: str) -> list[tuple[str, str]]:
        """(program, name) of the places of a kind, in the script's order."""
        return [
            (i.program, p.name)
            for i in self.manifest.probes
            for p in i.attachments
            if p.kind == kind
        ]

    def _run_all(self, kind: str) -> None:
        for program, name in self._places(kind):
            run_once(self._programs[program], self.kernel, name)

    def _consume(self, all_of_it: bool = False) -> bool:
        """Act on the records that are complete, until a signal comes; whether there were any."""
        if not self._ring:
            return False
        progress, actions, waiter = False, self._actions, self._waiter
        for data in self._ring.records():
            progress = True
            index = int.from_bytes(data[:8], "little")
            if index >= len(actions):
                raise MachineError(f"a program sent a record of unknown kind {index}")
            if not self._exited:  # what comes after exit() does not count
                act, event = actions[index]
                act(event, data)
            if waiter.stopping and not all_of_it:
                break
        if progress:
            self.printer.flush()
        return progress

    def _exit(self, event: Event, data: memoryview) -> None:
        at = event.offsets[0]
        self.exit_code = int.from_bytes(data[at : at + 8], "little", signed=True)
        self._exited = self._waiter.stopping = True

    def _clear(self, event: Event, _: memoryview) -> None:
        self.maps[event.map].clear()

    def _zero(self, event: Event, _: memoryview) -> None:
        self.maps[event.map].zero()

    def _print_map(self, event: Event, _: memoryview) -> None:
        chosen = self.maps[event.map]
        self.printer.map(chosen.definition, chosen.entries(), event.top, event.divisor or 1)

    def _print_element(self, event: Event, data: memoryview) -> None:
        chosen, at = self.maps[event.map], event.offsets[0]
        key = bytes(data[at : at + event.fields[0].size])
        self.printer.element(chosen.definition, chosen.value(chosen.stored_key(key)))

    def _refuse(self, _: Event, __: memoryview) -> None:
        self.warn("syscall() not allowed in safe mode. Use '--unsafe'.")

    def _count_lost(self) -> None:
        self._lost_seen_at = time.monotonic()
        if counter := self.maps.get(Internal.LOST):
            values = counter.value(bytes(4)) or []
            total = sum(int.from_bytes(value[:8], "little") for value in values)
            if total > self._lost:
                self.printer.lost(total - self._lost)
                self._lost = total


def _is_last_first(info: ProbeInfo) -> bool:
    return any(place.kind in LAST_FIRST for place in info.attachments)


def _raise_limits(probes: list[ProbeInfo], maps: int) -> None:
    """Allow for a run's descriptors and, before 5.11, locked memory, as far as we may."""
    needed = 3 * sum(len(info.attachments) for info in probes) + maps + 50
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < needed:
        wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, soft), hard))
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
    except (OSError, ValueError):
        pass
