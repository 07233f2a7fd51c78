"""How many instructions each backend's programs execute, over the conformance suite's scripts.

    python -m conformance.executed [--only REGEX] [--rows N] [--best] [--json FILE]

Each case runs as the suite runs it, once with each backend, its programs counting what they execute
(see `counters`). A function's figure is instructions a call, a script's the sum over its functions
that both backends ran: where events differ between runs, so do they, a little. Scripts by the ratio
of `native` to `llvm`, then all together. --best: `llvm` with LLVM's own passes at -O3 before its
code generator, which the kernel's verifier does not always follow. Asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import re
import struct
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

from bpfscript import compiled
from bpfscript.backends.llvm import LlvmBackend
from bpfscript.backends.native import NativeBackend
from bpfscript.diagnostics import Source
from bpfscript.ir.core import Module
from bpfscript.manifest import Artifact
from bpfscript.runtime.session import Session
from bpfscript.target import Target
from conformance import casefile, counters, forked, machine
from conformance.casefile import Case
from conformance.running import BACKENDS, Way, run

Counts = dict[str, tuple[int, int]]
"""Of each function: instructions executed, calls."""

_left = Path()  # where the next run leaves its counts


def counting(best: bool) -> None:
    """From here on, what this process and its children compile counts, and leaves its counts."""
    for kind in (NativeBackend, LlvmBackend):
        _count(kind)
    ends = Session.__exit__

    def leave(
        session: Session, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if counted := session.maps.get(counters.MAP):
            (data,) = counted.value(bytes(4)) or [b""]
            pairs = struct.iter_unpack("<QQ", data)
            _left.write_text(json.dumps(dict(zip(session.artifact.functions, pairs, strict=True))))
        ends(session, kind, error, trace)

    Session.__exit__ = leave  # type: ignore[method-assign]
    compiled._kept = lambda command, source: False  # what is kept does not count
    if best:
        _optimise()


def _count(kind: Any) -> None:
    emit = kind.emit

    def counted(self: Any, module: Module, target: Target, source: Source) -> Artifact:
        return counters.instrument(emit(self, module, target, source))

    kind.emit = counted


def _optimise() -> None:
    """Let LLVM's passes run first."""
    import llvmlite.binding as llvm

    from bpfscript.backends import llvm as ours

    parse = llvm.parse_assembly

    def optimised(text: str, context: Any) -> Any:
        parsed = parse(text, context)
        builder = llvm.create_pass_builder(
            ours._machine("v3"), llvm.create_pipeline_tuning_options(speed_level=3)
        )
        builder.getModulePassManager().run(parsed, builder)
        return parsed

    llvm.parse_assembly = optimised


@dataclass(frozen=True)
class Row:
    """Instructions that a script executes, by backend: of an average event of each function."""

    name: str
    native: float
    llvm: float

    @property
    def ratio(self) -> float:
        return self.native / self.llvm


def row(case: Case, programs: list[Path], folder: Path) -> Row | str:
    """Or why there is none."""
    global _left
    found: list[Counts] = []
    for name in BACKENDS:
        _left = folder / "counts"
        _left.unlink(missing_ok=True)
        output = run(case, name, "text", programs, Way(2.0, forked=True))
        if not _left.exists():
            lines = output.stderr.splitlines() or ["nothing ran"]
            return f"{name}: {lines[0]}"
        found.append(json.loads(_left.read_text()))
    both = [f for f in found[0] if f in found[1] and found[0][f][1] and found[1][f][1]]
    if not both:
        return "no event"
    native, llvm = (sum(counts[f][0] / counts[f][1] for f in both) for counts in found)
    return Row(case.name, native, llvm)


def main() -> int:
    parser = argparse.ArgumentParser(prog="conformance.executed", description=__doc__)
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose area/name matches")
    parser.add_argument("--rows", type=int, default=20, metavar="N", help="how many to show")
    parser.add_argument("--best", action="store_true", help="llvm after its passes at -O3")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all rows, and why some are not")
    options = parser.parse_args()
    cases = [c for c in casefile.load() if re.search(options.only, c.name) and c.prog]
    counting(options.best)
    rows, without = list[Row](), dict[str, str]()
    with tempfile.TemporaryDirectory(prefix="executed-") as name:
        folder = Path(name)
        forked.preload()
        programs = machine.build(folder, cases)
        for case in cases:
            if lacking := machine.missing(case.needs):
                without[case.name] = f"needs {lacking}"
                continue
            found = row(case, programs, folder)
            if isinstance(found, Row):
                rows.append(found)
            else:
                without[case.name] = found
    rows.sort(key=lambda r: -r.ratio)
    if options.json:
        made = {r.name: (r.native, r.llvm) for r in rows}
        options.json.write_text(json.dumps({"rows": made, "without": without}, indent=1))
    show(rows, options.rows)
    print(f"{len(without)} without figures (--json says why)")
    return 0


def show(rows: list[Row], most: int) -> None:
    print(f"{'':<50}{'native':>9}{'llvm':>9}{'ratio':>8}")
    for r in rows[:most]:
        print(f"{r.name:<50}{r.native:>9.1f}{r.llvm:>9.1f}{r.ratio:>8.2f}")
    native, llvm = sum(r.native for r in rows), sum(r.llvm for r in rows)
    if rows:
        print(f"{f'all {len(rows)}':<50}{native:>9.0f}{llvm:>9.0f}{native / llvm:>8.2f}")
        print(f"{'median':<68}{median(r.ratio for r in rows):>8.2f}")
        print(f"{'above 1.10':<68}{sum(r.ratio > 1.1 for r in rows):>8}")


if __name__ == "__main__":
    sys.exit(main())
