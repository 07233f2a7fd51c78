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
def test_only_where_keys_may_be_long() -> None:
    script = "t:syscalls:sys_enter_openat { @[str(args.filename, %d)] = count(); }"
    assert ".near" in run(script % 200, "-d", "opt")
    assert ".near" not in run(script % 100, "-d", "opt")


def test_keys_become_longer() -> None:
    far = Entries(b"far-" * 2, bytes(range(16)), Shape(8, 8, 8, 2))
    near = Entries(b"n\0" + b"m\0", bytes(32), Shape(2, 8, 8, 2))
    assert [key for key, _ in far.with_longer(near)] == [
        b"far-far-",
        b"n".ljust(8, b"\0"),
        b"m".ljust(8, b"\0"),
    ]
