"""Processes in mount and PID namespaces of their own, and the tool in one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bpfscript.runtime.symbols import Symbols

pytestmark = [pytest.mark.kernel, pytest.mark.requires("cc", "namespaces")]

PRIVATE = "mount -t tmpfs none /mnt && cp {0} /mnt/private && exec /mnt/private"
PROGRAM = """
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%p\\n", (void *)main); fflush(stdout); char c; return read(0, &c, 1) < 0; }
"""
COMPILER = """
import ctypes, mmap, os
page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
with open(f"/tmp/perf-{os.getpid()}.map", "w") as file:
    file.write(f"{address:x} 40 compiled just now\\n")
print(os.getpid(), hex(address), flush=True)
input()
"""


@contextmanager
def running(*command: str) -> Iterator[tuple[int, list[str]]]:
    """(pid of the program, words it printed): the only child of `unshare`, if that forked."""
    with subprocess.Popen(
        ["unshare", *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin and process.stdout
        words = process.stdout.readline().split()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield int(children[0]) if children else process.pid, words
        process.stdin.write("x\n")
        process.stdin.close()


@pytest.fixture
def symbols() -> Iterator[Symbols]:
    symbols = Symbols()
    yield symbols
    symbols.close()


def test_a_file_that_only_the_process_sees(symbols: Symbols, tmp_path: Path) -> None:
    path = tmp_path / "program"
    command = ["cc", "-o", str(path), "-xc", "-"]
    subprocess.run(command, input=PROGRAM.encode(), check=True)
    with running("--mount", "sh", "-c", PRIVATE.format(path)) as (pid, (address,)):
        found = symbols.user(pid, int(address, 16) + 4)
    assert found == ("main", 4, "/mnt/private")


def test_code_made_at_run_time_is_told_under_the_inner_pid(symbols: Symbols) -> None:
    inside = 'mount -t tmpfs none /tmp && exec "$@"'
    command = ("--mount", "--pid", "--fork", "sh", "-c", inside, "sh", sys.executable, "-c")
    with running(*command, COMPILER) as (pid, (inner, address)):
        found = symbols.user(pid, int(address, 16) + 16)
    assert int(inner) < 10 < pid
    assert found and found[:2] == ("compiled just now", 16)


def test_the_tool_counts_as_its_namespace_does() -> None:
    script = r"""
        begin { printf("%d %d %d\n", pid, tid, pid(init)); }
        tracepoint:syscalls:sys_enter_clock_nanosleep /pid == cpid/ { printf("%s\n", ustack(1)); }
        end { printf("%d", pid == pid(curr_ns)); }
    """
    tool = [sys.executable, "-m", "bpfscript.cli", "-q", "-e", script, "-c", "sleep 0.1"]
    command = ["unshare", "--pid", "--fork", "--mount-proc", *tool]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    (inner, thread, outer), *rest = (line.split() for line in result.stdout.splitlines() if line)
    assert inner == thread and int(inner) < 10 < int(outer)
    assert rest[0][0].startswith(("clock_nanosleep+", "__clock_nanosleep+")), result.stdout
    assert rest[-1] == ["1"]
