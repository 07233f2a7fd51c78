"""lab/corpus.py KERNEL...: the programs of the conformance cases, compiled here for the lab's
kernels by both backends; .cache/KERNEL/objects/BACKEND has an object of each. A guest, which is
some twenty times slower, tells of its kernel and loads them (tests/lab/test_corpus.py).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

LAB = Path(__file__).parent
ROOT = LAB.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from script_strategies import POSITIONAL  # noqa: E402

from bpfscript import target_file  # noqa: E402
from bpfscript.backends import elf  # noqa: E402
from bpfscript.diagnostics import MachineError, ScriptError, Source  # noqa: E402
from bpfscript.driver import compile  # noqa: E402
from bpfscript.frontend.typed import Options  # noqa: E402
from bpfscript.target import Target  # noqa: E402
from conformance.casefile import load  # noqa: E402

BACKENDS = ("native", "llvm")
SYMBOLS = ("do_nanosleep",)  # that cases ask for


def told(kernel: str) -> Target:
    """What a guest tells of its kernel."""
    save = f"{sys.executable} -m bpfscript.cli target save /tmp/target {' '.join(SYMBOLS)}"
    command = [str(LAB / "run"), "-k", kernel, "--", "sh", "-c", f"{save} >&2 && cat /tmp/target"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return target_file.read(done.stdout)


def objects(target: Target, backend: str, folder: Path) -> int:
    """Compile what the target has all for; how many that were."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    texts = dict.fromkeys(case.prog.replace("{pid}", "1") for case in load() if case.prog)
    options, made = Options(positional=POSITIONAL), 0
    for number, text in enumerate(texts):
        try:
            compiled = compile(Source("t.bt", text), target, options, backend=backend, verify=True)
        except (ScriptError, MachineError):
            continue  # it is to be refused, or that kernel lacks something
        (folder / f"{number}.o").write_bytes(elf.write(compiled.artifact))
        made += 1
    return made


def main() -> None:
    for kernel in sys.argv[1:]:
        target = told(kernel)
        for backend in BACKENDS:
            made = objects(target, backend, LAB / ".cache" / kernel / "objects" / backend)
            print(f"{kernel}: {made} objects by {backend}", flush=True)


if __name__ == "__main__":
    main()
