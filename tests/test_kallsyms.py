"""Addresses of the kernel's functions by name, with and without a module."""

from __future__ import annotations

from pathlib import Path

from bpfscript.runtime.kallsyms import addresses

TEXT = """\
ffffffff81000010 T vfs_read
ffffffff81000020 t helper
ffffffff81000030 t helper
ffffffffc0200010 t helper\t[mod]
ffffffffc0200020 T vfs_read\t[other]
"""


def test_addresses(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    path.write_text(TEXT)
    wanted = {"vfs_read", "helper", "mod:helper", "mod:none"}
    assert addresses(wanted, str(path)) == {
        "vfs_read": [0xFFFFFFFF81000010],
        "helper": [0xFFFFFFFF81000020, 0xFFFFFFFF81000030],
        "mod:helper": [0xFFFFFFFFC0200010],
    }


def test_addresses_of_what_is_traceable(tmp_path: Path) -> None:
    path = tmp_path / "available_filter_functions_addrs"
    path.write_text("ffffffff81000030 helper\nffffffffc0200014 helper [mod]\n")
    assert addresses({"helper", "mod:helper", "none"}, str(path)) == {
        "helper": [0xFFFFFFFF81000030],
        "mod:helper": [0xFFFFFFFFC0200014],
    }
