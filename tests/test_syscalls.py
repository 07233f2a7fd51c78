from __future__ import annotations

import os

import pytest

from bpfscript.syscalls import numbers


def test_known_numbers() -> None:
    table = numbers("x86_64")
    known = {
        "read": 0, "newfstat": 5, "sendfile64": 40, "execve": 59, "newuname": 63, "umount": 166,
        "openat": 257, "bpf": 321, "uprobe": 336, "clone3": 435, "cachestat": 451,
        "file_setattr": 469,
    }  # fmt: skip
    assert {name: table[name] for name in known} == known
    assert len(set(table.values())) == len(table)


def test_other_machines_have_no_table() -> None:
    assert numbers("vax") == {}


@pytest.mark.requires("tracefs")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="missing: x86_64")
def test_every_system_call_of_this_kernel_has_a_number() -> None:
    events = os.listdir("/sys/kernel/tracing/events/syscalls")
    calls = {e.removeprefix("sys_enter_") for e in events if e.startswith("sys_enter_")}
    assert calls and not calls - set(numbers("x86_64"))
