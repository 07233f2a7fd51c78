"""How compiling grows with a script: CPU time and peak memory, each backend. Asserts nothing.

python -m conformance.compile_scale [BLOCKS...]
"""

from __future__ import annotations

import subprocess
import sys

SIZES = (10, 100, 1_000, 5_000)
BACKENDS = ("native", "llvm")
CODE = """
import gc, resource, sys, time
from bpfscript.__main__ import YOUNG
from bpfscript.diagnostics import Source
from bpfscript.driver import compile
from bpfscript.runtime.live_target import LiveTarget

gc.set_threshold(YOUNG)  # as the command does
started = time.process_time()
compile(Source("script", sys.stdin.read()), LiveTarget(), backend=sys.argv[1])
print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def script(blocks: int) -> str:
    """So many blocks that do something, ten to a program."""
    ifs = [f"if (pid == {i}) {{ @x[{i % 50}] = count(); }}" for i in range(blocks)]
    parts = (" ".join(ifs[at : at + 10]) for at in range(0, blocks, 10))
    return " ".join(f"interval:s:{n} {{ {part} }}" for n, part in enumerate(parts, 1))


def measure(blocks: int, backend: str) -> tuple[float, float]:
    """CPU seconds and MiB of a process that compiles once."""
    done = subprocess.run(
        [sys.executable, "-c", CODE, backend],
        input=script(blocks), capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def main() -> None:
    sizes = tuple(map(int, sys.argv[1:])) or SIZES
    print(f"\n{'blocks compiled':<20}" + "".join(f"{name:>24}" for name in BACKENDS))
    for blocks in sizes:
        columns = (measure(blocks, backend) for backend in BACKENDS)
        print(
            f"{blocks:<20}" + "".join(f"{s:>14.2f} s {m:>4.0f} MiB" for s, m in columns), flush=True
        )


if __name__ == "__main__":
    main()
