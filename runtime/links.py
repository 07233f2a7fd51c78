"""Attaching programs, and letting go of them without making anybody wait.

Closing one tracepoint takes the kernel two grace periods of some 35 ms, the second under a global
lock. So its link, which runs the program, is closed in a thread of its own: all links share one
grace period. Its perf event, which by then runs nothing, is left to a process in the background.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby

from bpfscript.manifest import Attach, ProbeInfo
from bpfscript.plain import dataclass
from bpfscript.target import MachineError

from .archives import SIGN
from .errors import AttachError, BpfError
from .fd import Fd
from .sys import (
    PERF_DISABLED,
    PERF_FREQ,
    PERF_INHERIT,
    PERF_INHERIT_THREAD,
    PERF_IOC_ENABLE,
    PERF_IOC_SET_BPF,
    AttachType,
    Cmd,
    Kernel,
    KprobeMultiCreate,
    PerfEventAttr,
    PerfLinkCreate,
    PerfType,
    RawTracepointOpen,
    TracingLinkCreate,
    UprobeMultiCreate,
    address,
    buffer_of,
    cpus,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from threading import Thread

RUN_ONCE = ("begin", "end", "self", "test", "bench")  # run by BPF_PROG_TEST_RUN
# What the kernel runs last to first. Not kretprobes: returning unwinds what entering has wound.
LAST_FIRST = ("kprobe", "uprobe", "uretprobe", "usdt", "fentry", "fexit")
SESSION = "kprobe_session"  # Attach.kind of a kprobe and a kretprobe in one: fusion.py
TIED = {
    "fentry": AttachType.TRACE_FENTRY,
    "fexit": AttachType.TRACE_FEXIT,
    "iter": AttachType.TRACE_ITER,
}
"""Kinds whose program is loaded for one place, each time anew: kernel_types.py."""
MULTI = (AttachType.UPROBE_MULTI, AttachType.KPROBE_MULTI, AttachType.KPROBE_SESSION)
_UPROBES, _KPROBES = ("uprobe", "uretprobe", "usdt"), ("kprobe", "kretprobe")
_TRACEFS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
_ADDRESSES = "available_filter_functions_addrs"  # 6.5: of the calls that ftrace has
_PROLOGUE = 16  # bytes from a function's start to that call at most
_SAMPLED = {"hardware": PerfType.HARDWARE, "watchpoint": PerfType.BREAKPOINT}
_PMUS = "/sys/bus/event_source/devices"
_WORKERS = 256  # threads that close


@dataclass(slots=True)
class Link:
    """An attached program: closing `fd` ends its runs. event: a perf event that closes slowly."""

    fd: Fd
    event: Fd | None = None

    def close(self) -> None:
        self.fd.close()
        if self.event:
            self.event.close()


def attach_type(info: ProbeInfo, has: Callable[[str], bool]) -> AttachType:
    """How a probe's program is going to be attached, which the kernel wants to know at load."""
    kinds = {place.kind for place in info.attachments}
    if len(kinds) == 1 and (tied := TIED.get(next(iter(kinds)))):
        return tied
    if kinds == {SESSION}:
        return AttachType.KPROBE_SESSION
    if kinds and kinds <= set(_UPROBES) and has("uprobe_multi"):
        return AttachType.UPROBE_MULTI
    whole = all(not p.offset for p in info.attachments)
    if kinds and kinds <= set(_KPROBES) and whole and has("kprobe_multi"):
        return AttachType.KPROBE_MULTI
    return AttachType.NONE


def groups(info: ProbeInfo, how: AttachType) -> list[list[Attach]]:
    """The probe's places, those together that one link serves."""
    if how not in MULTI:
        return [[place] for place in info.attachments]
    multi = how is AttachType.UPROBE_MULTI
    key: Callable[[Attach], tuple[str, str]] = lambda p: (p.kind, p.target if multi else "")  # noqa: E731
    return [list(group) for _, group in groupby(sorted(info.attachments, key=key), key)]


class Attacher:
    """Attaches loaded programs. pid: the process that probes are limited to where they can be."""

    def __init__(self, kernel: Kernel, pid: int | None = None) -> None:
        self.kernel, self.pid = kernel, pid
        self._online: list[int] = []

    def attach(self, program: Fd, places: Sequence[Attach], how: AttachType) -> list[Link]:
        """Attach to places that one of `groups` put together.

        Raises AttachError, with nothing left attached, and MachineError without a tracefs.
        """
        links: list[Link] = []
        try:
            match how, places[0].kind:
                case AttachType.UPROBE_MULTI, _:
                    links.append(self._uprobe_multi(program, places))
                case AttachType.KPROBE_MULTI | AttachType.KPROBE_SESSION, _:
                    links.append(self._kprobe_multi(program, places, how))
                case _, "fentry" | "fexit":
                    links.append(self._trampoline(program, places[0], how))
                case _, "raw_tracepoint":
                    links.append(self._raw_tracepoint(program, places[0]))
                case _, "tracepoint" | "kprobe" | "kretprobe" | "uprobe" | "uretprobe" | "usdt":
                    links.append(self._slow(program, places[0]))
                case _, "profile" | "interval" | "software" | "hardware" | "watchpoint":
                    for pid, cpu in self._scopes(places[0]):
                        links.append(self._sampling(program, places[0], pid, cpu))
                case _, kind:
                    raise AttachError(places[0].name, f"unknown kind of probe: {kind}")
        except (BpfError, OSError, ValueError) as error:
            for link in links:
                link.close()
            raise AttachError(places[0].name, str(error)) from error
        return links

    def _uprobe_multi(self, program: Fd, places: Sequence[Attach]) -> Link:
        file, start = _file(places[0])
        path = buffer_of(os.fsencode(file) + b"\0")
        offsets = _array([start + p.offset for p in places])
        cookies = _array([p.cookie for p in places])
        semaphores = _array([p.semaphore and start + p.semaphore for p in places])
        attr = UprobeMultiCreate(
            prog_fd=program.fileno(), attach_type=AttachType.UPROBE_MULTI, path=address(path),
            offsets=ctypes.addressof(offsets), cookies=ctypes.addressof(cookies), cnt=len(places),
            ref_ctr_offsets=ctypes.addressof(semaphores) if any(semaphores) else 0,
            multi_flags=places[0].kind == "uretprobe", pid=self.pid or 0,
        )  # fmt: skip
        return Link(Fd(self.kernel.bpf(Cmd.LINK_CREATE, attr, places[0].name)))

    def _kprobe_multi(self, program: Fd, places: Sequence[Attach], how: AttachType) -> Link:
        names = [buffer_of(p.target.encode() + b"\0") for p in places]
        cookies = _array([p.cookie for p in places])
        attr = KprobeMultiCreate(
            prog_fd=program.fileno(), attach_type=how, cnt=len(places),
            multi_flags=places[0].kind == "kretprobe", cookies=ctypes.addressof(cookies),
        )  # fmt: skip
        if any(":" in place.target for place in places):  # the kernel knows no names of modules
            where = _array(_addresses(places))
            attr.addrs = ctypes.addressof(where)
        else:
            where = _array([address(name) for name in names])
            attr.syms = ctypes.addressof(where)
        return Link(Fd(self.kernel.bpf(Cmd.LINK_CREATE, attr, places[0].name)))

    def _trampoline(self, program: Fd, place: Attach, how: AttachType) -> Link:
        attr = TracingLinkCreate(prog_fd=program.fileno(), attach_type=how, cookie=place.cookie)
        return Link(Fd(self.kernel.bpf(Cmd.LINK_CREATE, attr, place.name)))

    def _raw_tracepoint(self, program: Fd, place: Attach) -> Link:
        name = buffer_of(place.target.rpartition(":")[2].encode() + b"\0")
        attr = RawTracepointOpen(name=address(name), prog_fd=program.fileno(), cookie=place.cookie)
        try:
            return Link(Fd(self.kernel.bpf(Cmd.RAW_TRACEPOINT_OPEN, attr, place.name)))
        except BpfError as error:
            if not place.cookie or error.errno not in (errno.E2BIG, errno.EINVAL):
                raise
        attr.cookie = 0  # no program asks for it where the kernel has none
        return Link(Fd(self.kernel.bpf(Cmd.RAW_TRACEPOINT_OPEN, attr, place.name)))

    def _slow(self, program: Fd, place: Attach) -> Link:
        """Where the program belongs to the place, not to the perf event: it runs on every CPU."""
        pid, cpu = -1, 0
        file, start = _file(place) if place.kind in _UPROBES else (place.target, 0)
        name = buffer_of(os.fsencode(file) + b"\0")
        if place.kind == "tracepoint":
            attr = PerfEventAttr(type=PerfType.TRACEPOINT, config=_tracepoint_id(place.target))
            attr.sample_period = 1
        else:
            at_return = place.kind.removeprefix("k").removeprefix("u").startswith("ret")
            pmu = "uprobe" if place.kind in _UPROBES else "kprobe"
            if not os.path.exists(f"{_PMUS}/{pmu}"):
                raise AttachError(place.name, f"this kernel has no {pmu}s")
            attr = PerfEventAttr(type=_pmu(pmu, "type"))
            attr.config = at_return << _pmu(pmu, "format/retprobe")
            if place.semaphore:
                attr.config |= start + place.semaphore << 32  # format/ref_ctr_offset
            attr.config1, attr.config2 = address(name), start + place.offset
            if pmu == "uprobe" and self.pid:
                pid, cpu = self.pid, -1
        link, event = self._perf_link(program, place, attr, pid, cpu)
        return Link(link, event)

    def _sampling(self, program: Fd, place: Attach, pid: int, cpu: int) -> Link:
        attr = PerfEventAttr(type=_SAMPLED.get(place.kind, PerfType.SOFTWARE), flags=PERF_DISABLED)
        attr.config, attr.sample_period = place.config, place.frequency or place.period
        if place.kind == "watchpoint":
            attr.config, attr.sample_period, attr.bp_type = 0, 1, place.config
            attr.config1, attr.config2 = place.offset, place.length
        if place.frequency:
            attr.flags |= PERF_FREQ
        if pid > 0:
            attr.flags |= PERF_INHERIT | PERF_INHERIT_THREAD
        link, event = self._perf_link(program, place, attr, pid, cpu)
        if event:
            event.close()  # the link keeps it alive
        return Link(link)

    def _perf_link(
        self, program: Fd, place: Attach, attr: PerfEventAttr, pid: int, cpu: int
    ) -> tuple[Fd, Fd | None]:
        """Open an event and tie the program to it by a link; before 5.15 by the event alone."""
        event = Fd(self.kernel.perf_event_open(attr, pid, cpu))
        link: Fd | None = None
        create = PerfLinkCreate(
            prog_fd=program.fileno(), target_fd=event.fileno(), bpf_cookie=place.cookie,
            attach_type=AttachType.PERF_EVENT,
        )  # fmt: skip
        try:
            try:
                link = Fd(self.kernel.bpf(Cmd.LINK_CREATE, create, place.name))
            except BpfError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                    raise
                self.kernel.ioctl(event.fileno(), PERF_IOC_SET_BPF, program.fileno())
            self.kernel.ioctl(event.fileno(), PERF_IOC_ENABLE)
        except BpfError:
            if link:
                link.close()
            event.close()
            raise
        return (link, event) if link else (event, None)

    def _scopes(self, place: Attach) -> Iterable[tuple[int, int]]:
        """(pid, cpu) of the perf events that a sampling probe needs."""
        if not self._online:
            self._online = cpus("online")
        if place.kind == "interval":
            return [(-1, self._online[0])]
        if self.pid:
            return [(int(thread), -1) for thread in os.listdir(f"/proc/{self.pid}/task")]
        return [(-1, cpu) for cpu in self._online]


def stop(links: Sequence[Link]) -> None:
    """End all runs: when it returns, no program runs any more. The links' events stay open."""
    slow = [link for link in links if link.event and not link.fd.closed]
    count = min(len(slow), _WORKERS)
    shares = [slow[i::count] for i in range(count)]
    threads = [_started(share) for share in shares]
    _stop_each([link for link in links if not link.event])
    for thread in threads:
        thread.join()


def _started(links: Sequence[Link]) -> Thread:
    from threading import Thread

    thread = Thread(target=_stop_each, args=(links,), daemon=True)
    thread.start()
    return thread


def _stop_each(links: Sequence[Link]) -> None:
    for link in links:
        link.fd.close()


def release(links: Iterable[Link]) -> None:
    """Close the events of stopped links, in a process that nobody waits for."""
    events = [link.event for link in links if link.event and not link.event.closed]
    if not events:
        return
    numbers = sorted(event.fileno() for event in events)
    ours_gone, keep = os.pipe()
    child = os.fork()
    if child == 0:
        _close_behind(ours_gone, numbers)
    os.close(ours_gone)
    for event in events:
        event.close()
    os.close(keep)
    os.waitpid(child, 0)


def _close_behind(ours_gone: int, numbers: list[int]) -> None:
    """In the new process: outlive the parent with nothing open but these descriptors."""
    try:
        if os.fork() == 0:
            os.setsid()
            os.chdir("/")
            start = 0
            for number in sorted([*numbers, ours_gone]):
                os.closerange(start, number)
                start = number + 1
            os.closerange(start, 1 << 30)
            os.read(ours_gone, 1)  # the end of file: the parent holds the events no more
    finally:
        os._exit(0)


def _addresses(places: Sequence[Attach]) -> list[int]:
    """Where functions start; of several with a name, the one that can be traced."""
    from .kallsyms import addresses

    known = addresses({place.target for place in places})
    if missing := [place for place in places if not any(known.get(place.target, ()))]:
        raise AttachError(missing[0].name, "its address is not known")
    several = {name for name, found in known.items() if len(found) > 1}
    file = _tracefs(_ADDRESSES) if several else None
    calls = addresses(several, file) if file else {}

    def start(name: str) -> int:
        traced = (a for a in known[name] for c in calls.get(name, ()) if 0 <= c - a <= _PROLOGUE)
        return next(traced, known[name][0])

    return [start(place.target) for place in places]


def _file(place: Attach) -> tuple[str, int]:
    """The file that a place is in, and where its target starts there: archives hold members."""
    if SIGN not in place.target:
        return place.target, 0
    from .archives import place as located

    at = located(place.target)
    if at is None:
        raise AttachError(place.name, f"{place.target} is not there, or compressed")
    return at.path, at.offset


def _array(values: Sequence[int]) -> ctypes.Array[ctypes.c_uint64]:
    return (ctypes.c_uint64 * len(values))(*values)


def _tracepoint_id(target: str) -> int:
    """The number of `category:event`. Raises MachineError if there is no tracefs."""
    events = _tracefs("events")
    if events is None:
        raise MachineError("tracefs is not mounted", "mount -t tracefs none /sys/kernel/tracing")
    with open(f"{events}/{target.replace(':', '/', 1)}/id", encoding="ascii") as file:
        return int(file.read())


def _tracefs(name: str) -> str | None:
    """Where a file or directory of the tracefs is."""
    return next((f for root in _TRACEFS if os.path.exists(f := f"{root}/{name}")), None)


def _pmu(name: str, what: str) -> int:
    """A number that /sys tells about a dynamic PMU: its type, or the bit of a flag (`config:0`)."""
    with open(f"{_PMUS}/{name}/{what}", encoding="ascii") as file:
        return int(file.read().strip().removeprefix("config:"))
