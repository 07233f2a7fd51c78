"""One probe of every kind that is attached, fired and let go: which kernels have which."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lab.workload import LIBC, SECOND_INSTRUCTION, calls, marked, watched

pytestmark = [pytest.mark.kernel, pytest.mark.requires("btf", "tracefs")]

Trace = Callable[..., list[str]]

needs = pytest.mark.requires
KINDS = [
    pytest.param("kprobe:vfs_read", marks=needs("kprobe")),
    pytest.param("kprobe:vfs_read+OFFSET", marks=needs("kprobe")),
    pytest.param("kretprobe:vfs_read", marks=needs("kprobe")),
    pytest.param("kprobe:vfs_rea*", marks=needs("kprobe")),
    pytest.param("fentry:vfs_read", marks=needs("fentry")),
    pytest.param("fexit:vfs_read", marks=needs("fentry")),
    "tracepoint:syscalls:sys_enter_pread64",
    "tracepoint:sched:sched_switch",
    "rawtracepoint:sys_enter",
    f"uprobe:{LIBC}:getppid",
    f"uprobe:{LIBC}:getp*",
    f"uretprobe:{LIBC}:getppid",
    "profile:hz:199",
    "software:page-faults:1",
    pytest.param("hardware:cycles:100000", marks=needs("pmu")),
]


@pytest.mark.parametrize("point", KINDS)
def test_fires(trace: Trace, point: str) -> None:
    point = point.replace("OFFSET", SECOND_INSTRUCTION)
    mine = "/pid == $2/" if point.startswith("software") else "/tid == $1/"
    (line,) = trace(f"{point} {mine} {{ @[probetype] = count(); }}", calls, os.getpid())
    kind = point.partition(":")[0]
    assert line.startswith(f"@[{kind}]: ") and int(line.split()[-1]) > 0


def test_args_of_tracepoints(trace: Trace) -> None:
    script = """
        tracepoint:sched:sched_switch /args.prev_pid == $1/ { @perf = count(); }
        rawtracepoint:sched_switch /args.prev.pid == $1/ { @raw = count(); }
        tracepoint:sched:sched_swi* /tid == $1/ { @stack[kstack(1)] = count(); }
    """
    lines = trace(script, calls)
    assert [line.partition(":")[0] for line in lines if line[0] == "@"][:2] == ["@perf", "@raw"]


def test_watchpoint(trace: Trace) -> None:
    address = ctypes.addressof(watched)
    (line,) = trace(f"watchpoint:{address}:8:w {{ @ = count(); }}", calls, pid=os.getpid())
    assert int(line.split()[-1]) > 10


def test_interval_and_what_runs_once(trace: Trace) -> None:
    script = "begin { print(1); } interval:ms:20 { @ = count(); } end { print(2); }"
    lines = trace(script, lambda: time.sleep(0.2))
    assert lines[:2] == ["1", "2"] and int(lines[2].split()[-1]) >= 3


@needs("cc")
def test_usdt(trace: Trace, tmp_path: Path) -> None:
    library, mark = marked(tmp_path)
    script = f'usdt:{library}:lab:marked /tid == $1/ {{ printf("%s %d\\n", probetype, arg0); }}'
    assert trace(script, lambda: mark(7)) == ["usdt 7"]
