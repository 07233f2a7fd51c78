"""Watchpoints: hardware breakpoints of perf events."""

from __future__ import annotations

import subprocess
from pathlib import Path

from resolving import resolved
from tracing import trace

SOURCE = """#include <sys/mman.h>
int main(void)
{
  volatile long *p = mmap((void *)0x10000000, 4096, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  for (int i = 0; i < 5; i++)
    *p = i;
  return (int)*p;
}
"""


def test_resolved() -> None:
    (instance,) = resolved("w:0x1000:4:wr { }")
    (attach,) = instance.attachments
    assert (attach.name, attach.offset, attach.length, attach.config) == (
        "watchpoint:4096:4:wr", 0x1000, 4, 3,
    )  # fmt: skip
    (instance,) = resolved("w:0x1000:1:x { }")
    assert (instance.attachments[0].length, instance.attachments[0].config) == (8, 4)


def test_traced(tmp_path: Path) -> None:
    (tmp_path / "wp.c").write_text(SOURCE)
    subprocess.run(["gcc", "-O0", "-o", "wp", "wp.c"], cwd=tmp_path, check=True)
    program = str(tmp_path / "wp")
    assert trace("watchpoint:0x10000000:8:w { @ = count(); }", program) == "@: 5"
