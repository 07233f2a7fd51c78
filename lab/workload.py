"""Work that every kind of probe sees, for the survey and the tests in guests."""

from __future__ import annotations

import ctypes
import mmap
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

LIBC = next(
    line.split()[-1]
    for line in Path("/proc/self/maps").read_text().splitlines()
    if "/libc.so" in line or "/libc-2" in line
)
MARKED = """
#include <sys/sdt.h>
void mark(long value) { DTRACE_PROBE1(lab, marked, value); }
"""
SECOND_INSTRUCTION = "5" if os.uname().release.startswith("6.1.") else "4"  # offset, of vfs_read
watched = ctypes.c_uint64(0)


def marked(folder: Path) -> tuple[Path, Callable[[int], object]]:
    """A loaded library with the static probe `lab:marked`, and the function that passes it."""
    library = folder / "libmarked.so"
    command = ["cc", "-shared", "-fPIC", "-o", str(library), "-xc", "-"]
    subprocess.run(command, input=MARKED.encode(), check=True)
    return library, ctypes.CDLL(str(library)).mark


def calls(mark: Callable[[int], object] = bool) -> None:
    """System calls, faults, writes to `watched` and a sleep, for 0.3 s."""
    end = time.monotonic() + 0.3
    with open("/etc/hostname", "rb") as file:
        while time.monotonic() < end:
            os.getppid()
            os.pread(file.fileno(), 1, 0)
            with mmap.mmap(-1, 1 << 16) as area:
                area[0] = 1
            watched.value += 1
            mark(1)
    time.sleep(0.001)
