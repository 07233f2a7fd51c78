"""Kernel memory that is loaded, not copied: what the verifier takes, and what is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bpfscript.btf import Btf
from bpfscript.passes.legal_typed import _plain

TOOL = Path(sys.executable).parent / "bpfscript"
pytestmark = pytest.mark.kernel


def run(script: str, *args: str) -> str:
    result = subprocess.run([TOOL, *args, "-e", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


def members() -> list[str]:
    """Numbers and pointers of a thread, and of what its pointers lead to."""
    btf = Btf(Path("/sys/kernel/btf/vmlinux").read_bytes())
    task = btf.find("task_struct", "struct")
    assert task
    found = []
    for member in btf.members(task):
        type = _plain(btf, member.type)
        to = _plain(btf, type.to) if type.kind == "ptr" else type
        if member.name and to.kind == "struct":
            inner = [m.name for m in btf.members(to) if m.name]
            plain = [m for m in btf.members(to) if _plain(btf, m.type).kind in ("int", "ptr")]
            found += [f"{member.name}.{m.name}" for m in plain if m.name in inner][:4]
        if member.name and type.kind in ("int", "enum", "ptr"):
            found.append(member.name)
    return found


def test_the_verifier_takes_every_member() -> None:
    names = members()[::4]
    assert len(names) > 50
    for at in range(0, len(names), 60):
        reads = [f"@m{i} = (uint64)curtask.{n};" for i, n in enumerate(names[at : at + 60])]
        assert run(f"BEGIN {{ {' '.join(reads)} exit(); }}").count("@m") == len(names[at : at + 60])


def test_pointers_are_numbers_and_addresses_at_once() -> None:
    text = run(
        'BEGIN { $p = curtask.real_parent; printf("%d %d %d\\n", $p == curtask.real_parent,'
        " ((uint64)$p & 7) == 0, $p.tgid); exit(); }"
    )
    assert f"1 1 {os.getpid()}" in text


def test_chains_loops_and_null() -> None:
    text = run(
        "BEGIN { $t = curtask; $n = 0; while ($t.tgid != 0) { $t = $t.real_parent; $n++ }"
        ' printf("%d %d %s\\n", $n > 0, curtask.real_parent.tgid, curtask.real_parent.comm);'
        ' printf("%d\\n", ((struct task_struct *)0).pid); exit(); }'
    )
    name = Path("/proc/self/comm").read_text().strip()
    assert f"1 {os.getpid()} {name}\n0" in text


def test_arguments_of_system_calls() -> None:
    text = run(
        "t:syscalls:sys_enter_lseek /pid == cpid/ { print((args.fd, args.offset, args.whence)); }"
        " t:syscalls:sys_exit_lseek /pid == cpid/ { print((comm, args.ret)); }",
        "-c",
        "dd if=/etc/passwd of=/dev/null bs=7 skip=1 count=1 status=none",
    )
    assert "(0, 7, 1)\n(dd, 7)" in text


def test_the_plan_says_how_and_why() -> None:
    text = run(
        "t:syscalls:sys_enter_access"
        " { @n = count(); @[str(args.filename)] = sum(curtask.pid); @p[comm] = count(); }",
        "-d",
        "plan",
    )
    lines = [line.split(":")[-1] for line in text.splitlines()]
    assert "map @n: percpu array of 1 (its only key is constant)" in text
    assert (
        "map @: percpu hash, and one for keys of at most 64 bytes (it only adds up, by keys" in text
    )
    assert any("probe_read_user_str (user memory may be missing)" in line for line in lines)
    assert any("two loads (comm is a member" in line for line in lines)
