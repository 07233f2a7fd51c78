"""uaddr(): variables of a traced program, wherever it is loaded."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tracing import trace

SOURCE = """int answer = 42; char letter = 'x'; struct { long a, b, c; } large = { 7, 8, 9 };
__attribute__((noinline)) int work(int n) { __asm__ volatile(""); return n; }
int main(void) { return work(0); }
"""


@pytest.mark.kernel
@pytest.mark.requires("root", "btf", "cc")
@pytest.mark.parametrize("how", ["-pie", "-no-pie"])
def test_a_variable_is_read_in_its_own_width(tmp_path: Path, how: str) -> None:
    (tmp_path / "p.c").write_text(SOURCE)
    program = tmp_path / "p"
    subprocess.run(["gcc", how, "-O0", "-o", program, tmp_path / "p.c"], check=True)
    script = (
        f'u:{program}:work {{ printf("%d %c %d", *uaddr("answer"), *uaddr("letter"), '
        f'*uaddr("large")); }}'
    )
    assert trace(script, str(program)) == "42 x 7"
