"""Targets in files: what they tell, compiling for them, checking scripts, damaged ones."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import bpfscript
from bpfscript import target_file
from bpfscript.backends import elf
from bpfscript.runtime.live_target import LiveTarget
from bpfscript.target import FEATURES, MachineError, RecordedTarget, UsdtProbe, UserSymbol

FORMAT = """name: one
ID: 1
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;

\tfield:int n;\toffset:8;\tsize:4;\tsigned:1;

print fmt: "%d", REC->n
"""
SCRIPT = "tracepoint:a:one { @[args.n] = count(); }"
MUTATIONS = 400


def recorded() -> RecordedTarget:
    symbols = [UserSymbol("main", 0x1000, 16, 0x1000), UserSymbol("_Z1fv", 0x1010, 16, 0x1010)]
    return RecordedTarget(
        release=(6, 1, 2), cpus=8, pid_namespace=(4, 5),
        features=frozenset(FEATURES) - {"may_goto", "kprobe_multi"},
        formats={("a", "one"): FORMAT}, functions=(("", "vfs_read"), ("ext4", "ext4_sync")),
        symbols={"jiffies": 1 << 63}, files={"/bin/x": symbols}, demangled={"_Z1fv": "f()"},
        usdt={"/bin/x": [UsdtProbe("p", "n", 0x1004, 0x1004, 0, "4@%edi")]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def data() -> bytes:
    return target_file.write(recorded(), ["jiffies", "/bin/x"])


WITHOUT_RIGHTS = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")


def tool(*words: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "bpfscript.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_it_answers_as_the_machine_did(data: bytes) -> None:
    told, first = target_file.read(data), recorded()
    for name in ("release", "arch", "cpus", "pid_namespace", "features", "raw_events"):
        assert getattr(told, name) == getattr(first, name)
    assert told.tracepoints("a", "*") == [("a", "one")]
    assert told.tracepoint_format("a", "one") == FORMAT and told.btf is None
    assert told.kernel_functions("*") == first.kernel_functions("*")
    assert told.kernel_symbol("jiffies") == 1 << 63
    assert told.user_file("/bin/x") == ["/bin/x"] and told.demangle("_Z1fv") == "f()"
    assert told.user_symbols("/bin/x") == first.user_symbols("/bin/x")
    assert told.usdt_probes("/bin/x") == first.usdt_probes("/bin/x")
    assert target_file.write(told, ["jiffies", "/bin/x"]) == data


def test_what_was_not_recorded_is_told_apart_from_what_is_not_there(data: bytes) -> None:
    told = target_file.read(data, "a.target")
    with pytest.raises(MachineError, match=r"a\.target does not tell about vfs_read") as raised:
        told.kernel_symbol("vfs_read")
    assert raised.value.hint == "bpfscript target save a.target vfs_read"
    for ask in (told.user_file, told.user_symbols, told.user_image, told.cgroup_id):
        with pytest.raises(MachineError, match="/bin/y"):
            ask("/bin/y")
    with pytest.raises(MachineError, match="no kernel symbol, program or library nosuch"):
        target_file.write(recorded(), ["nosuch"])


def test_other_files_are_refused(data: bytes) -> None:
    for other, why in (
        (b"", "is no target"),
        (b"bpfscript targets\n", "is no target"),
        (data.replace(b"target 1\n", b"target 7\n", 1), "has format 7"),
        (data[:-1], "is damaged"),
        (data[:30], "is damaged"),
    ):
        with pytest.raises(bpfscript.ObjectError, match=why):
            target_file.read(other)


def test_a_part_that_claims_too_little_is_not_unpacked_whole(data: bytes) -> None:
    bomb = zlib.compress(bytes(1 << 24))
    head = data[: data.index(b"\n") + 1]
    with pytest.raises(bpfscript.ObjectError, match="length it claims"):
        target_file.read(head + struct.pack("<II", len(bomb), 10) + bomb)


def test_damage_is_a_typed_error(data: bytes) -> None:
    """Behind the checksums, too: the facts are changed and packed again."""
    at = data.index(b"\n") + 1
    packed, _ = struct.unpack_from("<II", data, at)
    facts, rest = zlib.decompress(data[at + 8 : at + 8 + packed]), data[at + 8 + packed :]
    draw, refused = random.Random(4), 0
    for number in range(MUTATIONS):
        changed = bytearray(facts if number % 2 else data)
        for _ in range(draw.randint(1, 4)):
            changed[draw.randrange(len(changed))] = draw.choice(b'0{}[]",:a\xff')
        again = zlib.compress(changed)
        lengths = struct.pack("<II", len(again), len(changed))
        try:
            target = target_file.read(
                data[:at] + lengths + again + rest if number % 2 else bytes(changed)
            )
            bpfscript.compile(SCRIPT, target=target)
        except (MachineError, bpfscript.ScriptError):
            refused += 1
    assert refused > MUTATIONS / 2


def test_compiling_needs_neither_the_machine_nor_rights(data: bytes, tmp_path: Path) -> None:
    path, out = tmp_path / "a.target", tmp_path / "x.o"
    path.write_bytes(data)
    before = WITHOUT_RIGHTS if os.geteuid() == 0 else ()
    done = tool("--target", path, "--emit", out, "-e", SCRIPT, before=before)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    artifact = elf.read(out.read_bytes())
    assert artifact == bpfscript.compile(SCRIPT, target=path, name="stdin")
    done = tool("--target", path, "-d", "ir", "-e", SCRIPT)
    assert done.returncode == 0 and "aggregate" in done.stdout
    done = tool("--target", path, "-l", "k:*")
    assert done.stdout == "kprobe:ext4_sync\nkprobe:vfs_read\n"


@pytest.mark.parametrize("more", [(), ("-d", "ir", "-c", "true"), ("-d", "ir", "-p", "1")])
def test_nothing_runs_for_another_machine(data: bytes, tmp_path: Path, more: tuple[str]) -> None:
    (tmp_path / "a.target").write_bytes(data)
    done = tool("--target", tmp_path / "a.target", "-e", SCRIPT, *more)
    assert done.returncode == 1 and done.stderr.startswith("ERROR: USAGE: ")


def test_check(data: bytes, tmp_path: Path) -> None:
    fit, poor, script = (tmp_path / name for name in ("fit.target", "poor.target", "s.bt"))
    fit.write_bytes(data)
    other = recorded()
    other.formats, other.features = {}, other.features - {"ringbuf"}
    poor.write_bytes(target_file.write(other))
    script.write_text(f'{SCRIPT}\nkprobe:*r* {{ printf("%d", $1); }}\n')
    done = tool("check", script, "7", "--target", fit)
    assert (done.returncode, done.stderr) == (0, "")
    head, *lines = done.stdout.splitlines()
    assert head == f"{fit}: runs (Linux 6.1.2, x86_64, 8 CPUs)"
    assert lines[0].split() == ["tracepoint:a:one", "1", "place", "by", "tracepoint"]
    assert "by kprobe" in lines[1]
    assert lines[-1].strip().startswith("does without kprobe_multi (")
    done = tool("check", script, "7", "--target", fit, "--target", poor)
    assert done.returncode == 1 and f"{poor}: does not run" in done.stdout
    assert "s.bt:1:1-17: ERROR: " in done.stdout
    done = tool("check", "--target", poor, "-e", 'begin { printf("x"); }')
    assert done.returncode == 1 and "lacks ringbuf (" in done.stdout


@pytest.mark.kernel
@pytest.mark.requires("tracefs", "btf")
def test_this_machine_from_a_file_compiles_to_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "here.target"
    bpfscript.save_target(path, "vfs_read")
    assert path.stat().st_size < 8 << 20 and [*tmp_path.iterdir()] == [path]
    for script in (
        "tracepoint:sched:* { @[probe] = count(); }",
        "t:syscalls:sys_enter_openat { @[str(args.filename), curtask.tgid] = hist(nsecs); }",
        'begin { printf("%p", kaddr("vfs_read")); } iter:task { @ = count(); }',
        "rawtracepoint:sched_switch { @[args.prev.comm] = count(); }",
    ):
        there = bpfscript.compile(script, target=path)
        assert elf.write(there) == elf.write(bpfscript.compile(script, target=LiveTarget()))


@pytest.mark.kernel
def test_saving_is_whole_or_not_at_all(tmp_path: Path) -> None:
    done = tool("target", "save", tmp_path / "a.target", "no such symbol")
    assert done.returncode == 1 and not [*tmp_path.iterdir()]
    assert "USAGE: target save FILE" in tool("target", "keep", "x").stderr
