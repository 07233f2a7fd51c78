"""The programs of the conformance cases load on this kernel, by both backends.

`lab/corpus.py` has compiled them for it, on the machine that the lab is on.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from script_support import load

from bpfscript.backends import elf
from bpfscript.runtime.errors import KernelError
from lab.corpus import BACKENDS

LAB = Path(__file__).parents[2] / "lab"


@pytest.mark.kernel
@pytest.mark.requires("guest", "btf", "tracefs")
@pytest.mark.parametrize("backend", BACKENDS)
def test_programs_load(backend: str) -> None:
    objects = Path(os.environ["LAB_KERNEL"]) / "objects" / backend
    failures, paths = [], sorted(objects.iterdir())
    for path in paths:
        artifact = elf.read(path.read_bytes())
        try:
            load(artifact)
        except KernelError as error:
            failures.append(f"{artifact.source_text}\n{error}")
    assert not failures, "\n".join(failures)
    assert len(paths) > 400
