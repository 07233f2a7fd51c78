"""What upstream gave, kept so that a run need not ask it again.

A record counts only while everything that it came from is the same: the case, the programs of
`programs/`, how outputs are normalised, upstream's version, and the kernel. Else upstream runs.
`make conformance` always runs upstream, and writes the records anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cache
from pathlib import Path

from conformance.casefile import Case
from conformance.machine import PROGRAMS

HERE = Path(__file__).parent
FILE = HERE / "recorded.json"
VERSION = "0.27.1"


@cache
def _surroundings() -> str:
    texts = [VERSION, os.uname().release, os.uname().version, (HERE / "normalise.py").read_text()]
    texts += [path.read_text() for path in sorted(PROGRAMS.iterdir())]
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


class Recording:
    """Normalised outputs of upstream by case and format."""

    def __init__(self, path: Path = FILE) -> None:
        self._path = path
        self._known: dict[str, list[str]] = json.loads(path.read_text()) if path.exists() else {}

    def find(self, case: Case, form: str) -> str | None:
        key, text = self._known.get(f"{case.name} {form}", ("", ""))
        return text if key == _key(case, form) else None

    def put(self, case: Case, form: str, text: str) -> None:
        """Keep an output, unless the run had to be ended: that says nothing of upstream."""
        if "exit| None" not in text:
            self._known[f"{case.name} {form}"] = [_key(case, form), text]

    def write(self, names: set[str]) -> None:
        """Write the file; cases that are none of `names` are gone and are dropped."""
        kept = {k: v for k, v in sorted(self._known.items()) if k.split()[0] in names}
        self._path.write_text(json.dumps(kept, indent=0, ensure_ascii=True) + "\n")


def _key(case: Case, form: str) -> str:
    return hashlib.sha256(f"{case!r}\0{form}\0{_surroundings()}".encode()).hexdigest()[:16]
