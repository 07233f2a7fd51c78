"""Maps in two: what is seen is what one map would hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bpfscript.runtime.entries import Entries, Shape

TOOL = Path(sys.executable).parent / "bpfscript"


def run(script: str, *args: str) -> str:
    words = [str(TOOL), "--no-cache", *args, "-e", script]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


def plan(script: str, *args: str) -> str:
    (line,) = (line for line in run(script, "-d", "plan", *args).splitlines() if "map @" in line)
    return line


@pytest.mark.kernel
@pytest.mark.parametrize(
    "script",
    [
        "$i = 0; while ($i < 600) { @[$i] = sum($i); $i += 7; }",
        "$i = -3; while ($i < 400) { @[$i] = hist($i); $i += 101; } clear(@); @[5] = hist(1);",
        "$i = (uint32)0; while ($i < 300) { @[$i] = stats($i); $i += 50; } zero(@); print(@, 2);",
        '@[str("near", 10)] = count(); @["literal"] = count(); print(@); print(@["literal"]);',
        "@[7] = avg(3); @[1000] = avg(4); print(@[7]); print(@[1000]); print(@[8]);",
    ],
)
def test_shows_what_one_map_would(script: str) -> None:
    script = f"begin {{ {script} exit(); }}"
    assert run(script) == run(script, "--no-optimise")


@pytest.mark.kernel
def test_strings_of_every_length(tmp_path: Path) -> None:
    names = ["n" * length for length in (1, 60, 61, 62, 63, 64, 65, 200)]
    lines = "".join(f"true < {name}\n" for name in names for _ in range(2))
    (tmp_path / "opens").write_text(f"#!/bin/sh\nexec 2>/dev/null\n{lines}")
    script = (
        "t:syscalls:sys_enter_openat /pid == cpid/ {"
        " @[str(args.filename)] = count(); @pair[1, str(args.filename)] = count(); }"
    )
    seen = run(script, "-c", f"sh {tmp_path}/opens")
    for name in names:
        assert f"@[{name}]: 2\n" in seen and f"@pair[1, {name}]: 2\n" in seen
    assert seen.count("@[n") == seen.count("@pair[1, n") == len(names)


@pytest.mark.kernel
def test_only_where_nothing_else_is_asked_of_the_map() -> None:
    script = "t:syscalls:sys_enter_read { @[args.fd] = count(); %s }"
    assert "a percpu array for 0 to 255" in plan(script % "print(@); clear(@);")
    for more in (
        "print(@[3]);",
        "print(len(@));",
        "delete(@, 3);",
        "for ($kv : @) { print($kv); }",
    ):
        assert ".near" not in run(script % more, "-d", "opt")
    assert ".near" not in run("config = { max_map_keys = 9 } " + script % "", "-d", "opt")


@pytest.mark.kernel
def test_objects_keep_maps_whole(tmp_path: Path) -> None:
    run("t:syscalls:sys_enter_read { @[args.fd] = count(); }", "--emit", str(tmp_path / "x.o"))
    shown = subprocess.run([TOOL, "inspect", tmp_path / "x.o"], capture_output=True, text=True)
    assert "@" in shown.stdout and ".near" not in shown.stdout


def test_keys_become_longer() -> None:
    far = Entries(b"far-" * 2, bytes(range(16)), Shape(8, 8, 8, 2))
    near = Entries(b"n\0" + b"m\0", bytes(32), Shape(2, 8, 8, 2))
    assert [key for key, _ in far.with_longer(near)] == [
        b"far-far-",
        b"n".ljust(8, b"\0"),
        b"m".ljust(8, b"\0"),
    ]
    labelled = Entries(b"\3\0\0\0", bytes(range(32)), Shape(4, 16, 16, 2))
    key, values = far.with_longer(labelled)[1]
    assert (key, values) == (b"\3" + bytes(7), [bytes(range(8)), bytes(range(16, 24))])
