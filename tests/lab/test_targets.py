"""A guest as a file: compiling from it gives the bytes that compiling in the guest gives."""

from __future__ import annotations

import pytest

from bpfscript import driver, target_file
from bpfscript.backends import elf
from bpfscript.diagnostics import Source
from bpfscript.runtime.live_target import LiveTarget

pytestmark = [pytest.mark.kernel, pytest.mark.requires("kprobe", "btf", "tracefs")]


def test_from_a_file(machine: LiveTarget) -> None:
    told = target_file.read(target_file.write(machine, ["vfs_read"]))
    for script in (
        'kprobe:vfs_* { @[probe] = count(); } begin { @k = kaddr("vfs_read"); }',
        "fentry:vfs_read { @[args.file->f_path.dentry->d_name.name] = hist(args.count); }",
        "tracepoint:sched:sched_switch { @[args.prev_comm, curtask.tgid] = count(); }",
    ):
        both = [driver.compile(Source("a.bt", script), t).artifact for t in (told, machine)]
        assert elf.write(both[0]) == elf.write(both[1])
