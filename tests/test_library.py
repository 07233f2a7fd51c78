"""The library, on the running kernel."""

from __future__ import annotations

import ast
import asyncio
import io
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import bpfscript
from bpfscript import progress
from bpfscript.runtime.entries import Entries
from bpfscript.runtime.maps import Map

pytestmark = pytest.mark.kernel

EXAMPLE = r"""
import subprocess, bpfscript
with bpfscript.trace('tracepoint:syscalls:sys_enter_write /comm == "dd"/ { @n[args.fd] = count(); printf("%d\\n", args.fd); }') as s:
    subprocess.run(["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=50", "status=none"])
    for event in s.events(timeout=3.0):      # seconds without an event
        print(event.kind, event.args, event.text)
    print(dict(s.maps["@n"]))
"""  # noqa: E501 - it must run as people see it


@pytest.mark.requires("tracefs")
def test_the_example_runs_as_it_stands(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXAMPLE], capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines.count("printf (1,) 1") >= 50  # another dd may be running
    assert ast.literal_eval(lines[-1])[1] >= 50


BEGIN = "begin {{ {} exit(); }}"


def ran(body: str) -> bpfscript.Session:
    with bpfscript.trace(BEGIN.format(body)) as session:
        assert session.wait(10)
    return session


def values(body: str) -> list[object]:
    return [event.args[0] for event in ran(body).events()]


def test_values_are_python_values() -> None:
    assert values('print(-1); print("text"); print((1, "a", (2, 3)));') == [
        -1,
        "text",
        (1, "a", (2, 3)),
    ]
    assert values('print(1 == 1); print(buf("ab", 2));') == [True, b"ab"]


def test_events_have_kind_arguments_and_text() -> None:
    body = 'printf("%d %s\\n", 1, "a"); warnf("odd %d", 2); errorf("bad"); '
    body += "@x = 5; print(@x); clear(@x);"
    found = list(ran(body).events())
    assert [(e.kind, e.args, e.text, e.name) for e in found] == [
        ("printf", (1, "a"), "1 a\n", ""),
        ("warnf", (2,), "odd 2", ""),
        ("errorf", (), "bad", ""),
        ("print_map", ({None: 5},), "@x: 5\n", "@x"),
    ]
    assert found[1].place and found[1].place.line == 1


def test_maps_stay_readable_after_the_end() -> None:
    session = ran('@a[1] = 2; @a[3] = 1; @s["x", 1] = count(); @one = sum(7); @m = min(3);')
    assert dict(session.maps["@a"]) == {3: 1, 1: 2}
    assert list(session.maps["@a"]) == [3, 1]  # in the order of printing
    assert session.maps["@s"][("x", 1)] == 1
    assert session.maps["@one"].value == 7
    assert session.maps["@m"].value == 3
    assert set(session.maps) == {"@a", "@s", "@one", "@m"}
    assert 2 not in session.maps["@a"]
    assert ("y", 1) not in session.maps["@s"] and "x" not in session.maps["@s"]
    with pytest.raises(KeyError):
        session.maps["@a"][1 << 70]
    with pytest.raises(TypeError, match="keys"):
        assert session.maps["@a"].value
    with pytest.raises(ValueError, match="closed"):
        session.maps["@a"].clear()


def test_histograms_have_buckets_and_percentiles() -> None:
    session = ran(
        "@h = hist(1); @h = hist(5); @h = hist(5); @h = hist(100); @l = lhist(3, 0, 10, 5);"
    )
    found = session.maps["@h"].value
    assert [(b.low, b.high, b.count) for b in found.buckets if b.count] == [
        (1, 2, 1), (4, 8, 2), (64, 128, 1),
    ]  # fmt: skip
    assert found.total == 4
    assert found.percentile(0) == 1.0
    assert found.percentile(50) == 6.0
    assert found.percentile(100) == 128.0
    with pytest.raises(ValueError, match="percentile"):
        found.percentile(101)
    (bucket,) = session.maps["@l"].value
    assert bucket == bpfscript.Bucket(0, 5, 1)
    assert "@@@" in str(found)


def test_a_histogram_may_be_empty() -> None:
    found = ran("@h = hist(1); zero(@h);").maps["@h"].value
    assert (len(found), found.total, str(found)) == (0, 0, "")
    assert found._repr_html_().startswith("<svg")


def test_statistics_and_series() -> None:
    session = ran("@s = stats(3); @s = stats(4); @a = avg(3); @a = avg(4); @t = tseries(9, 1s, 5);")
    assert session.maps["@s"].value == bpfscript.Stats(2, 3, 7)
    assert session.maps["@a"].value == 3
    (point,) = session.maps["@t"].value
    assert point.value == 9
    assert abs(point.start / 10**9 - time.time()) < 10
    assert point.time.tzinfo


def write_to_null(count: int) -> None:
    with open("/dev/null", "wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"xyz")


WRITES = "tracepoint:syscalls:sys_enter_write /args.count == 3/ {}"


@pytest.mark.requires("tracefs")
def test_maps_are_live_while_tracing() -> None:
    with bpfscript.trace(WRITES.format("{ @ = count(); }"), pid=os.getpid()) as session:
        seen = session.maps["@"]
        assert seen.value is None and len(seen) == 0
        for total in (3, 6):
            write_to_null(3)
            assert seen.value == total
        seen.clear()
        assert not seen.value
        write_to_null(1)
    assert seen.value == 1


@pytest.mark.requires("tracefs")
def test_stacks_are_frames() -> None:
    script = WRITES.format("{ @[kstack, ustack] = count(); }")
    with bpfscript.trace(script, pid=os.getpid()) as session:
        write_to_null(1)
    ((kernel, user),) = session.maps["@"]
    assert (kernel.kind, user.kind, user.pid) == ("kernel", "user", os.getpid())
    assert any("sys" in frame.name for frame in kernel)
    assert user[0].module and user[0].address
    assert user.names[-1] in (user[0].name, hex(user[0].address))
    assert session.maps["@"]._repr_html_().startswith("<svg")


@pytest.mark.requires("tracefs")
def test_a_callback_gets_the_events_and_may_stop() -> None:
    seen: list[object] = []

    def note(event: bpfscript.Event) -> None:
        seen.append(event.args)
        session.stop()

    with bpfscript.trace(
        WRITES.format("{ print(args.count); }"), pid=os.getpid(), on_event=note
    ) as session:
        write_to_null(1)
        assert session.wait(10)
    assert seen == [(3,)]


@pytest.mark.requires("tracefs")
def test_what_a_callback_raises_reaches_the_caller() -> None:
    def fail(event: bpfscript.Event) -> None:
        raise ZeroDivisionError(event.text)

    with (
        pytest.raises(ZeroDivisionError),
        bpfscript.trace(WRITES.format("{ print(1); }"), pid=os.getpid(), on_event=fail) as session,
    ):
        write_to_null(1)
        session.wait(10)


@pytest.mark.requires("tracefs")
def test_async_for() -> None:
    async def collect() -> list[object]:
        with bpfscript.trace(WRITES.format("{ print(args.count); }"), pid=os.getpid()) as session:
            loop = asyncio.get_running_loop()
            work = loop.run_in_executor(None, write_to_null, 3)
            found = [event.args[0] async for event in session.events(timeout=1.0)]
            await work
            return found

    assert asyncio.run(collect()) == [3, 3, 3]


def test_events_time_out() -> None:
    with bpfscript.trace("interval:s:100 { print(1); }") as session:
        start = time.monotonic()
        assert list(session.events(timeout=0.2)) == []
        assert 0.2 <= time.monotonic() - start < 5
        assert not session.wait(0.01)
        assert not session.ended
    assert session.ended


def test_the_oldest_events_go_when_nobody_takes_them() -> None:
    from bpfscript.library.session import Session

    artifact = bpfscript.compile("begin { $i = 0; while ($i < 10) { print($i); $i++; } exit(); }")
    with Session(artifact, keep=3) as session:
        session.attach()
        session.wait(10)
        assert [event.args for event in session.events()] == [(7,), (8,), (9,)]
        assert session.lost == 7


def test_many_scripts_in_many_threads() -> None:
    def one(number: int) -> object:
        with bpfscript.trace('begin { @x[$1] = $1 * 2; printf("%d", $1); exit(); }', number) as s:
            texts = [event.text for event in s.events()]
        return texts, dict(s.maps["@x"])

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(one, range(24)))
    assert found == [([str(n)], {n: 2 * n}) for n in range(24)]
    assert not [t for t in threading.enumerate() if t.name == "bpfscript"]


def test_a_command_is_traced_from_its_start() -> None:
    with bpfscript.trace("begin { @p = cpid; }", command=["true"]) as session:
        assert session.wait(10)
    assert session.maps["@p"].value > 1


def test_errors_have_data(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(bpfscript.ScriptError) as wrong:
        bpfscript.compile("begin {\n  printf(1) }")
    (found, *_) = wrong.value.diagnostics
    assert "  printf(1) }\n  ~~~" in wrong.value.__notes__[0]  # as tracebacks show it
    assert (found.severity, found.span.source.position(found.span.start)[0]) == ("ERROR", 2)
    with pytest.raises(bpfscript.MachineError, match="No such file"):
        bpfscript.load("/nonexistent.o")
    with pytest.raises(bpfscript.ObjectError):
        bpfscript.load(b"\x7fELF")
    assert capfd.readouterr() == ("", "")


def test_warnings_go_to_who_asks() -> None:
    found: list[str] = []
    bpfscript.compile("begin { @x = 1; @x; exit(); }", warn=lambda d: found.append(d.severity))
    assert set(found) <= {"WARNING"}


def test_what_ends_the_block_is_not_hidden() -> None:
    with pytest.raises(KeyboardInterrupt), bpfscript.trace("interval:s:100 { }"):
        raise KeyboardInterrupt


def test_a_session_attaches_once() -> None:
    artifact = bpfscript.compile("begin { @x = 1; exit(); }")
    with bpfscript.load(artifact) as session:
        session.attach()
        with pytest.raises(ValueError, match="before"):
            session.attach()


def test_what_cannot_be_traced_leaves_nothing() -> None:
    with pytest.raises(bpfscript.ScriptError):
        bpfscript.trace("uprobe:/nonexistent:f { @x = 1; }")
    assert not [t for t in threading.enumerate() if t.name == "bpfscript"]


def test_objects_load_from_bytes_and_files(tmp_path: Path) -> None:
    artifact = bpfscript.compile('begin { @x = 1; printf("hi"); exit(); }')
    bpfscript.save(artifact, tmp_path / "x.o")
    data = (tmp_path / "x.o").read_bytes()
    for program in (data, tmp_path / "x.o", str(tmp_path / "x.o")):
        with bpfscript.load(program) as session:
            session.attach()
            assert [event.text for event in session.events()] == ["hi"]
        assert session.maps["@x"].value == 1


def test_importing_loads_no_stage() -> None:
    code = "import sys, bpfscript; print([m for m in sys.modules if m.startswith('bpfscript.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"
    assert set(bpfscript.__all__) <= {*dir(bpfscript), *bpfscript._EXPORTS}


def test_the_main_thread_keeps_its_signals() -> None:
    import signal

    before = signal.getsignal(signal.SIGINT)
    ran("print(1);")
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.requires("tracefs")
def test_maps_become_tables() -> None:
    pandas, polars, pyarrow = map(pytest.importorskip, ("pandas", "polars", "pyarrow"))
    session = ran('@a["x", 1] = 2; @a["y", 2] = 1; @h = hist(5); @s[1] = stats(4); @e = 0;')
    frame = session.maps["@a"].to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert frame.to_dict("list") == {"key0": ["y", "x"], "key1": [2, 1], "value": [1, 2]}
    table = session.maps["@h"].to_arrow()
    assert isinstance(table, pyarrow.Table)
    assert table.to_pydict() == {"low": [4], "high": [8], "count": [1]}
    other = session.maps["@s"].to_polars()
    assert isinstance(other, polars.DataFrame)
    assert other.rows() == [(1, 1, 4, 4)]


def test_the_examples_of_the_documentation_run() -> None:
    import doctest

    from bpfscript import api

    names = {"compile": bpfscript.compile, "trace": bpfscript.trace}
    result = doctest.testmod(api, extraglobs=names, optionflags=doctest.REPORT_NDIFF)
    assert (result.failed, result.attempted >= 4) == (0, True)


def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("pdoc")
    build = Path(__file__).parents[1] / "docs" / "build.py"
    words = [sys.executable, "-W", "error", str(build), str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    page = (tmp_path / "bpfscript.html").read_text()
    assert all(f'id="{name}"' in page for name in bpfscript.__all__)


FORKS = """
import os, signal, threading, bpfscript

def child(act):
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        try:
            act()
        finally:
            os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

script = "t:sched:sched_switch { @[pid] = count(); } interval:ms:10 { printf(\\"tick\\"); }"
stop = threading.Event()

def compile():
    while not stop.is_set():
        bpfscript.compile("begin { @ = hist(nsecs); }")

with bpfscript.trace(script) as session:
    compiler = threading.Thread(target=compile)
    compiler.start()
    codes = [child(lambda: (session.close(), os._exit(0))) for _ in range(5)]
    codes += [child(lambda: (bpfscript.compile("begin { @ = 1; }"), os._exit(0))) for _ in range(5)]
    stop.set()
    compiler.join()
    list(session.events(timeout=0))
    print(codes, next(session.events(timeout=5)).kind, session.ended)
"""


@pytest.mark.requires("tracefs")
def test_imports_lie_beside_the_script(tmp_path: Path) -> None:
    (tmp_path / "lib.bt").write_text("macro two() { 2 }\n")
    text = 'import "lib.bt"; begin { print(two); }'
    artifact = bpfscript.compile(text, name=str(tmp_path / "main.bt"))
    assert [program.name for program in artifact.programs] == ["begin_1"]
    with pytest.raises(bpfscript.ScriptError, match="Unable to find"):
        bpfscript.compile(text, name=str(tmp_path / "elsewhere" / "main.bt"))


def test_forks_of_a_program_that_traces_and_compiles(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout == f"{[0] * 10} printf False\n"


def test_what_there_is_can_be_listed() -> None:
    assert set(bpfscript.__all__) <= set(dir(bpfscript))


def test_a_terminal_sees_nothing_of_what_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "AFTER", 0.0)
    monkeypatch.setattr(Map, "entries", slow := _Slowly(Map.entries))
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with bpfscript.trace("begin { @[1] = count(); exit(); }") as session:
        session.wait(10)
    assert slow.calls == 1 and terminal.getvalue() == ""  # by close() alone


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class _Slowly:
    """A method that takes its time."""

    def __init__(self, method: Callable[[Map], Entries]) -> None:
        self._method, self.calls = method, 0

    def __get__(self, instance: Map, owner: type[Map]) -> Callable[[], Entries]:
        return lambda: self._read(instance)

    def _read(self, instance: Map) -> Entries:
        self.calls += 1
        time.sleep(0.05)
        return self._method(instance)
