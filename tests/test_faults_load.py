"""What goes wrong in the kernel's part or by amount: kills, full maps and rings, lost CPUs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TOOL = [sys.executable, "-m", "bpfscript"]
NOBODY = 65534
READ, WRITE, OPENAT = "0", "1", "257"  # system calls of x86-64
CPU1 = Path("/sys/devices/system/cpu/cpu1/online")
pytestmark = pytest.mark.requires("root")


def tool(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TOOL, *words], capture_output=True, text=True, timeout=120, env=os.environ | more
    )


def started(*words: str, **more: int) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [*TOOL, *words], stdout=more.get("stdout", pipe), stderr=pipe, stdin=more.get("stdin"),
        text=True,
    )  # fmt: skip


def until(what: object) -> None:
    """Wait until a function is true. Raises AssertionError after half a minute."""
    assert callable(what)
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)


def waits_in(process: subprocess.Popen[str], call: str) -> bool:
    threads = Path(f"/proc/{process.pid}/task").glob("*/syscall")
    return any(thread.read_text().split()[0] == call for thread in threads)


def attached(process: subprocess.Popen[str]) -> None:
    assert process.stderr
    line = process.stderr.readline()
    assert line.startswith("Attached"), line


@pytest.mark.requires("bpftool", "tracefs")
def test_kill_leaves_nothing_attached_or_loaded() -> None:
    process = started(
        "-e",
        "tracepoint:sched:sched_switch /pid == 0 && cpu > 9999/ { @[comm] = count(); }"
        " uprobe:libc:malloc /pid == 0/ { @x = 1; } profile:hz:1 { } interval:s:9 { }",
    )
    attached(process)
    kinds = {"prog": r"prog_id:\s*(\d+)", "map": r"map_id:\s*(\d+)", "link": r"link_id:\s*(\d+)"}
    described = "".join(
        info.read_text() for info in Path(f"/proc/{process.pid}/fdinfo").iterdir() if info.exists()
    )
    held = {(kind, number) for kind, p in kinds.items() for number in re.findall(p, described)}
    assert {kind for kind, _ in held} >= {"prog", "map"}
    process.kill()
    process.communicate()
    until(lambda: not any(_known(kind, number) for kind, number in held))


def _known(kind: str, number: str) -> bool:
    done = subprocess.run(["bpftool", kind, "show", "id", number], capture_output=True)
    return done.returncode == 0


def test_an_interrupt_ends_it_at_once_before_the_script_is_read() -> None:
    process = started("-", stdin=subprocess.PIPE)
    until(lambda: waits_in(process, READ))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == -signal.SIGINT


def test_an_interrupt_ends_it_at_once_before_anything_of_ours_is_loaded(tmp_path: Path) -> None:
    command = Path(__file__).parents[1] / "bin" / "bpfscript"
    first = "import os, signal; os.kill(os.getpid(), signal.SIGINT)"
    (tmp_path / "bpfscript.py").write_text(first)  # what the command imports before all else
    ended = subprocess.run(
        [sys.executable, str(command)], env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True, text=True, timeout=20, preexec_fn=_interruptible,
    )  # fmt: skip
    assert (ended.stderr, ended.returncode) == ("", -signal.SIGINT)


def _interruptible() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_ends_it_at_once_inside_of_libclang(tmp_path: Path) -> None:
    header = tmp_path / "never.h"
    os.mkfifo(header)
    process = started("--include", str(header), "-e", "begin { print(sizeof(struct no)); }")
    until(lambda: waits_in(process, OPENAT))
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20)[0] == ""
    assert process.returncode == -signal.SIGINT


def test_an_interrupt_ends_it_at_once_while_maps_are_printed() -> None:
    process = started("-q", "-e", "begin { for ($i : 0..4000) { @[$i, comm] = $i; } }")
    until(lambda: waits_in(process, WRITE))  # nobody reads the pipe
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT


def test_a_process_that_is_gone_is_told_before_anything_else() -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    done = tool("-p", str(gone.pid), "-e", "begin { nosuch }")
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR: Failed to attach to pid: ")


def test_a_full_map_keeps_what_it_has_and_says_so() -> None:
    script = "begin { for ($i : 0..100) { @[$i] = (int64)1; } print(len(@)); clear(@); }"
    done = tool("-q", "-f", "json", "-e", script, BPFTRACE_MAX_MAP_KEYS="10")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert sum(record.get("helper") == "map_update_elem" for record in records) == 90
    assert {"type": "value", "data": 10} in records


def test_a_burst_of_new_keys_is_kept() -> None:
    maps = "".join(f"@{name}[$i] = hist($i); " for name in "abc")
    lengths = "print((len(@a), len(@b), len(@c))); clear(@a); clear(@b); clear(@c);"
    done = tool("-q", "-e", f"begin {{ for ($i : 0..4000) {{ {maps}}} {lengths} exit(); }}")
    assert (done.stdout.strip(), done.stderr) == ("(4000, 4000, 4000)", "")


def test_a_large_map_takes_a_burst_of_new_keys() -> None:
    """160 MB, of machines with eight times as much to spare."""
    fill = "for ($i : 0..20000) { @a[$i] = hist($i); } print(len(@a)); clear(@a); exit();"
    done = tool("-q", "-e", f"config = {{ max_map_keys = 150000 }} begin {{ {fill} }}")
    assert (done.stdout.strip(), done.stderr) == ("20000", "")


def test_a_ring_that_overflows_is_counted() -> None:
    script = 'begin { for ($i : 0..50000) { printf("%1000d\\n", $i); } }'
    done = tool("-e", script, BPFTRACE_PERF_RB_PAGES="2")
    lost = re.search(r"Total lost event count: (\d+)", done.stderr)
    assert lost and int(lost[1]) + len(re.findall(r"\d+\n", done.stdout)) == 50_000


def test_ten_thousand_lines_a_millisecond_are_shown_or_counted() -> None:
    script = (
        "interval:ms:1 /@ticks < 100/"
        ' { for ($i : 0..10000) { printf("line %d\\n", $i); } @ticks++; }'
        " interval:ms:100 /@ticks == 100/ { exit(); }"
    )
    done = tool("-e", script)
    lost = re.search(r"Total lost event count: (\d+)", done.stderr)
    shown = done.stdout.count("line ")
    assert done.returncode == 0 and shown
    assert shown + int(lost[1] if lost else 0) == 1_000_000


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_million_keys_are_printed(form: str) -> None:
    script = "begin { for ($i : 0..1000000) { @[$i] = (int64)$i; } }"
    done = tool("-q", "-f", form, "-e", script, BPFTRACE_MAX_MAP_KEYS="1000000")
    assert done.returncode == 0
    if form == "json":
        assert len(json.loads(done.stdout)["data"]["@"]) == 1_000_000
    else:
        assert done.stdout.count("\n") == 1_000_002 and done.stdout.endswith("@[999999]: 999999\n")


@pytest.fixture
def one_cpu_less() -> Iterator[list[str]]:
    """A list; what is put in it takes the second CPU away. It comes back in the end."""
    if not os.access(CPU1, os.W_OK) or CPU1.read_text() != "1\n":
        pytest.skip("no second CPU that can be taken away")
    try:
        yield []
    finally:
        CPU1.write_text("1")


def test_a_cpu_may_go_while_it_is_traced(one_cpu_less: list[str]) -> None:
    process = started(
        "-e", "profile:ms:5 { @[cpu] = count(); @all = sum(1); } interval:s:2 { exit(); }"
    )
    attached(process)
    busy = subprocess.Popen(["taskset", "-c", "1", sys.executable, "-c", "while True: pass"])
    try:  # an idle one has no ticks
        time.sleep(0.5)
        CPU1.write_text("0")
        out, err = process.communicate(timeout=30)
    finally:
        busy.kill()
        busy.wait()
    counts = {int(cpu): int(n) for cpu, n in re.findall(r"@\[(\d+)\]: (\d+)", out)}
    assert process.returncode == 0 and err == "" and counts[0] > counts.get(1, 0) > 0
    assert f"@all: {sum(counts.values())}\n" in out
    done = tool("-e", "profile:ms:5 { @[cpu] = count(); } interval:ms:300 { exit(); }")
    assert done.returncode == 0 and re.search(r"@\[0\]: \d+", done.stdout)
    assert "@[1]" not in done.stdout


def test_the_cache_of_another_user_is_not_used(tmp_path: Path) -> None:
    theirs = tmp_path / "cache"
    theirs.mkdir(mode=0o777)
    theirs.chmod(0o777)
    os.chown(theirs, NOBODY, NOBODY)
    done = tool("-q", "-e", "begin { print(1); }", BPFSCRIPT_CACHE=str(theirs))
    assert done.stdout == "1\n\n\n"
    assert done.stderr.startswith("WARNING: the cache is not used: ")
    assert os.listdir(theirs) == []
