"""The driver: stages in order, the same bytes for the same inputs, faults in their families."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc

import pytest

import bpfscript
from bpfscript.backends.elf import read, write
from bpfscript.diagnostics import ScriptError, Source
from bpfscript.driver import STAGES, compile
from bpfscript.target import RecordedTarget

SCRIPT = (
    'begin { @[comm, 1] = count(); printf("%d %s\\n", pid, "x"); for ($kv : @) { print($kv); } }'
)


def test_every_stage_can_be_printed_in_order() -> None:
    shown: dict[str, str] = {}
    compile(
        Source("stdin", SCRIPT),
        RecordedTarget(),
        show=shown.__setitem__,
        wanted=frozenset(STAGES),
        verify=True,
    )
    assert list(shown) == list(STAGES)
    assert all(text.strip() for text in shown.values())


def test_a_stage_not_wanted_is_not_printed() -> None:
    shown: dict[str, str] = {}
    compile(Source("stdin", SCRIPT), RecordedTarget(), show=shown.__setitem__)
    assert shown == {}


@pytest.mark.parametrize("optimise", [True, False])
def test_same_inputs_give_the_same_bytes(optimise: bool) -> None:
    first, second = (
        write(compile(Source("stdin", SCRIPT), RecordedTarget(), optimise=optimise).artifact)
        for _ in range(2)
    )
    assert first == second
    assert write(read(first)) == first


def test_faults_of_a_script_are_collected() -> None:
    with pytest.raises(ScriptError) as caught:
        bpfscript.compile("begin { nope(); @x = also_nope; }", target=RecordedTarget())
    assert [d.span.text for d in caught.value.diagnostics] == ["nope()", "also_nope"]


def test_parameters_and_names_reach_the_script() -> None:
    artifact = bpfscript.compile("begin { print($1); }", 7, target=RecordedTarget(), name="x.bt")
    assert artifact.source_name == "x.bt"


def test_the_public_names_exist() -> None:
    assert all(getattr(bpfscript, name) for name in bpfscript.__all__)


def test_the_runtime_loads_no_compiler() -> None:
    """What a run needs imports neither lark nor LLVM nor attrs."""
    code = (
        "import sys, bpfscript.runtime.session, bpfscript.runtime.text, bpfscript.runtime.symbols\n"
        "heavy = {'lark', 'llvmlite', 'attrs', 'attr', 'clang', 'elftools', 'bpfscript.frontend'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_script_cannot_steer_the_terminal() -> None:
    with pytest.raises(ScriptError) as caught:
        bpfscript.compile("begin { \x1b[2J\ttest\x07 }", target=RecordedTarget())
    shown = caught.value.diagnostics[0].render()
    assert "?[2J    test?" in shown and "\x1b" not in shown


def test_a_kernel_without_types_is_named_as_the_cause() -> None:
    with pytest.raises(ScriptError) as caught:
        bpfscript.compile("begin { print(curtask.pid); }", target=RecordedTarget())
    assert caught.value.diagnostics[0].hint == "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"


def test_values_that_fit_nowhere_cost_nothing_before_they_are_refused() -> None:
    script = (
        "struct a { char x[400000000]; };"
        "begin { if (pid > 1) { @[*(struct a *)0] = 1; } else { @[*(struct a *)8] = 2; } }"
    )
    tracemalloc.start()
    try:
        with pytest.raises(ScriptError, match="bytes of memory for its values"):
            compile(Source("large.bt", script), RecordedTarget())
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
