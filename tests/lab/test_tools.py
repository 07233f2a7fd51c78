"""The scripts in examples/ under upstream and here: the same work, output of the same shape."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.requires("kprobe", "upstream", "btf", "tracefs")]

ROOT = Path(__file__).parents[2]
UPSTREAM = [str(ROOT / "conformance/.upstream/bpftrace")]
OURS = [sys.executable, "-m", "bpfscript.cli"]
_ATTACHED = re.compile(rb"Attached \d+ probe")


def block_io() -> None:
    """Some direct writes to a device of memory."""
    if not Path("/dev/nullb0").exists():
        subprocess.run(["modprobe", "-d", os.environ["LAB_KERNEL"], "null_blk"], check=True)
    write = ["dd", "if=/dev/zero", "of=/dev/nullb0", "bs=4k", "count=20", "oflag=direct"]
    subprocess.run(write, check=True, capture_output=True)


def sleeps() -> None:
    for _ in range(50):
        time.sleep(0.001)


def connects() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def opens() -> None:
    for path in ("/etc/hostname", "/there/is/none"):
        subprocess.run(["cat", path], capture_output=True, check=False)


def grows() -> None:
    subprocess.run(["sh", "-c", "x=$(seq 20000); :"], check=True)


def run(tool: list[str], script: str, work: Callable[[], None]) -> list[str]:
    """Lines of the output of a tool that traces while the work is done."""
    with subprocess.Popen(
        [*tool, str(ROOT / "examples" / script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr and process.stdout
        said = b""
        while not _ATTACHED.search(said):
            line = process.stderr.readline()
            assert line, said.decode()
            said += line
        try:
            time.sleep(1)
            work()
            time.sleep(1)
        finally:
            process.send_signal(signal.SIGINT)
        output = process.stdout.read().decode()
        process.wait()
    return [line for line in output.splitlines() if line.strip()]


@pytest.mark.parametrize(
    ("script", "work", "shapes"),
    [
        ("block-latency.bt", block_io, [r"Block I/O.*", r"@us\[\d+, \d+\]:", r"\[\S+.*\|"]),
        ("run-queue-latency.bt", sleeps, [r"Run-queue.*", r"@us:", r"\[\S+.*\|"]),
        ("tcp-connects.bt", connects, [r"COMM .*", r"\S+ +127\.0\.0\.1 +\d+ 0"]),
        ("file-opens.bt", opens, [r"COMM .*", r"cat +0 /etc/hostname", r"cat +2 /there/is/none"]),
        ("memory-growth.bt", grows, [r"Memory.*", r"@grown\[sh\]: \d+", r"@mapped\[sh\]: \d+"]),
    ],
)  # fmt: skip
def test_shape(script: str, work: Callable[[], None], shapes: list[str]) -> None:
    for tool in (UPSTREAM, OURS):
        lines = run(tool, script, work)
        for shape in shapes:
            assert any(re.match(shape, line) for line in lines), (tool, shape, lines[:30])
        known = [*shapes, r"\[\S+.*\|", r"@\w+(\[.*\])?:", r"\S.* +\d+ \S+$", r"\S+ +[\d.]+ +\d+ "]
        odd = [line for line in lines if not any(re.match(shape, line) for shape in known)]
        assert not odd, (tool, odd[:5])
