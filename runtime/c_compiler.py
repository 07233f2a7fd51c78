"""C that scripts import, made an object by the clang that is installed."""

from __future__ import annotations

import os
import re
import subprocess

_SECONDS = 60  # that a file may take
_ARCHES = {"x86_64": "x86", "aarch64": "arm64", "ppc64le": "powerpc", "s390x": "s390"}
"""By what uname says: what the macros of libbpf's bpf_tracing.h call it, if it is not the same."""


def find() -> str:
    """Path of `clang`, or else of the newest `clang-N`, in PATH; "": there is none."""
    newest = (-1, "")
    for directory in os.get_exec_path():
        if os.access(path := os.path.join(directory, "clang"), os.X_OK):
            return path
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        for name in names:
            if number := re.fullmatch(r"clang-(\d+)", name):
                newest = max(newest, (int(number[1]), os.path.join(directory, name)))
    return newest[1]


def compile(path: str, include_dirs: tuple[str, ...]) -> tuple[bytes, str, tuple[str, ...]]:
    """The object of a C file, what clang said, and the files that it read; b"" if it failed.

    No file is written: an interrupt, which ends this process at once, leaves nothing behind.
    """
    machine = os.uname().machine
    arch = _ARCHES.get(machine, machine)
    with open(os.memfd_create("files", 0), "rb+") as files:
        command = [
            find(), "-target", "bpf", "-g", "-O2", f"-D__TARGET_ARCH_{arch}",
            *(f"-I{directory}" for directory in include_dirs),
            "-idirafter", f"/usr/include/{machine}-linux-gnu",
            "-fno-color-diagnostics", "-MD", "-MF", f"/dev/fd/{files.fileno()}",
            "-x", "c", "-c", path, "-o", "-",
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS,
                pass_fds=(files.fileno(),),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return b"", f"clang was stopped after {_SECONDS} seconds", ()
        except OSError as error:
            return b"", f"{command[0]}: {error.strerror}", ()
        said = done.stderr.decode("utf-8", "replace").strip()
        if done.returncode:
            return b"", said or f"clang ended with status {done.returncode}", ()
        files.seek(0)
        return done.stdout, said, _prerequisites(os.fsdecode(files.read()))


def _prerequisites(rule: str) -> tuple[str, ...]:
    """File names of a rule for make: spaces in them come after a backslash, lines end with one."""
    words = re.findall(r"(?:\\[^\n]|[^\s\\])+", rule.partition(": ")[2])
    return tuple(re.sub(r"\\(.)", r"\1", word).replace("$$", "$") for word in words)
