"""What `--aot` puts in front of an object so that it is a program: three lines of shell.

The file holds the object unchanged and needs bpfscript where it runs, though not its compiler.
"""

from __future__ import annotations

import shlex
import sys

_ELF = b"\x7fELF"


def launcher() -> bytes:
    """The lines: the bpfscript of the PATH, else the one that wrote the file."""
    own = f"{shlex.quote(sys.executable)} -m bpfscript.cli"
    lines = (
        "#!/bin/sh",
        'command -v bpfscript >/dev/null && exec bpfscript run "$0" "$@"',
        f'exec {own} run "$0" "$@"',
    )
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def without_launcher(data: bytes) -> bytes:
    """The object in a file that may begin with a launcher."""
    return data[max(data.find(_ELF), 0) :] if data.startswith(b"#!") else data
