"""Completion and the manual page: made from the table of options, accepted by who reads them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bpfscript.completion import SHELLS, write
from bpfscript.options import ABSENT, OPTIONS


@pytest.mark.parametrize("shell", SHELLS)
def test_every_option_is_in_it(shell: str) -> None:
    text = write(shell, "bpfscript").replace(r"\-", "-")
    for option in OPTIONS:
        written = f"-l {option.long} " if shell == "fish" else f"--{option.long}"
        if option.long:
            assert (written in text) is (option.group != ABSENT), option


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("-f ", {"text", "json"}),
        ("--no-w", {"--no-warnings"}),
        ("--completion ", {"bash", "zsh", "fish", "man"}),
        ("insp", {"inspect"}),
        ("x insp", set()),
    ],
)
def test_bash_completes(line: str, offered: set[str]) -> None:
    words = ["bpfscript", *line.split(" ")]
    script = (
        f"{write('bash', 'bpfscript')}\nCOMP_WORDS=({' '.join(repr(w) for w in words)})\n"
        f"COMP_CWORD={len(words) - 1}\n_bpfscript\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_it(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"missing: {shell}")
    path = tmp_path / "completion"
    path.write_text(write(shell, "bpfscript"))
    subprocess.run([shell, "-n", str(path)], check=True)


def test_the_command_prints_it_and_refuses_others() -> None:
    tool = [sys.executable, "-m", "bpfscript.cli", "--completion"]
    done = subprocess.run([*tool, "man"], capture_output=True, text=True, check=True)
    assert done.stdout == write("man", "bpfscript")
    refused = subprocess.run([*tool, "csh"], capture_output=True, text=True, check=False)
    assert (
        refused.returncode == 1
        and "--completion can only be bash, zsh, fish, man" in refused.stderr
    )
