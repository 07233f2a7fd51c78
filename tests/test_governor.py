"""Watching what programs cost, on a process that makes system calls in a busy loop."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

BUSY = "timeout 4 dd if=/dev/zero of=/dev/null bs=1 status=none"
SCRIPT = """t:syscalls:sys_enter_write /comm == "dd"/ { @[pid, comm] = count(); }
interval:s:1 { @n = count(); }"""


def traced(*words: str, without: str = "") -> subprocess.CompletedProcess[str]:
    """without: capabilities that the tool is started without, "-sys_admin,-syslog"."""
    less = ["setpriv", f"--bounding-set={without}", f"--inh-caps={without}"] if without else []
    return subprocess.run(
        [*less, sys.executable, "-m", "bpfscript.cli", *words, "-e", SCRIPT, "-c", BUSY],
        capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip


@pytest.mark.kernel
def test_the_costliest_probe_is_let_go() -> None:
    done = traced("--max-overhead", "0.01%", "--stats")
    warned, detached, head, *rows = done.stderr.splitlines()[1:]
    line = "tracepoint:syscalls:sys_enter_write at stdin:1: t:syscalls:sys_enter_write"
    assert warned.startswith("WARNING: Tracing takes") and line in warned
    assert detached.startswith("WARNING: Detached") and line in detached
    assert head.split() == ["events", "ns/event", "CPU", "lost", "probe"]
    events, each, share, lost, *_ = rows[0].split()
    assert int(events) > 1000 and int(each) > 0 and share.endswith("%") and lost == "0"
    assert int(rows[1].split()[0]) in range(1, 5)  # the other goes on


@pytest.mark.kernel
def test_who_may_not_count_samples() -> None:
    done = traced("--max-overhead", "0.01%", "--stats", without="-sys_admin")
    told, _, warned, detached, head, *rows = done.stderr.splitlines()
    assert "does not count the run time of programs" in told and told.endswith("is sampled")
    assert warned.startswith("WARNING: Tracing takes") and "sys_enter_write" in warned
    assert detached.startswith("WARNING: Detached") and "sys_enter_write" in detached
    assert head.split() == ["events", "ns/event", "CPU", "lost", "probe"]
    (events, each, share, lost, *_), (_, _, other, *_) = (row.split()[:5] for row in rows)
    assert (events, each, lost, other) == ("-", "-", "0", "0.00%")
    assert 0 < float(share.rstrip("%")) < 50


@pytest.mark.kernel
@pytest.mark.skipif(
    int(Path("/proc/sys/kernel/perf_event_paranoid").read_text()) < 2,
    reason="missing: addresses of the kernel that are a secret",
)
def test_who_may_neither_count_nor_sample_is_told() -> None:
    done = traced("--stats", without="-sys_admin,-syslog")
    assert done.returncode == 1 and done.stdout == ""
    assert "they cannot be sampled: the kernel does not tell where the code of programs" in (
        done.stderr
    )


@pytest.mark.parametrize("share", ["", "much", "-1%", "200%", "2%%"])
def test_shares_that_are_none(share: str) -> None:
    done = traced("--max-overhead", share)
    assert done.returncode == 1 and "--max-overhead takes a percentage" in done.stderr
