"""The tool, traced programs and all, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


def trace(script: str, program: str, *words: str) -> str:
    """What a script prints while the program runs."""
    done = subprocess.run(
        [sys.executable, "-m", "bpfscript.cli", "-q", *words, "-e", script, "-c", program],
        capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip("\n")
