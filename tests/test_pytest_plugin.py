"""The fixture `bpf`, as a project that installed us has it."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.requires("tracefs")]
pytest_plugins = ["pytester"]

THEIRS = """
import os

WRITES = (
    "tracepoint:syscalls:sys_enter_write /args.count == 3/ "
    "{ @n[args.fd] = count(); print(args.fd); }"
)

def test_counts(bpf):
    with bpf(WRITES) as seen:
        os.write(1, b"abc")
        os.write(1, b"abc")
    assert seen.maps["@n"] == {1: 2}
    assert [event.args for event in seen.events()] == [(1,), (1,)]

def test_other_processes_do_not_count(bpf):
    with bpf(WRITES) as seen:
        os.system("printf abc")
    assert seen.maps["@n"] == {}

def test_a_child_counts_where_it_is_asked_for(bpf):
    child = os.fork()
    if not child:
        os.read(os.pipe()[0], 1)
    with bpf(WRITES, pid=child) as seen:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert seen.maps["@n"] == {}

def test_fails(bpf):
    with bpf(WRITES) as seen:
        os.write(1, b"abc")
    assert seen.maps["@n"] == {1: 2}

def test_left_open(bpf):
    bpf("interval:s:100 { }")
"""


def test_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(THEIRS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["*{1: 1}*"])
    assert not [p for p in Path("/proc/self/fd").iterdir() if "bpf" in str(p.resolve())]
