"""Compiles that were kept: found again while all they were made of stands, and not after."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from bpfscript import driver
from bpfscript.diagnostics import Source
from bpfscript.packing import pack, unpack
from bpfscript.runtime.live_target import LiveTarget
from bpfscript.runtime.recording import Asked, Recorder, stands
from bpfscript.target import MachineError, RecordedTarget, Target

FORMAT = "name: go\nID: 7\nformat:\n\tfield:int x;\toffset:8;\tsize:4;\tsigned:1;\n"
COMPILER = ("bpfscript.frontend", "bpfscript.passes", "bpfscript.backends", "lark", "llvmlite")


class Run:
    """Runs of the tool with a cache of their own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def __call__(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "bpfscript.cli", *words],
            env={**os.environ, "BPFSCRIPT_CACHE": str(self.directory / "cache"), **environment},
            cwd=self.directory, capture_output=True, text=True, timeout=60,
        )  # fmt: skip

    def compiles(self, *words: str, **environment: str) -> bool:
        """Whether a run that goes well needs the compiler, or any part of it."""
        done = self(*words, **environment)
        assert done.returncode == 0, done.stderr
        return any(name in done.stderr for name in COMPILER)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Lines of the error stream without Python's own."""
    return [line for line in done.stderr.splitlines() if not line.startswith("import time:")]


@pytest.mark.kernel
def test_a_second_run_needs_no_compiler_and_says_the_same(run: Run) -> None:
    words = ("-e", 'BEGIN { let $x; print($x); $x = 1; printf("hello"); exit(); }')
    first, second = run(*words), run(*words)
    assert any(name in first.stderr for name in COMPILER)
    assert not any(name in second.stderr for name in COMPILER)
    assert said(first) == said(second) and first.stdout == second.stdout
    assert any("WARNING" in line for line in said(second)) and "hello" in second.stdout


@pytest.mark.kernel
def test_what_the_command_line_says_is_part_of_the_key(run: Run) -> None:
    words = ("-e", "BEGIN { printf(\"%d\\n\", $1); exit(); }")  # fmt: skip
    assert run.compiles(*words, "1") and not run.compiles(*words, "1")
    assert run.compiles(*words, "2")
    assert run.compiles(*words, "2", BPFTRACE_MAX_STRLEN="32")
    assert run.compiles("--no-cache", *words, "1")
    assert run.compiles(*words, "1", BPFSCRIPT_CACHE="off")
    assert run(*words, "2").stdout.startswith("2\n")


@pytest.mark.kernel
def test_a_changed_import_is_read_again(run: Run) -> None:
    library = run.directory / "lib.bt"
    library.write_text('macro greet() { printf("one\\n"); }')
    words = ("-e", 'import "lib.bt"; BEGIN { greet(); exit(); }')
    assert run.compiles(*words) and not run.compiles(*words)
    library.write_text('macro greet() { printf("two\\n"); }')
    assert run(*words).stdout.startswith("two\n")


@pytest.mark.kernel
def test_headers_are_read_every_time(run: Run) -> None:
    (run.directory / "x.h").write_text("#define N 1\n")
    script = f'#include "{run.directory}/x.h"\nBEGIN {{ printf("%d\\n", N); exit(); }}'
    assert run("-e", script).stdout.startswith("1\n")
    (run.directory / "x.h").write_text("#define N 2\n")
    assert run("-e", script).stdout.startswith("2\n")


@pytest.mark.kernel
@pytest.mark.requires("cc")
def test_a_changed_program_is_compiled_for_anew(run: Run) -> None:
    def build(text: str) -> None:
        (run.directory / "prog.c").write_text(text)
        subprocess.run(["cc", "-o", "prog", "prog.c"], cwd=run.directory, check=True)

    build("int f(void) { return 1; } int main(void) { return f(); }")
    words = ("--dry-run", "-e", f"uprobe:{run.directory}/prog:f {{ exit(); }}")
    assert run.compiles(*words) and not run.compiles(*words)
    build("int g(void) { return 1; } int f(void) { return 2; } int main(void) { return f(); }")
    assert run.compiles(*words)


@pytest.mark.kernel
def test_a_damaged_entry_is_a_miss(run: Run) -> None:
    words = ("-e", "BEGIN { exit(); }")
    assert run.compiles(*words)
    (entry,) = (run.directory / "cache").glob("script-*")
    content = bytearray(entry.read_bytes())
    content[-9] ^= 1
    entry.write_bytes(content)
    assert run.compiles(*words) and not run.compiles(*words)


def recorded(target: RecordedTarget) -> tuple[Target, Asked]:
    asked = Asked()
    return cast(Target, Recorder("machine", target, asked)), asked


def compile(text: str, target: Target) -> driver.Result:
    return driver.compile(Source("stdin", text), target)


def test_answers_stand_until_the_machine_changes() -> None:
    old = RecordedTarget(formats={("my", "go"): FORMAT})
    target, asked = recorded(old)
    compile("tracepoint:my:go { print(args.x); }", target)
    assert stands(asked, {"machine": old})
    assert stands(unpack(pack(asked)), {"machine": old})
    moved = FORMAT.replace("offset:8", "offset:12")
    assert not stands(asked, {"machine": RecordedTarget(formats={("my", "go"): moved})})
    more = {("my", "go"): FORMAT, ("my", "gone"): FORMAT}
    assert stands(asked, {"machine": RecordedTarget(formats=more)})
    target, asked = recorded(old)
    compile("tracepoint:my:* { print(1); }", target)
    assert not stands(asked, {"machine": RecordedTarget(formats=more)})


def test_a_refusal_is_an_answer() -> None:
    class Refuses:
        def user_file(self, name: str) -> list[str]:
            raise MachineError(f"no {name}")

    asked = Asked()
    with pytest.raises(MachineError):
        cast(Target, Recorder("machine", Refuses(), asked)).user_file("x")
    assert stands(asked, {"machine": Refuses()})
    assert not stands(asked, {"machine": RecordedTarget()})


def test_what_no_witness_is_known_for_never_stands() -> None:
    target, asked = recorded(RecordedTarget())
    target.debug_info("/bin/true")
    assert not stands(asked, {"machine": RecordedTarget()})


def test_every_question_of_a_target_is_judged() -> None:
    """A new member of Target is either given a witness or, knowingly, none."""
    from bpfscript.runtime import recording

    asked = {name for name in vars(Target) if not name.startswith("_")}
    judged = recording._FIXED | recording._OF_FILES | recording._ASKED_AGAIN | {"debug_info"}
    assert asked <= judged
    assert asked <= set(dir(LiveTarget))


@pytest.mark.parametrize(
    "text",
    [
        "BEGIN { @h = hist(1); @l[1, \"a\"] = lhist(5, 0, 10, 1); print(@h); exit(); }",
        "BEGIN { @t = (1, \"x\", (int8)3); print(@t); printf(\"%s %d\", comm, pid); }",
        "tracepoint:my:go { @[probe, args.x, kstack(3), ustack] = count(); } interval:s:1 { }",
        "macro m(x) { x + 1 } BEGIN { print(m(1)); @s = stats(1); clear(@s); time(\"%H\"); }",
    ],
)  # fmt: skip
def test_artifacts_come_back(text: str) -> None:
    target = RecordedTarget(formats={("my", "go"): FORMAT})
    artifact = compile(text, target).artifact
    assert unpack(pack(artifact)) == artifact
    for end in range(0, len(pack(artifact)), 97):
        with pytest.raises(ValueError):
            unpack(pack(artifact)[:end])


@pytest.mark.kernel
def test_a_second_run_loads_no_slow_parts_of_the_library(run: Run) -> None:
    words = ("-e", "BEGIN { exit(); }")
    run(*words)
    loaded = {line.rpartition("|")[2].strip() for line in run(*words).stderr.splitlines()}
    assert not loaded & {"typing", "re", "dataclasses", "inspect", "pathlib", "gettext"}
