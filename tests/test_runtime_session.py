"""Sessions in the real kernel and in a fake one. The programs are assembled here, by hand."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bpfscript.manifest import (
    Artifact,
    Attach,
    CodeFunction,
    Event,
    Internal,
    Line,
    Manifest,
    MapDef,
    MapType,
    ProbeInfo,
    Program,
    ProgramType,
    Relocation,
    Settings,
)
from bpfscript.runtime.entries import Entry
from bpfscript.runtime.errors import AttachError, BpfError, KernelError, VerifierRefused
from bpfscript.runtime.features import Features
from bpfscript.runtime.process import Child
from bpfscript.runtime.ringbuf import Run
from bpfscript.runtime.session import Session
from bpfscript.runtime.sys import Cmd, Kernel, MapCreate, PerfEventAttr, ProgLoad
from bpfscript.target import FEATURES, MachineError
from bpfscript.types import INT64, UINT64

R0, R1, R2, R3, R4, R10 = 0, 1, 2, 3, 4, 10


class Assembler:
    """A few instructions, enough for the programs below."""

    def __init__(self) -> None:
        self.code = b""
        self.relocations: list[Relocation] = []

    def emit(self, op: int, dst: int = 0, src: int = 0, offset: int = 0, imm: int = 0) -> Assembler:
        self.code += struct.pack("<BBhi", op, src << 4 | dst, offset, imm)
        return self

    def move(self, dst: int, imm: int) -> Assembler:
        return self.emit(0xB7, dst, imm=imm)

    def copy(self, dst: int, src: int, plus: int = 0) -> Assembler:
        self.emit(0xBF, dst, src)
        return self.emit(0x07, dst, imm=plus) if plus else self

    def store(self, offset: int, imm: int) -> Assembler:
        return self.emit(0x7A, R10, offset=offset, imm=imm)  # *(u64 *)(r10 + offset) = imm

    def address(self, dst: int, name: str, kind: str = "map", addend: int = 0) -> Assembler:
        self.relocations.append(Relocation(len(self.code) // 8, kind, name, addend))
        return self.emit(0x18, dst).emit(0)

    def call(self, helper: int) -> Assembler:
        return self.emit(0x85, imm=helper)

    def send(self, *words: int) -> Assembler:
        """Put a record of uint64s into the ring."""
        for i, word in enumerate(words):
            self.store(-8 * (len(words) - i), word)
        self.address(R1, Internal.EVENTS).copy(R2, R10, -8 * len(words))
        return self.move(R3, 8 * len(words)).move(R4, 0).call(130)  # ringbuf_output

    def add(self, name: str, addend: int = 0) -> Assembler:
        """Add 1 to a uint64 in a map's first value."""
        return self.address(R1, name, "map_value", addend).move(R2, 1).emit(0xDB, R1, R2)

    def set(self, name: str, key: int, value: int) -> Assembler:
        """Update an element with uint64 key and value."""
        self.store(-8, key).store(-16, value).address(R1, name)
        self.copy(R2, R10, -8).copy(R3, R10, -16)
        return self.move(R4, 0).call(2)  # map_update_elem

    def function(self, name: str) -> CodeFunction:
        self.move(R0, 0).emit(0x95)
        return CodeFunction(name, self.code, tuple(self.relocations))


RING = MapDef(Internal.EVENTS, MapType.RINGBUF, None, None, 0, 0, 0)
COUNT = MapDef("@n", MapType.ARRAY, None, UINT64, 4, 8, 1)
HASH = MapDef("@h", MapType.HASH, UINT64, UINT64, 8, 8, 64)
TALK = [
    Event("exit", (INT64,), (8,), 16),
    Event("printf", (INT64,), (8,), 16, "%d\n"),
    Event("print_map", map="@h", top=3),
    Event("clear", map="@h"),
    Event("zero", map="@h"),
    Event("system", text="true"),
]
EXIT, PRINTF, PRINT_MAP, CLEAR, ZERO, SYSTEM = range(6)

BEGIN, END = Attach("begin", "begin"), Attach("end", "end")
SIGUSR1 = Attach("self", "self:signal:SIGUSR1", "SIGUSR1")
TICK = Attach("interval", "interval:ms:5", period=5_000_000)
GETPID = Attach("tracepoint", "tracepoint:syscalls:sys_enter_getppid", "syscalls:sys_enter_getppid")
TYPES = {
    "tracepoint": ProgramType.TRACEPOINT,
    "interval": ProgramType.PERF_EVENT,
    "profile": ProgramType.PERF_EVENT,
    "software": ProgramType.PERF_EVENT,
    "hardware": ProgramType.PERF_EVENT,
    "uprobe": ProgramType.KPROBE,
    "uretprobe": ProgramType.KPROBE,
    "kprobe": ProgramType.KPROBE,
}


def artifact(
    *probes: tuple[Attach | list[Attach], Assembler],
    maps: list[MapDef] | None = None,
    settings: Settings | None = None,
) -> Artifact:
    programs, functions, infos = [], {}, []
    for number, (places, code) in enumerate(probes):
        places = places if isinstance(places, list) else [places]
        name = f"p{number}"
        kind = TYPES.get(places[0].kind, ProgramType.RAW_TRACEPOINT)
        programs.append(Program(name, kind, "", (name,)))
        functions[name] = code.function(name)
        infos.append(ProbeInfo(name, tuple(places), tuple(p.name for p in places)))
    manifest = Manifest(infos, [RING, COUNT, HASH] if maps is None else maps, TALK)
    manifest.settings = settings or Settings(perf_rb_pages=4)
    return Artifact(programs, functions, manifest)


class Notes:
    """A printer that takes notes."""

    def __init__(self) -> None:
        self.lines: list[object] = []

    def attached(self, count: int) -> None:
        self.lines.append(("attached", count))

    def pinned(self, path: str) -> None:
        self.lines.append(("pinned", path))

    def event(self, event: Event, data: memoryview) -> None:
        self.lines.append(int.from_bytes(data[8:16], "little"))

    def run(self, event: Event, run: Run) -> None:
        for data in run.records():
            self.event(event, data)

    def shown(self, text: memoryview) -> None:
        self.lines.append(bytes(text))

    def map(
        self, definition: MapDef, entries: Sequence[Entry], top: int = 0, divisor: int = 1
    ) -> None:
        numbers = {k.hex(): [int.from_bytes(v[:8], "little") for v in vs] for k, vs in entries}
        self.lines.append((definition.name, numbers))

    def element(self, definition: MapDef, values: list[bytes] | None) -> None:
        self.lines.append((definition.name, values))

    def lost(self, count: int) -> None:
        self.lines.append(("lost", count))

    def end(self) -> None:
        self.lines.append("end")

    def finish(self, total_lost: int) -> None:
        self.lines.append(("finish", total_lost))

    def flush(self) -> None:
        pass

    @property
    def numbers(self) -> list[int]:
        return [line for line in self.lines if isinstance(line, int)]


def run(made: Artifact, **options: object) -> tuple[int, Notes]:
    notes = Notes()
    with Session(made, notes, **options) as session:  # type: ignore[arg-type]
        session.load()
        session.attach()
        return session.run(), notes


def key(number: int) -> str:
    return struct.pack("<Q", number).hex()


# what the kernel does


@pytest.mark.kernel
def test_begin_and_end_run_once_and_the_run_ends_by_itself() -> None:
    status, notes = run(
        artifact(
            (BEGIN, Assembler().send(PRINTF, 1).add("@n")),
            (END, Assembler().send(PRINTF, 2).set("@h", 7, 9)),
        )
    )
    assert status == 0
    assert notes.lines == [
        ("attached", 2), 1, 2, "end", ("@h", {key(7): [9]}), ("@n", {"00000000": [1]}),
        ("finish", 0),
    ]  # fmt: skip


@pytest.mark.kernel
def test_exit_drops_what_follows_until_end() -> None:
    def begin() -> Assembler:
        return Assembler().send(PRINTF, 1).send(EXIT, 3).send(PRINTF, 2)

    code, notes = run(artifact((BEGIN, begin()), (END, Assembler().send(PRINTF, 5))))
    assert (code, notes.numbers) == (3, [1, 5])
    code, _ = run(artifact((BEGIN, begin()), (END, Assembler().send(EXIT, -1))))
    assert code == 255


@pytest.mark.kernel
def test_map_events_act_in_order() -> None:
    begin = Assembler().set("@h", 1, 5).send(PRINT_MAP).send(ZERO).send(PRINT_MAP)
    _, notes = run(artifact((BEGIN, begin.send(CLEAR).send(PRINT_MAP).send(SYSTEM))))
    shown = [line for line in notes.lines if isinstance(line, tuple) and line[0] == "@h"]
    assert shown == [("@h", {key(1): [5]}), ("@h", {key(1): [0]}), ("@h", {})]


@pytest.mark.kernel
def test_system_is_refused_without_unsafe() -> None:
    warnings: list[str] = []
    made = artifact((BEGIN, Assembler().send(SYSTEM, 1)))
    assert run(made, warn=warnings.append)[1].numbers == []
    assert warnings == ["syscall() not allowed in safe mode. Use '--unsafe'."]
    made.manifest.unsafe = True
    assert run(made)[1].numbers == [1]


@pytest.mark.kernel
@pytest.mark.parametrize(
    "place",
    [
        TICK,
        Attach("interval", "interval:hz:200", frequency=200),
        Attach("profile", "profile:hz:200", frequency=200),
        Attach("software", "software:cpu-clock:1000000", period=1000000, config=0),
        Attach("raw_tracepoint", "rawtracepoint:sys_enter", "sys_enter"),
        Attach("tracepoint", "t:syscalls:sys_enter_poll", "syscalls:sys_enter_poll"),
    ],
    ids=lambda place: place.name,
)
def test_kinds_of_probes_fire(place: Attach) -> None:
    made = artifact((place, Assembler().add("@n").send(EXIT, 4)), (TICK, Assembler()))
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert run(made)[0] == 4
    finally:
        spinning.kill()
        spinning.wait()


def _function_offset(path: str, name: str) -> int:
    from elftools.elf.elffile import ELFFile

    with open(path, "rb") as file:
        elf = ELFFile(file)
        table: Any = elf.get_section_by_name(".symtab")
        (offset,) = elf.address_offsets(table.get_symbol_by_name(name)[0]["st_value"], 1)
        return int(offset)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, int]:
    folder = tmp_path_factory.mktemp("victim")
    (folder / "v.c").write_text(
        '__attribute__((noinline)) int f(int n) { __asm__ volatile(""); return n + 1; }\n'
        "int main(void) { int s = 0; for (int i = 0; i < 10; i++) s += f(i); return s == 0; }\n"
    )
    subprocess.run(["gcc", "-O1", "-o", folder / "v", folder / "v.c"], check=True)
    return str(folder / "v"), _function_offset(str(folder / "v"), "f")


@pytest.mark.kernel
@pytest.mark.parametrize("denied", [frozenset[str](), frozenset({"uprobe_multi"})])
def test_uprobes_count_calls_of_a_child_in_the_scripts_order(
    victim: tuple[str, int], denied: frozenset[str]
) -> None:
    path, offset = victim
    enter = Attach("uprobe", "uprobe:v:f", path, "f", offset)
    leave = Attach("uretprobe", "uretprobe:v:f", path, "f", offset)
    made = artifact(
        (enter, Assembler().add("@n").send(PRINTF, 1)),
        (leave, Assembler().send(PRINTF, 3)),
        (enter, Assembler().send(PRINTF, 2)),
    )
    status, notes = run(made, child=Child.start(path), features=Features().without(denied))
    assert (status, notes.numbers) == (0, [1, 2, 3] * 10)
    assert notes.lines[0] == ("attached", 3)


@pytest.mark.kernel
def test_a_bad_place_is_an_error_or_is_skipped(victim: tuple[str, int]) -> None:
    path, offset = victim
    good = Attach("uprobe", "uprobe:v:f", path, "f", offset)
    bad = Attach("uprobe", "uprobe:v:g", path, "g", 1 << 40)
    code = Assembler().add("@n")
    with pytest.raises(AttachError, match=r"Unable to attach probe: uprobe:v:g. If this is") as e:
        run(artifact(([good, bad], code)), child=Child.start(path))
    assert (e.value.name, e.value.status) == ("uprobe:v:g", 255)

    warnings: list[str] = []
    lenient = Settings(missing_probes="warn", perf_rb_pages=4)
    made = artifact(([good, bad], Assembler().add("@n")), settings=lenient)
    _, notes = run(made, child=Child.start(path), warn=warnings.append)
    assert warnings == ["Unable to attach probe: uprobe:v:g. Skipping."]
    assert notes.lines[0] == ("attached", 1)
    assert ("@n", {"00000000": [10]}) in notes.lines

    with pytest.raises(KernelError, match="Attachment failed for all probes"):
        run(artifact((bad, Assembler()), settings=lenient))


@pytest.mark.kernel
def test_many_tracepoints_stop_at_once_and_close_behind_us() -> None:
    folder = Path("/sys/kernel/tracing/events/syscalls")
    names = sorted(p.name for p in folder.glob("sys_enter_[ab]*"))[:20]
    places = [Attach("tracepoint", f"tracepoint:syscalls:{n}", f"syscalls:{n}") for n in names]
    start = time.monotonic()
    run(artifact((places, Assembler()), (TICK, Assembler().send(EXIT, 0))))
    assert time.monotonic() - start < 1.0  # one after the other they take 75 ms each


@pytest.mark.kernel
def test_a_child_is_traced_from_its_exec_and_its_end_ends_the_run(tmp_path: Path) -> None:
    place = Attach("raw_tracepoint", "rawtracepoint:sched_process_exec", "sched_process_exec")
    out = tmp_path / "out"
    child = Child.start(f"touch {out}")
    made = artifact((place, Assembler().add("@n")))
    notes = Notes()
    with Session(made, notes, child=child) as session:
        session.load()
        session.attach()
        assert not out.exists()
        assert session.run() == 0
    assert out.exists() and child.status == 0
    assert ("@n", {"00000000": [1]}) in notes.lines


@pytest.mark.kernel
def test_exit_terminates_the_child() -> None:
    child = Child.start("sleep 30")
    run(artifact((TICK, Assembler().send(EXIT, 0))), child=child)
    assert child.status == signal.SIGTERM


@pytest.mark.kernel
def test_a_child_may_end_though_nothing_is_traced(tmp_path: Path) -> None:
    child, said = Child.start(f"touch {tmp_path}/x"), list[str]()
    run(artifact((BEGIN, Assembler())), child=child, say=said.append)
    assert child.status == 0 and (tmp_path / "x").exists()
    assert said[-3:] == ["Loaded program p0", "Running 'begin' probe", "Child exited with code: 0"]
    child, start = Child.start("sleep 30"), time.monotonic()
    run(artifact((BEGIN, Assembler())), child=child)
    assert child.status == signal.SIGTERM and time.monotonic() - start < 2


@pytest.mark.kernel
def test_the_end_of_a_watched_process_ends_the_run() -> None:
    with subprocess.Popen(["sleep", "0.1"]) as process:
        assert run(artifact((TICK, Assembler())), pid=process.pid)[0] == 0


@pytest.mark.kernel
def test_signals_trigger_self_probes_and_end_the_run() -> None:
    made = artifact((SIGUSR1, Assembler().send(PRINTF, 8)))
    old = signal.getsignal(signal.SIGINT)

    def send() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(0.1, send)
    timer.start()
    status, notes = run(made)
    timer.join()
    assert (status, notes.numbers) == (0, [8])
    assert signal.getsignal(signal.SIGINT) is old


@pytest.mark.kernel
def test_a_session_in_a_thread_is_stopped_from_another() -> None:
    notes, results = Notes(), list[int]()
    session = Session(artifact((TICK, Assembler().add("@n"))), notes, signals=False)

    def body() -> None:
        with session:
            session.load()
            session.attach()
            results.append(session.run())

    thread = threading.Thread(target=body)
    thread.start()
    time.sleep(0.1)
    session.stop()
    thread.join(5)
    assert results == [0] and notes.lines[-1] == ("finish", 0)


@pytest.mark.kernel
def test_dry_run_attaches_and_says_nothing() -> None:
    made = artifact((BEGIN, Assembler().send(PRINTF, 1)), (TICK, Assembler()))
    assert run(made, dry_run=True)[1].lines == []


@pytest.mark.kernel
def test_the_verifiers_refusal_names_its_reason() -> None:
    code = Assembler().emit(0x79, R0, R3)  # r0 = *(r3): r3 was never written
    with pytest.raises(VerifierRefused, match=r"bug of bpfscript.*R3 !read_ok") as caught:
        run(artifact((BEGIN, code)))
    assert caught.value.log.count("\n") > 2 and "\n" not in str(caught.value)


def tiny_btf(name: str, *lines: str) -> tuple[bytes, list[int]]:
    """BTF of `int name(void)`, type 3, with more strings; and where those are."""
    strings, places = b"\0int\0" + name.encode() + b"\0", []
    for line in lines:
        places.append(len(strings))
        strings += line.encode() + b"\0"
    types = struct.pack("<IIII", 1, 1 << 24, 4, 1 << 24 | 32)  # 1: int
    types += struct.pack("<III", 0, 13 << 24, 1)  # 2: int (void)
    types += struct.pack("<III", 5, 12 << 24, 2)  # 3: the function
    head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return head + types + strings, places


@pytest.mark.kernel
def test_a_refusal_names_the_scripts_line() -> None:
    made = artifact((BEGIN, Assembler().move(R2, 1).emit(0x79, R0, R3)))
    made.btf, (file, first, second) = tiny_btf("p0", "a.bt", "begin {", "*$p }")
    function = made.functions["p0"]
    function.type_id = 3
    function.lines = (Line(0, 6, 1, file, first), Line(1, 7, 2, file, second))
    with pytest.raises(VerifierRefused, match="refused p0, line 7: R3 !read_ok"):
        run(made)
    good = artifact((BEGIN, Assembler().send(PRINTF, 1)))
    good.btf = made.btf
    good.functions["p0"].type_id = 3
    good.functions["p0"].lines = (Line(0, 6, 1, file, first),)
    assert run(good)[1].numbers == [1]


@pytest.mark.kernel
def test_a_flood_of_events_does_not_hold_up_a_signal() -> None:
    place = Attach("raw_tracepoint", "rawtracepoint:sys_enter", "sys_enter")
    made = artifact((place, Assembler().send(PRINTF, 1)), settings=Settings(perf_rb_pages=1024))
    busy = subprocess.Popen([sys.executable, "-c", "import os\nwhile True: os.getppid()"])
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    start = time.monotonic()
    try:
        _, notes = run(made)
    finally:
        busy.kill()
        busy.wait()
        timer.join()
    assert len(notes.numbers) > 100
    assert time.monotonic() - start < 2.5


@pytest.mark.kernel
def test_lost_events_are_reported() -> None:
    lost = MapDef(Internal.LOST, MapType.PERCPU_ARRAY, None, UINT64, 4, 8, 1)
    bump = Assembler().store(-8, 0).address(R1, Internal.LOST).copy(R2, R10, -8).call(1)
    bump.emit(0x15, R0, offset=2).move(R1, 3).emit(0xDB, R0, R1)  # if r0: *r0 += 3
    _, notes = run(artifact((BEGIN, bump), maps=[RING, lost]))
    assert notes.lines[-3:] == [("lost", 3), "end", ("finish", 3)]


KILLED = """
import sys; sys.path.insert(0, {folder!r})
import test_runtime_session as t
made = t.artifact((t.TICK, t.Assembler().send(t.PRINTF, 1)), (t.GETPID, t.Assembler().add("@n")))
class P(t.Notes):
    def event(self, event, data): print("tick", flush=True)
t.run.__globals__["Notes"] = P
t.run(made)
"""


def links_of(pid: int | str) -> set[int]:
    """The ids of the BPF links that a process holds."""
    infos = [path.read_text() for path in Path(f"/proc/{pid}/fdinfo").iterdir() if path.exists()]
    return {int(found) for info in infos for found in re.findall(r"^link_id:\s*(\d+)", info, re.M)}


def exists(link: int) -> bool:
    """Whether there is still a link of this id (BPF_LINK_GET_NEXT_ID)."""
    attr = (ctypes.c_uint32 * 3)(link - 1)
    return ctypes.CDLL(None).syscall(321, 31, attr, 12) == 0 and attr[1] == link


@pytest.mark.kernel
def test_kill_leaves_nothing_attached() -> None:
    script = KILLED.format(folder=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"tick\n"
        during = links_of(process.pid)
        process.kill()
    assert len(during) >= 2
    deadline = time.monotonic() + 5
    while any(map(exists, during)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(exists, during))


@pytest.mark.kernel
def test_features_are_known_and_consistent() -> None:
    features = Features()
    answers = {name: features.has(name) for name in FEATURES}
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    since = {"ringbuf": (5, 8), "attach_cookie": (5, 15), "loop": (5, 17), "may_goto": (6, 9)}
    for name, version in since.items():
        assert answers[name] == (release >= version), name
    with pytest.raises(KernelError, match=r"this kernel has no loop \(needs bpf_loop, 5.17\)"):
        features.without(frozenset({"loop"})).need("loop")


# what it may refuse


class Refusing(Kernel):
    """A kernel that fails from the n-th call of one kind on; the others go to the real one."""

    def __init__(self, cmd: Cmd | str, number: int, after: int = 0) -> None:
        self.cmd, self.number, self.after = cmd, number, after

    def _judge(self, cmd: Cmd | str, name: str) -> None:
        if cmd == self.cmd:
            self.after -= 1
            if self.after < 0:
                raise BpfError(name, self.number)

    def bpf(self, cmd: Cmd, attr: ctypes.Structure, what: str = "") -> int:
        self._judge(cmd, f"BPF_{cmd.name}")
        return super().bpf(cmd, attr, what)

    def perf_event_open(self, attr: PerfEventAttr, pid: int, cpu: int) -> int:
        self._judge("perf", "perf_event_open")
        return super().perf_event_open(attr, pid, cpu)

    def ioctl(self, fd: int, request: int, argument: int = 0) -> int:
        self._judge("ioctl", "ioctl")
        return super().ioctl(fd, request, argument)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("cmd", "number", "after"),
    [
        (Cmd.MAP_CREATE, errno.ENOMEM, 1),
        (Cmd.PROG_LOAD, errno.ENOMEM, 1),
        (Cmd.PROG_TEST_RUN, errno.ENOMEM, 0),
        (Cmd.LINK_CREATE, errno.ENOMEM, 0),
        (Cmd.LINK_CREATE, errno.ENOMEM, 2),
        ("perf", errno.EMFILE, 1),
        ("ioctl", errno.ENOMEM, 1),
        (Cmd.MAP_LOOKUP_BATCH, errno.ENOMEM, 0),
    ],
)
def test_a_failure_half_way_closes_everything(cmd: Cmd | str, number: int, after: int) -> None:
    made = artifact((BEGIN, Assembler().send(EXIT, 0)), (TICK, Assembler()), (GETPID, Assembler()))
    made.manifest.probes[1].attachments += (Attach("profile", "profile:hz:9", frequency=9),)
    before = links_of("self")
    with pytest.raises(MachineError):
        run(made, kernel=Refusing(cmd, number, after))
    assert links_of("self") <= before


@pytest.mark.kernel
@pytest.mark.parametrize("place", [TICK, GETPID], ids=lambda place: place.kind)
def test_without_perf_links_programs_are_set_by_ioctl(place: Attach) -> None:
    made = artifact((place, Assembler().add("@n").send(EXIT, 6)), (TICK, Assembler()))
    timer = threading.Timer(0.1, os.getppid)
    timer.start()
    assert run(made, kernel=Refusing(Cmd.LINK_CREATE, errno.EINVAL))[0] == 6
    timer.join()


def test_without_rights_one_line_says_so() -> None:
    with pytest.raises(MachineError, match=r"needs root \(BPF_MAP_CREATE") as caught:
        run(artifact((BEGIN, Assembler())), kernel=Refusing(Cmd.MAP_CREATE, errno.EPERM))
    assert caught.value.hint and "CAP_BPF" in caught.value.hint


class Recording(Kernel):
    """No kernel at all: remembers what was asked and answers with descriptors of /dev/null."""

    def __init__(self) -> None:
        self.asked: list[ctypes.Structure] = []
        self.code = b""

    def bpf(self, cmd: Cmd, attr: ctypes.Structure, what: str = "") -> int:
        self.asked.append(attr)
        if isinstance(attr, ProgLoad):
            self.code = ctypes.string_at(attr.insns, 8 * attr.insn_cnt)
        return os.open("/dev/null", os.O_RDONLY)


def test_structs_of_a_load() -> None:
    kernel = Recording()
    big = MapDef("@big", MapType.PERCPU_HASH, UINT64, None, 8, 4096, 4096)
    made = artifact((BEGIN, Assembler().address(R1, "@big")), maps=[big])
    with Session(made, Notes(), kernel=kernel, signals=False) as session:
        session.load()
        number = session.maps["@big"].fd.fileno()
    first, second = kernel.asked
    assert isinstance(first, MapCreate) and isinstance(second, ProgLoad)
    assert (first.map_name, first.map_flags, first.max_entries) == (b"_big", 1, 4096)
    assert (second.prog_name, second.insn_cnt, second.log_level) == (b"p0", 4, 0)
    opcode, registers, imm = struct.unpack("<BBxxi", kernel.code[:8])
    assert (opcode, registers, imm) == (0x18, 0x11, number)


def test_children_that_cannot_be() -> None:
    for command in ("no-such-program-here x", "", " x", "/etc", "/etc/passwd"):
        with pytest.raises(MachineError, match="does not exist or is not executable"):
            Child.start(command)


def test_a_child_never_released_never_runs(tmp_path: Path) -> None:
    child = Child.start(f"touch {tmp_path}/x")
    child.close()
    assert child.status == signal.SIGTERM and not (tmp_path / "x").exists()


def test_a_child_that_cannot_be_executed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "x").chmod(0o755)
    child = Child.start(str(tmp_path / "x"))
    with pytest.raises(MachineError, match="Failed to run child: Exec format error"):
        child.release()
    child.close()
