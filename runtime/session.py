"""One run of an artifact: load, attach, hand events on, detach, print maps."""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from types import TracebackType

from bpfscript.manifest import GLOBALS_LAYOUT, Artifact, Attach, Internal, ProbeInfo, Program
from bpfscript.target import MachineError

from .errors import AttachError, KernelError
from .fd import Fd, raise_limits
from .features import Features
from .kernel_types import KernelTypes
from .links import (
    LAST_FIRST,
    MULTI,
    RUN_ONCE,
    TIED,
    Attacher,
    Link,
    attach_type,
    groups,
    release,
    stop,
)
from .maps import Map, create_map, sized
from .process import Child, watch
from .programs import Loader, run_once
from .records import Printer, Records
from .ringbuf import RingBuffer
from .stream import MakeDrain
from .sys import AttachType, Kernel, cpus
from .wait import Waiter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .governor import Governor
    from .unwinding import Tables

_LOST_EVERY = 1.0  # seconds between looks at the count of lost events
_GRACE = 0.5  # seconds that a child has if nothing else keeps the run going
_GATHER = 0.002  # seconds that a busy stream may go unread
_UNTIL_COMMIT = 0.001  # seconds to wait for a record that a program is still writing


class Session:
    """Owns all that a run has in the kernel; leaving the context lets go of it, links first.

    pid, child  the process that the run is about; its end ends the run
    unwound     processes besides it whose stacks `dw_ustack` follows
    dry_run     attach, then stop
    signals     SIGINT and SIGTERM end the run, SIGUSR1 runs `self` probes; main thread only
    print_maps  in the end, unless the script has it otherwise
    warn        takes the line about each probe that `missing_probes = warn` leaves out
    say         takes a line about each thing that is done
    max_overhead  share of all CPU time beyond which the costliest probe is let go; 0: none
    stats       takes lines at the end: what each probe took
    native      makes the code that shows events when there are many, see `runtime.stream`
    """

    def __init__(
        self,
        artifact: Artifact,
        printer: Printer,
        *,
        pid: int | None = None,
        child: Child | None = None,
        unwound: Iterable[int] = (),
        dry_run: bool = False,
        signals: bool = True,
        print_maps: bool = True,
        kernel: Kernel | None = None,
        features: Features | None = None,
        warn: Callable[[str], None] = lambda _: None,
        say: Callable[[str], None] = lambda _: None,
        native: MakeDrain | None = None,
        max_overhead: float = 0.0,
        stats: Callable[[str], None] | None = None,
    ) -> None:
        self.artifact, self.printer, self.child = artifact, printer, child
        self.manifest, self.dry_run = artifact.manifest, dry_run
        self.warn, self.say = warn, say
        self.kernel = kernel or Kernel()
        self.features = features or Features(self.kernel)
        self.maps: dict[str, Map] = {}
        self.records = Records(self.manifest, self.maps, printer, warn, native)
        self._pid, self._signals = pid, signals
        self._unwound = tuple(unwound)
        self._print_maps = print_maps
        self._programs: dict[str, Fd] = {}
        self._tied: dict[Attach, Fd] = {}
        self._iterators: list[Fd] = []
        self._how: dict[str, AttachType] = {}
        self._links: list[Link] = []
        self._links_of: dict[str, list[Link]] = {}  # by program, or place of a tied one
        self._stats = stats
        self._governor: Governor | None = None
        if max_overhead or stats:
            from .governor import Governor

            self._governor = Governor(
                max_overhead, self.kernel, self._described, self._let_go, warn
            )
        self._attached = 0
        self._stack = ExitStack()

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
        """Make maps and programs. Raises BpfError, VerifierRefused, OtherKernel."""
        if self.artifact.assumes:
            from .assumptions import check

            check(self.artifact, self.features.cache)
        if self.artifact.kernel_enums:
            from .relocate import renew_enums

            renew_enums(self.artifact, self.features.cache)
        places = sum(len(info.attachments) for info in self.manifest.probes)
        raise_limits(3 * places + len(self.manifest.maps) + 50)
        possible = len(cpus("possible"))
        tables = self._unwind_tables()
        for definition in self.manifest.maps:
            definition = sized(definition, self.manifest)
            definition = tables.sized(definition) if tables else definition
            made = create_map(definition, possible, self.kernel, self.artifact.rodata)
            self._stack.callback(made.close)
            self.maps[definition.name] = made
            if definition.within:
                self.maps[definition.within].near = made
            self.say(f"Created map {definition.name}: {definition.kind.name.lower()}")
        if tables:
            tables.fill(self.maps)
        if shared := self.maps.get(Internal.GLOBALS):
            boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            known = {"start": boot, "child": self.child.pid if self.child else 0}
            known["boot_to_tai"] = time.clock_gettime_ns(time.CLOCK_TAI) - boot
            values = [known[name] for name in GLOBALS_LAYOUT]
            shared.update(bytes(4), struct.pack(f"<{len(values)}Q", *values))
        for name in (Internal.EVENTS, Internal.CONTROL):
            if opened := self.maps.get(name):
                ring = RingBuffer.open(opened.fd, opened.definition.max_entries)
                self.records.open(name, ring)
                self._stack.callback(ring.close)
                self._waiter.add(opened.fd.fileno())
        kinds = {place.kind for info in self.manifest.probes for place in info.attachments}
        if {"kprobe", "kretprobe"} <= kinds and not self._governor:  # which lets go of each alone
            from .fusion import fuse

            self.artifact = fuse(self.artifact, self.features.has)
            self.manifest = self.artifact.manifest
        for info in self.manifest.probes:
            self._how[info.program] = attach_type(info, self.features.has)
        types = KernelTypes(self.kernel, self.features.cache)
        loader = Loader(self.artifact, self.maps, self.kernel, types.kfunc, self.features.cache)
        with closing(types), closing(loader):
            for program in self.artifact.programs:
                how = self._how.get(program.name, AttachType.NONE)
                if how in TIED.values():
                    self._load_tied(loader, types, program, how)
                else:
                    loaded = loader.load(program, how)
                    self._programs[program.name] = self._stack.enter_context(loaded)
                self.say(f"Loaded program {program.name}")

    def _unwind_tables(self) -> Tables | None:
        """What `dw_ustack` needs, if the script has it. The child gets as far as its libraries."""
        if not any(map.name == Internal.PROCESSES for map in self.manifest.maps):
            return None
        from .unwinding import Tables

        if self.child:
            self.child.run_to_entry()
            if self.child.ended():
                return Tables(())
        targets = self.child.pid if self.child else self._pid, *self._unwound
        known = dict.fromkeys(pid for pid in targets if pid is not None)
        if not known:
            raise MachineError("dw_ustack requires a target process")
        return Tables(known)

    def _load_tied(
        self, loader: Loader, types: KernelTypes, program: Program, how: AttachType
    ) -> None:
        """Load a program once for each of its places; those that refuse it are left out."""
        info = next(info for info in self.manifest.probes if info.program == program.name)
        refused: KernelError | None = None
        for place in info.attachments:
            try:
                loaded = loader.load(program, how, types.tie(place))
                self._tied[place] = self._stack.enter_context(loaded)
            except KernelError as error:
                refused = error
        if refused and not any(place in self._tied for place in info.attachments):
            raise refused

    def attach(self) -> int:
        """Run `begin` probes, then attach the rest; the number of matches served.

        Raises AttachError for a place that refuses, unless `missing_probes` says otherwise, and
        KernelError if all of them do. Stops early after a signal.
        """
        if not self.dry_run:
            self.printer.prepare()
            self.run_all("begin")
        self._stack.callback(self._detach)
        attacher = Attacher(self.kernel, self.child.pid if self.child else self._pid)
        probes = self.manifest.probes
        order = [info for info in probes if not self._is_last_first(info)]
        order += [info for info in reversed(probes) if self._is_last_first(info)]
        self._attached = sum(self._attach_probe(info, attacher) for info in order)
        if probes and not self._attached and not self._waiter.stopping:
            raise KernelError("Attachment failed for all probes.")
        return self._attached

    def run(self) -> int:
        """Trace until something ends it, then print maps; the tool's exit status."""
        if self.dry_run:
            return 0
        if self._governor:
            self._stack.callback(self._governor.close)
            tied = {place.name: fd for place, fd in self._tied.items()}
            self._governor.open(self._programs | tied)
        self.printer.attached(self._attached)
        self.printer.flush()
        self.records.consume(self.is_over)  # what `begin` probes say, exit() above all
        if self.child and not self.is_over():
            self.child.release()
        self._trace()
        self._waiter.default_stop()
        self.finish()
        return self.records.exit_code % 256

    def _trace(self) -> None:
        """Act on records until something ends the run."""
        self.iterate()
        start = self._counted_at = time.monotonic()
        end = start + _GRACE if self.child else start
        if self._links or self.places("self"):
            end = math.inf
        ready: set[int] = set()
        while True:
            progress = self.records.consume(self.is_over)
            if self._target and self._target.fileno() in ready:
                if self.child:
                    self.say(self.child.outcome())
                break
            if self.is_over() or time.monotonic() >= end:
                break
            if ready and not progress:
                time.sleep(_UNTIL_COMMIT)
            elif self.records.stream and self.records.stream.busy:
                time.sleep(_GATHER)  # together they cost less, and nobody has to wake us
            due = min(self._counted_at + _LOST_EVERY, end)
            ready = self._waiter.wait(due - time.monotonic())
            self._attend()

    def is_over(self) -> bool:
        """Whether the script, a signal or another thread has ended the run."""
        return self.records.exited or self.stopping

    def iterate(self) -> None:
        """Let the programs of iterators see their objects."""
        if self._iterators:
            from .iterators import walk
        while self._iterators:
            walk(self._iterators.pop(0), self._drained)

    def _drained(self) -> bool:
        self.records.consume(self.is_over)
        return self.is_over()

    @property
    def stopping(self) -> bool:
        """Whether a signal or another thread has ended the run."""
        return self._waiter.stopping

    def stop(self) -> None:
        """End the run soon, from any thread."""
        self._waiter.stop()

    def _attend(self) -> None:
        """What is due besides records."""
        while self._waiter.triggers:
            self._waiter.triggers -= 1
            self.run_all("self")
        if time.monotonic() - self._counted_at >= _LOST_EVERY:
            self._counted_at = time.monotonic()
            self.records.count_lost()
        if self._governor:
            self._governor.look()

    def _described(self, program: str) -> str:
        """The probe that a program is, and its line in the script."""
        places = [p for i in self.manifest.probes if i.program == program for p in i.attachments]
        places = places or [p for p in self._tied if p.name == program]
        at = next((p.place for p in places if p.place), None)
        where = f" at {at.file}:{at.line}: {at.text.strip()}" if at else ""
        return f"{self._name(program)}{where}"

    def _let_go(self, program: str) -> None:
        """Detach one program for good."""
        links = self._links_of.pop(program, [])
        self._links = [link for link in self._links if link not in links]
        stop(links)
        release(links)

    def finish(self, *, maps: bool = True) -> None:
        """Stop tracing, run `end` probes, print what is left. maps: theirs, too."""
        stop(self._links)
        self.records.consume()
        self.records.exited = False  # what `end` probes send counts again
        self.run_all("end")
        self.records.consume()
        if maps:
            self.records.count_lost()
        self.printer.end()
        if maps and self._print_maps and self.manifest.settings.print_maps_on_exit:
            self.records.print_maps()
        if self.records.lost and len(self.manifest.probes) > 1:
            for program, number in self.records.lost_by_program().items():
                if number:
                    self.warn(f"{self._name(program)} lost {number} events")
        if self._governor and self._stats:
            for line in self._governor.report(self.records.lost_by_program()):
                self._stats(line)
        self.printer.finish(self.records.lost)
        self.printer.flush()

    def _name(self, program: str) -> str:
        """The probe that a program is, and how many more it stands for."""
        names = [name for info in self.manifest.probes if info.program == program
                 for name in info.names]  # fmt: skip
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"{names[0]}{more}" if names else program

    def _attach_probe(self, info: ProbeInfo, attacher: Attacher) -> int:
        """Attach one probe's program everywhere; how many of its matches are served."""
        how, failed = self._how[info.program], 0
        waiting = groups(info, how)
        if self._is_last_first(info):
            waiting.reverse()
        while waiting and not self._waiter.stopping:
            places = waiting.pop(0)
            if places[0].kind in RUN_ONCE:
                continue
            self.say(f"Trying to attach probe: {places[0].name}")
            if how in MULTI and places[0].kind != "usdt":
                self.say(f"Attaching to {len(places)} functions")
            try:
                self._attach_places(info, attacher, places, how)
            except AttachError as error:
                if half := len(places) // 2:  # halves show which it is
                    waiting[:0] = [places[:half], places[half:]]
                else:
                    self._skip(error)
                    failed += 1
        return info.matches - failed if failed < len(info.attachments) else 0

    def _is_last_first(self, info: ProbeInfo) -> bool:
        """Whether the kernel runs what was attached last first."""
        kinds = {place.kind for place in info.attachments}
        if kinds == {"kretprobe"} and self._how[info.program] is AttachType.KPROBE_MULTI:
            return self.features.has("return_stack")
        return not kinds.isdisjoint(LAST_FIRST)

    def _attach_places(
        self, info: ProbeInfo, attacher: Attacher, places: list[Attach], how: AttachType
    ) -> None:
        tied, first = how in TIED.values(), places[0]
        program = self._tied.get(first) if tied else self._programs[info.program]
        if program is None:
            raise AttachError(first.name, "its program was refused")
        if first.kind == "iter":
            from .iterators import open_iterator, pin_iterator
        if first.kind == "iter" and first.symbol:
            if not self.dry_run:
                pin_iterator(program, self.kernel, first)
                self.printer.pinned(first.symbol)
        elif first.kind == "iter":
            file = open_iterator(program, self.kernel, first)
            self._iterators.append(self._stack.enter_context(file))
        else:
            links = attacher.attach(program, places, how)
            self._links += links
            self._links_of.setdefault(first.name if tied else info.program, []).extend(links)

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

    def places(self, kind: str) -> list[tuple[Fd, str]]:
        """(program, name) of the places of a kind, in the script's order."""
        return [
            (self._programs[info.program], place.name)
            for info in self.manifest.probes
            for place in info.attachments
            if place.kind == kind
        ]

    def run_all(self, kind: str) -> None:
        """Run the probes of a kind that this process triggers."""
        for program, name in self.places(kind):
            self.say(f"Running '{name}' probe")
            run_once(program, self.kernel, name)
