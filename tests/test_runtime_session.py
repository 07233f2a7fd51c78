"""Sessions in the real kernel: what they do and in which order."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from session_support import (
    BEGIN,
    CLEAR,
    END,
    EXIT,
    PRINT_MAP,
    PRINTF,
    R0,
    R1,
    R2,
    R3,
    R10,
    RING,
    SIGUSR1,
    SYSTEM,
    TICK,
    ZERO,
    Assembler,
    Notes,
    artifact,
    key,
    run,
)

from bpfscript.manifest import (
    Attach,
    Internal,
    Line,
    MapDef,
    MapType,
    Settings,
)
from bpfscript.runtime.errors import AttachError, KernelError, VerifierRefused
from bpfscript.runtime.features import Features
from bpfscript.runtime.process import Child
from bpfscript.runtime.session import Session
from bpfscript.target import FEATURES
from bpfscript.types import UINT64


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
