"""By which name the tool goes: its own, or bpftrace's where it stands in for that.

It stands in when it is called through a link named `bpftrace`, or with BPFSCRIPT_COMPAT=1.
"""

from __future__ import annotations

import os
import sys

VERSION = "0.1.0"
STANDS_FOR = "0.27.1"  # the release of bpftrace whose behaviour this is


def stands_in() -> bool:
    """Whether programs that drive bpftrace should take us for it."""
    wish = os.environ.get("BPFSCRIPT_COMPAT", "")
    return wish == "1" if wish else os.path.basename(sys.argv[0]) == "bpftrace"


def program() -> str:
    """The name in messages and in `comm`."""
    return "bpftrace" if stands_in() else "bpfscript"


def version_line() -> str:
    own = f"bpfscript {VERSION}" if stands_in() else f"bpfscript v{VERSION}"
    return f"bpftrace v{STANDS_FOR} ({own})" if stands_in() else own


def take_name() -> None:
    """Let `comm` be the tool's name, not the interpreter's."""
    try:
        with open("/proc/self/comm", "w", encoding="ascii") as comm:
            comm.write(program())
    except OSError:  # no /proc: the interpreter's name stays
        return
