"""A program with 10,000 distinct stacks, all through a library of 143 MB with 300,000 functions."""

from __future__ import annotations

import subprocess
from pathlib import Path

SIDE, FILLERS, PADDING = 100, 300_000, 90_000_000
STACKS = SIDE * SIDE
_FILLER = (
    ".globl filler_function_number_{0}\n.type filler_function_number_{0},@function\n"
    "filler_function_number_{0}:\n.skip 64,0x90\n.size filler_function_number_{0},64\n"
)


def build(directory: Path) -> tuple[Path, Path]:
    """The program, and the library, in which `leaf` is what all stacks end in. Takes seconds."""
    functions = "".join(
        f"static void inner_{i}(void) {{ leaf(); }}\n"
        f"static void outer_{i}(void (*f)(void)) {{ f(); }}\n"
        for i in range(SIDE)
    )
    inner, outer = (", ".join(f"{name}_{i}" for i in range(SIDE)) for name in ("inner", "outer"))
    (directory / "stacks.c").write_text(
        f"void leaf(void) {{}}\n{functions}static void (*inners[])(void) = {{{inner}}};\n"
        f"static void (*outers[])(void (*)(void)) = {{{outer}}};\n"
        f"void all(void) {{ for (int i = 0; i < {SIDE}; i++) for (int j = 0; j < {SIDE}; j++)"
        " outers[i](inners[j]); }\n"
    )
    fillers = "".join(map(_FILLER.format, range(FILLERS)))
    (directory / "filler.s").write_text(
        f".text\n{fillers}.section .rodata\n.space {PADDING}\n"
        '.section .note.GNU-stack,"",@progbits\n'
    )
    (directory / "main.c").write_text("void all(void); int main(void) { all(); }\n")
    flags = "-O0 -fno-omit-frame-pointer"
    for words in (
        f"gcc -shared -fPIC {flags} -o libstacks.so stacks.c filler.s",
        f"gcc {flags} -o main main.c -L. -lstacks -Wl,-rpath,{directory}",
    ):
        subprocess.run(words.split(), cwd=directory, check=True)
    return directory / "main", directory / "libstacks.so"
