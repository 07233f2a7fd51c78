"""How much code each backend makes of the conformance suite's scripts. Asserts nothing.

    python -m conformance.instructions [ROWS]

Instructions in a script's programs, an ld_imm64 for one: what is made, not what a run executes.
The scripts of which `native` makes most beside `llvm` (20 of them), then all of them together.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from statistics import median

from bpfscript.api import running_kernel
from bpfscript.diagnostics import ScriptError, Source
from bpfscript.driver import compile
from bpfscript.frontend.typed import Options
from bpfscript.target import MachineError

from . import casefile

BACKENDS = ("native", "llvm")
_SLOT, _LD_IMM64 = 8, 0x18  # bytes of an instruction, of which this one takes two


@dataclass(frozen=True)
class Size:
    """Instructions of one script by each backend."""

    name: str
    native: int
    llvm: int

    @property
    def ratio(self) -> float:
        return self.native / self.llvm


def count(code: bytes) -> int:
    slots = range(0, len(code), _SLOT)
    return len(slots) - sum(code[at] == _LD_IMM64 for at in slots)


def size(case: casefile.Case) -> Size | None:
    """None for a case without a script, or with one that does not compile here."""
    if not case.prog:
        return None
    sizes = []
    for backend in BACKENDS:
        try:
            options = Options(unsafe=True, warnings=0)
            made = compile(Source("s", case.prog), running_kernel(), options, backend=backend)
        except (ScriptError, MachineError):
            return None
        sizes.append(sum(count(f.code) for f in made.artifact.functions.values()))
    return Size(case.name, *sizes) if all(sizes) else None


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    found = [made for case in casefile.load() if (made := size(case))]
    found.sort(key=lambda made: -made.ratio)
    print(f"{'':<50}{'native':>8}{'llvm':>8}{'ratio':>8}")
    for made in found[:rows]:
        print(f"{made.name:<50}{made.native:>8}{made.llvm:>8}{made.ratio:>8.2f}")
    native, llvm = sum(made.native for made in found), sum(made.llvm for made in found)
    print(f"{f'all {len(found)}':<50}{native:>8}{llvm:>8}{native / llvm:>8.2f}")
    print(f"{'median':<66}{median(made.ratio for made in found):>8.2f}")


if __name__ == "__main__":
    main()
