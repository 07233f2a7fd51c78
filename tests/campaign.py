"""Two campaigns over scripts: what the checker accepts loads, and no text gives a traceback.

    python tests/campaign.py scripts COUNT [--seed N]            generated, compiled and loaded
    python tests/campaign.py mutants COUNT [--seed N] [FILE …]   broken ones, compiled only

A finding is printed with its script, and the counts at the end. FILE: further scripts to break, one
JSON object a line with the program after "-e" in "args".
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from random import Random

from script_strategies import mutate, script
from script_support import compiled, load

from bpfscript.diagnostics import ScriptError
from bpfscript.runtime.errors import KernelError
from bpfscript.target import MachineError

ROOT = Path(__file__).parent.parent
LONGEST = 1.0  # seconds of processor time that a text may take

# What reads as a script in the tests: probes and a block in quotes.
_QUOTED = re.compile(r'"""(.*?)"""|"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'', re.DOTALL)


@cache
def corpus() -> tuple[str, ...]:
    """The scripts of the conformance cases, the filetests and the other tests."""
    from conformance.casefile import load as cases

    found = [case.prog for case in cases() if case.prog]
    for path in sorted(ROOT.glob("tests/filetests/*/*.ft")):
        if path.parent.name in ("check", "lower"):
            found.append(path.read_text().partition("\n----")[0])
    for path in sorted(ROOT.glob("tests/test_*.py")):
        for match in _QUOTED.finditer(path.read_text()):
            text = next(filter(None, match.groups()), "")
            if (
                "{" in text
                and "}" in text
                and re.match(r"\s*(\w+[:{ ]|config|let|macro|struct)", text)
            ):
                found.append(text.replace('\\"', '"').replace("\\n", "\n"))
    return tuple(found)


def mutants(seed: int, texts: Iterable[str] = ()) -> Iterator[str]:
    r, found = Random(seed), [text for text in (*corpus(), *texts) if text]
    while True:
        yield mutate(r, r.choice(found) if r.randrange(10) else script(r))


def outcome(text: str, longest: float = math.inf) -> str:
    """Compile a text: "accepted", "refused" for its faults, or the traceback of ours; "slow: …"
    beyond so many seconds of processor time."""
    start = time.process_time()
    try:
        compiled(text, verify=False)
        result = "accepted"
    except (ScriptError, MachineError):
        result = "refused"
    except Exception:
        return traceback.format_exc()
    took = time.process_time() - start
    return result if took < longest else f"slow: {took:.1f} s"


def loading(text: str) -> str:
    """Compile and load: "loaded", "refused" by the checker, or what went wrong."""
    try:
        artifact = compiled(text, verify=False)
    except ScriptError as error:
        return "refused" if error.diagnostics else "no diagnostic"
    except Exception:
        return traceback.format_exc()
    try:
        load(artifact)
    except KernelError as error:
        return f"{type(error).__name__}: {error}"
    return "loaded"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("scripts", "mutants"))
    parser.add_argument("count", type=int)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_intermixed_args()
    further = [
        args[1]
        for path in arguments.files
        for line in path.read_text().splitlines()
        if len(args := json.loads(line)["args"]) > 1 and args[0] == "-e"
    ]
    r, made, counts = Random(arguments.seed), mutants(arguments.seed, further), Counter[str]()
    for number in range(arguments.count):
        text = script(r) if arguments.what == "scripts" else next(made)
        result = loading(text) if arguments.what == "scripts" else outcome(text, LONGEST)
        known = result in ("loaded", "accepted", "refused")
        counts[result if known else "found"] += 1
        if not known:
            print(f"=== {number}\n{text}\n--- {result.rstrip()}", flush=True)
    print(dict(counts))
    return 1 if counts["found"] else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main())
