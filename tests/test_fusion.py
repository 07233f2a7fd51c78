"""Pairs of kprobe and kretprobe that become one program."""

from __future__ import annotations

import pytest

from bpfscript import driver
from bpfscript.diagnostics import Source
from bpfscript.manifest import Artifact, CoreRelocation
from bpfscript.runtime.fusion import fuse
from bpfscript.runtime.links import SESSION
from bpfscript.target import RecordedTarget

TARGET = RecordedTarget(functions=(("", "vfs_read"), ("", "vfs_readv"), ("", "vfs_write")))


def fused(script: str) -> tuple[Artifact, Artifact]:
    """The artifact of a script, before and after."""
    artifact = driver.compile(Source("pair.bt", script), TARGET).artifact
    return artifact, fuse(artifact, lambda _: True)


def test_one_program_has_the_code_of_both() -> None:
    before, after = fused("k:vfs_read* { @[probe] = count(); } kr:vfs_read* { @x[retval] = 1; }")
    (program,), (info,) = after.programs, after.manifest.probes
    assert {place.kind for place in info.attachments} == {SESSION}
    assert [place.cookie for place in info.attachments] == [0, 1]
    parts = [before.functions[p.functions[0]] for p in before.programs]
    whole = after.functions[program.functions[0]]
    assert len(whole.code) == 8 * 6 + sum(len(part.code) for part in parts)
    assert all(part.code in whole.code for part in parts)
    assert whole.relocations[0].name == "bpf_session_is_return"
    for relocation in whole.relocations[1:]:  # each is still at a call or a two-slot load
        assert whole.code[8 * relocation.instruction] in (0x18, 0x85)
    assert [line.instruction for line in whole.lines] == sorted(
        line.instruction for line in whole.lines
    )
    assert whole.lines[0].instruction == 0


def test_questions_of_the_kernels_types_stay_where_they_are_asked() -> None:
    before, _ = fused("k:vfs_read { @ = 1; } kr:vfs_read { @ = 2; }")
    for function in before.functions.values():
        function.core = (CoreRelocation(1, 0, 1, "0:0"),)
    (program,) = fuse(before, lambda _: True).programs
    whole = fuse(before, lambda _: True).functions[program.functions[0]]
    parts = [before.functions[p.functions[0]].code for p in before.programs]
    first, second = (8 * (row.instruction - 1) for row in whole.core)
    assert whole.code[first:].startswith(parts[0]) and whole.code[second:].startswith(parts[1])


@pytest.mark.parametrize(
    "script",
    [
        "k:vfs_read { @++ } kr:vfs_write { @-- }",
        "k:vfs_read { @++ } k:vfs_read { @++ } kr:vfs_read { @-- }",
        "k:vfs_read { @++ } kr:vfs_rea* { @-- }",
        "k:vfs_read,k:vfs_write { @++ } kr:vfs_read { @-- }",
        "k:vfs_read { @++ } kr:vfs_read { @-- } k:vfs_r* { @++ }",
    ],
)
def test_where_the_order_could_change_nothing_does(script: str) -> None:
    before, after = fused(script)
    assert before is after


def test_only_where_the_kernel_has_it() -> None:
    script = Source("pair.bt", "k:vfs_read { @++ } kr:vfs_read { @-- }")
    artifact = driver.compile(script, TARGET).artifact
    assert fuse(artifact, lambda _: False) is artifact
