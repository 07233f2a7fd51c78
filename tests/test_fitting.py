"""Diagnostics on terminals: width and colour."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import pytest

from bpfscript.runtime.fitting import fitted

SCRIPT = f"begin {{ {'@a = 1; ' * 30}nosuch(1); {'@b = 2; ' * 30}}}"


@pytest.mark.parametrize("width", [40, 80, 132])
def test_every_line_fits_and_the_underlined_is_seen(width: int) -> None:
    start = SCRIPT.index("nosuch")
    message = "stdin:1:10-19: ERROR: " + "many words that go on and on " * 8
    text = f"{message}\n{SCRIPT}\n{' ' * start}~~~~~~~~~\nHINT: {'word ' * 40}"
    lines = fitted(text, width).split("\n")
    assert max(map(len, lines)) <= width
    underline = next(i for i, line in enumerate(lines) if line.strip(" ~") == "" and line)
    at = lines[underline].index("~")
    assert lines[underline - 1][at:].startswith("nosuch(1)")
    assert " ".join(" ".join(lines[: underline - 1]).split()) == message.strip()


def test_what_fits_is_left_alone() -> None:
    text = "t.bt:1:1-4: ERROR: short\nabc\n~~~\nHINT: hm"
    assert fitted(text, 80) == text


def test_a_line_that_is_underlined_beyond_its_end() -> None:
    assert fitted(f"{'x' * 100}\n{' ' * 100}~", 50).split("\n")[1].endswith("~")


def on_a_terminal(columns: int, **environment: str) -> str:
    """What the tool says of a wrong script there."""
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "bpfscript", "-e", SCRIPT]
    quiet = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "BPFTRACE_COLOR")}
    with subprocess.Popen(
        command, stdout=terminal, stderr=terminal, env=quiet | environment
    ) as process:
        os.close(terminal)
        seen = b""
        try:
            while piece := os.read(control, 4096):
                seen += piece
        except OSError:  # EIO: the other side is closed
            pass
        os.close(control)
        process.wait(30)
    return seen.decode()


@pytest.mark.requires("root")
def test_the_tool_asks_for_the_width_and_paints() -> None:
    seen = on_a_terminal(80)
    plain = seen.replace("\033[31m", "").replace("\033[0m", "")
    assert "\033[31mstdin:1:" in seen and "nosuch(1)" in plain
    assert max(map(len, plain.splitlines())) <= 80
    assert "\033" not in on_a_terminal(80, NO_COLOR="1")
    assert "\033" not in on_a_terminal(80, BPFTRACE_COLOR="never")


@pytest.mark.requires("root")
def test_elsewhere_lines_are_whole_and_plain() -> None:
    command = [sys.executable, "-m", "bpfscript", "-e", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert SCRIPT in done.stderr and "\033" not in done.stderr
