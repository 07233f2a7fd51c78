"""The programs of the conformance cases load on this kernel, by both backends."""

from __future__ import annotations

import pytest
from script_strategies import POSITIONAL
from script_support import load

from bpfscript.diagnostics import ScriptError, Source
from bpfscript.driver import compile
from bpfscript.frontend.typed import Options
from bpfscript.runtime.errors import KernelError
from bpfscript.runtime.live_target import LiveTarget
from bpfscript.target import MachineError
from conformance.casefile import load as cases

SHARE = {"native": 1, "llvm": 8}  # one program in so many: the guest takes a second each with llvm


@pytest.mark.kernel
@pytest.mark.requires("btf", "tracefs")
@pytest.mark.parametrize("backend", SHARE)
def test_programs_load(backend: str, machine: LiveTarget) -> None:
    texts = [case.prog.replace("{pid}", "1") for case in cases() if case.prog]
    loaded, failures, options = 0, [], Options(positional=POSITIONAL)
    for text in texts[:: SHARE[backend]]:
        try:
            load(
                compile(
                    Source("t.bt", text), machine, options, backend=backend, verify=True
                ).artifact
            )
            loaded += 1
        except KernelError as error:
            failures.append(f"{text}\n{error}")
        except (ScriptError, MachineError):
            continue  # it is to be refused, or this kernel lacks something
    assert not failures, "\n".join(failures)
    assert loaded > len(texts) / SHARE[backend] / 2
