"""Many places at once, one of which the kernel refuses."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from script_support import NoPrinter, compiled

from bpfscript.runtime.errors import AttachError
from bpfscript.runtime.session import Session
from bpfscript.runtime.sys import Cmd, Kernel

pytestmark = [pytest.mark.kernel, pytest.mark.requires("cc", "btf")]

FUNCTIONS = 64
LOCKED = """
__asm__(".globl many_locked\\n.type many_locked,@function\\nmany_locked: lock incl (%rdi)\\n"
        "ret\\n.size many_locked,.-many_locked");
"""  # no breakpoint can take the place of a `lock`


class Counting(Kernel):
    links = 0

    def bpf(self, cmd: Cmd, attr: ctypes.Structure, what: str = "") -> int:
        self.links += cmd is Cmd.LINK_CREATE
        return super().bpf(cmd, attr, what)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    path = tmp_path / "many.so"
    functions = "".join(f"int many_{i}(int a) {{ return a + {i}; }}\n" for i in range(FUNCTIONS))
    command = ["cc", "-shared", "-fPIC", "-o", str(path), "-xc", "-"]
    subprocess.run(command, input=(LOCKED + functions).encode(), check=True)
    ctypes.CDLL(str(path))  # instructions are looked at where they are mapped
    return path


def test_one_refusal_is_found_by_halves(library: Path) -> None:
    script = f"config = {{ missing_probes = warn }} u:{library}:many_* {{ @[probe] = count(); }}"
    kernel, said = Counting(), list[str]()
    with Session(
        compiled(script), NoPrinter(), signals=False, kernel=kernel, warn=said.append
    ) as s:
        s.load()
        assert s.attach() == FUNCTIONS
    assert said == [f"Unable to attach probe: uprobe:{library}:many_locked. Skipping."]
    assert kernel.links <= 2 * FUNCTIONS.bit_length() + 1


def test_the_reason_is_told(library: Path) -> None:
    script = f"u:{library}:many_* {{ @[probe] = count(); }}"
    with Session(compiled(script), NoPrinter(), signals=False) as session:
        session.load()
        with pytest.raises(AttachError, match="many_locked") as refused:
            session.attach()
    assert "the kernel cannot probe this" in refused.value.cause
