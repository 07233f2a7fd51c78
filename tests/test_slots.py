"""Slots before maps: what is seen is what the map alone would hold."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest

from bpfscript.runtime.aggregates import combiner
from bpfscript.runtime.entries import Entries, Shape
from bpfscript.types import Aggregate

TOOL = Path(sys.executable).parent / "bpfscript"

THREADS = """
import os, threading, time
reading, writing = os.pipe()
os.dup2(reading, 900)
threads = [threading.Thread(target=os.read, args=(900, 1)) for _ in range(700)]
for thread in threads:
    thread.start()
time.sleep(1)
os.access("/", 0)
time.sleep(1)
os.write(writing, bytes(700))
for thread in threads:
    thread.join()
"""


def run(script: str, *args: str) -> str:
    words = [str(TOOL), "--no-cache", *args, "-e", script]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


def plan(script: str) -> str:
    (line,) = (line for line in run(script, "-d", "plan").splitlines() if "map @" in line)
    return line


@pytest.mark.kernel
@pytest.mark.parametrize(
    "script",
    [
        "$i = 0; while ($i < 600) { @[$i] = sum($i); $i += 7; }",
        "$i = -3; while ($i < 400) { @[$i] = hist($i); $i += 101; } clear(@); @[5] = hist(1);",
        "$i = (uint32)0; while ($i < 300) { @[$i] = stats($i); $i += 50; } zero(@); print(@, 2);",
        "$i = 0; while ($i < 900) { @[$i % 700, 1] = max($i); @s[$i % 700] = min($i); $i += 1; }",
        '@[str("near", 10)] = count(); @["literal"] = count(); print(@); print(@["literal"]);',
        "@[7] = avg(3); @[1000] = avg(4); print(@[7]); print(@[1000]); print(@[8]);",
        "@[(uint8)7] = count(); @[(uint8)255] = count();",
        "@s[tid] = 3; @s[tid]++; print(@s[tid]); print(has_key(@s, tid)); print(@s); clear(@s);"
        " print(has_key(@s, tid)); print(@s[tid]); print(delete(@s, tid)); @s[tid] = 1;"
        " print(delete(@s, tid)); print(@s[tid]);",
        "@s[tid] = -5; @n[0, comm] = count(); @n[1, comm] = count();",
    ],
)
def test_shows_what_the_map_alone_would(script: str) -> None:
    script = f"begin {{ {script} exit(); }}"
    strip = str.maketrans("", "", "0123456789") if "@s[tid] = -5" in script else {}
    assert run(script).translate(strip) == run(script, "--no-optimise").translate(strip)


@pytest.mark.kernel
def test_keys_beyond_the_slots_are_in_the_map() -> None:
    script = "begin { $i = 0; while ($i < 6000) { @[$i % 3000] = count(); $i++; } exit(); }"
    assert set(run(script).split("\n")) == {"", *(f"@[{i}]: 2" for i in range(3000))}


@pytest.mark.kernel
def test_every_thread_has_its_entry(tmp_path: Path) -> None:
    """700 threads that wait at once: some find their slots taken."""
    (tmp_path / "threads.py").write_text(THREADS)
    script = (
        "t:syscalls:sys_enter_read /pid == cpid && args.fd == 900/ { @s[tid] = tid; } "
        "t:syscalls:sys_exit_read /@s[tid] == tid/ { @left = count(); delete(@s, tid); } "
        "t:syscalls:sys_enter_access,t:syscalls:sys_enter_faccessat /pid == cpid/ { print(@s); }"
    )
    out = run(script, "-c", f"{sys.executable} {tmp_path}/threads.py")
    shown = [line for line in out.splitlines() if line.startswith("@s[")]
    assert len(shown) == len(set(shown)) == 700
    assert all(line == f"@s[{key}]: {key}" for line in shown for key in [line[3:].split("]")[0]])
    assert "@left: 700\n" in out


@pytest.mark.kernel
def test_only_where_nothing_else_is_asked_of_the_map() -> None:
    script = "t:syscalls:sys_enter_read { @[args.fd] = count(); %s }"
    assert "hash behind 256 slots (" in plan(script % "print(@); clear(@);")
    mine = "t:syscalls:sys_enter_read { @[tid] = nsecs; %s }"
    assert "hash behind 8192 slots (" in plan(mine % "print(@); clear(@); delete(@, tid);")
    wholly = ("print(len(@));", "delete(@, 3);", "for ($kv : @) { print($kv); }")
    for more in itertools.chain(
        (script % more for more in ("print(@[3]);", *wholly)),
        (mine % more for more in ("print(@[3]);", "zero(@);", "@[pid] = 1;", *wholly)),
        ["config = { max_map_keys = 9 } " + which % "" for which in (script, mine)],
    ):
        assert ".slots" not in run(more, "-d", "opt")


@pytest.mark.kernel
def test_objects_keep_maps_whole(tmp_path: Path) -> None:
    run("t:syscalls:sys_enter_read { @[args.fd] = count(); }", "--emit", str(tmp_path / "x.o"))
    shown = subprocess.run([TOOL, "inspect", tmp_path / "x.o"], capture_output=True, text=True)
    assert "@" in shown.stdout and ".slots" not in shown.stdout


def test_a_key_in_both_is_shown_once() -> None:
    def words(*numbers: int) -> bytes:
        return b"".join(n.to_bytes(8, "little") for n in numbers)

    shape = Shape(2, 8, 8, 2)
    far = Entries(b"aabb", words(1, 2, 3, 4), shape)
    near = Entries(b"bbcc", words(0, 10, 5, 6), shape)
    assert list(far.merged(near, combiner(Aggregate("count")))) == [
        (b"aa", [words(1), words(2)]),
        (b"bb", [words(3), words(14)]),
        (b"cc", [words(5), words(6)]),
    ]


@pytest.mark.parametrize(("name", "both"), [("min", -5), ("max", 3)])
def test_extremes_combine(name: Literal["min", "max"], both: int) -> None:
    def value(number: int, is_set: int) -> bytes:
        return number.to_bytes(8, "little", signed=True) + is_set.to_bytes(8, "little")

    combine = combiner(Aggregate(name, signed=True))
    assert combine(value(-5, 1), value(3, 1)) == value(both, 1)
    assert combine(value(0, 0), value(3, 1)) == combine(value(3, 1), value(0, 0)) == value(3, 1)
    assert combine(value(0, 0), value(0, 0)) == value(0, 0)
