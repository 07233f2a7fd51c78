"""Probes on functions of the kernel, where it has them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.requires("kprobe", "btf", "tracefs")]

Trace = Callable[..., list[str]]
PID = os.getpid()
WAYS = {"session": (), "multi": ("kprobe_session",), "single": ("kprobe_session", "kprobe_multi")}
ways = pytest.mark.parametrize("without", [*map(frozenset, WAYS.values())], ids=WAYS)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


def nap() -> None:
    time.sleep(0.01)


@pytest.mark.short
@ways
def test_arguments_and_return_values(trace: Trace, file: int, without: frozenset[str]) -> None:
    script = """
        k:vfs_read /tid == $1/ { printf("%s %s %d %d\\n", probe, func, arg2, reg("dx")); }
        kr:vfs_read /tid == $1/ { printf("%s %s %d\\n", probe, func, retval); }
    """
    assert trace(script, lambda: os.read(file, 300), without=without) == [
        "kprobe:vfs_read vfs_read 300 300",
        "kretprobe:vfs_read vfs_read 100",
    ]


@pytest.mark.short
@ways
def test_matches_of_a_pair_of_wildcards(trace: Trace, file: int, without: frozenset[str]) -> None:
    script = """
        k:vfs_rea* /tid == $1/ { @entered[probe, func] = count(); @at[tid] = arg2; }
        kr:vfs_rea* /@at[tid]/ { @left[probe, func, @at[tid], retval] = count(); delete(@at, tid); }
    """

    def work() -> None:
        os.read(file, 3)
        os.readv(file, [bytearray(1)])

    assert trace(script, work, without=without) == [
        "@entered[kprobe:vfs_read, vfs_read]: 1",
        "@entered[kprobe:vfs_readv, vfs_readv]: 1",
        "@left[kretprobe:vfs_read, vfs_read, 3, 3]: 1",
        "@left[kretprobe:vfs_readv, vfs_readv, 1, 1]: 1",
    ]


@pytest.mark.short
@ways
def test_blocks_on_one_function_run_in_the_scripts_order(
    trace: Trace, file: int, without: frozenset[str]
) -> None:
    script = """
        k:vfs_read /tid == $1/ { print(1); }
        kr:vfs_read /tid == $1/ { print(4); }
        k:vfs_read /tid == $1/ { print(2); }
        kr:vfs_read /tid == $1/ { print(5); }
        k:vfs_rea* /tid == $1/ { print(3); }
    """
    lines = trace(script, lambda: os.read(file, 1), without=without)
    assert lines == ["1", "2", "3", "4", "5"]


@pytest.mark.short
@ways
def test_matches_of_a_wildcard_tell_who_they_are(
    trace: Trace, file: int, without: frozenset[str]
) -> None:
    script = "k:vfs_rea*,k:vfs_writ* /tid == $1/ { @[probe, func] = count(); }"

    def work() -> None:
        os.read(file, 1)
        os.readv(file, [bytearray(1)])
        os.read(file, 1)
        os.write(null, b"x")

    null = os.open("/dev/null", os.O_WRONLY)
    try:
        lines = trace(script, work, without=without)
    finally:
        os.close(null)
    assert sorted(lines) == [
        "@[kprobe:vfs_read, vfs_read]: 2",
        "@[kprobe:vfs_readv, vfs_readv]: 1",
        "@[kprobe:vfs_write, vfs_write]: 1",
    ]


def test_many_functions_are_one_link(trace: Trace, file: int) -> None:
    start = time.monotonic()
    lines = trace("k:vfs_* /tid == $1/ { @ = count(); }", lambda: os.read(file, 1))
    assert re.fullmatch(r"@: [1-9]\d*", lines[0])
    assert time.monotonic() - start < 30


@pytest.mark.short
def test_inside_a_function(trace: Trace, file: int) -> None:
    with open("/proc/kallsyms") as symbols:
        address = next(line.split()[0] for line in symbols if line.endswith(" vfs_read\n"))
    # the second instruction: kernels since 6.2 begin functions with endbr64, 4 bytes; a nop has 5
    second = 5 if os.uname().release.startswith("6.1.") else 4
    script = f"""
        k:vfs_read+{second} /tid == $1/ {{ printf("%s %s\\n", probe, func); }}
        k:0x{address} /tid == $1/ {{ print("address"); }}
    """
    lines = trace(script, lambda: os.read(file, 1))
    assert sorted(lines) == ["address", f"kprobe:vfs_read+{second} vfs_read"]


def test_a_function_of_a_named_module(trace: Trace, file: int) -> None:
    script = "k:vmlinux:vfs_read /tid == $1/ { print(probe); }"
    assert trace(script, lambda: os.read(file, 1)) == ["kprobe:vmlinux:vfs_read"]


def test_structures_behind_arguments(trace: Trace, file: int) -> None:
    script = """
        k:vfs_read /tid == $1/ {
            $file = (struct file *)arg0;
            printf("%d %d %s\\n", $file->f_inode->i_ino, $file->f_inode->i_sb->s_dev,
                   str($file->f_path.dentry->d_name.name));
        }
    """
    known = os.fstat(file)
    device = os.major(known.st_dev) << 20 | os.minor(known.st_dev)
    lines = trace(script, lambda: os.read(file, 1))
    assert lines == [f"{known.st_ino} {device} file"]


@ways
def test_kernel_stacks(trace: Trace, without: frozenset[str]) -> None:
    script = """
        k:do_nanosleep /tid == $1/ { @[kstack] = count(); print(kstack(raw, 1)); }
        kr:do_nanosleep /tid == $1/ { @back[kstack(2)] = count(); }
    """
    text = "\n".join(trace(script, nap, without=without))
    assert re.search(r"^@\[\n\s+do_nanosleep\+\d+\n(\s+\S+\+\d+\n){4,}\]: 1$", text, re.M), text
    assert re.match(r"\s*[0-9a-f]{16}\n", text), text
    assert re.search(r"^@back\[\n\s+hrtimer_nanosleep\+\d+\n\s+\S+\+\d+\n\]: 1$", text, re.M), text


def test_a_process(trace: Trace, file: int) -> None:
    def work() -> None:
        child = os.fork()
        if child == 0:
            os.read(file, 1)
            os._exit(0)
        os.waitpid(child, 0)
        os.read(file, 1)

    (line,) = trace("k:vfs_read { @[pid] = count(); }", work, pid=PID)
    assert line.startswith(f"@[{PID}]: ")


def test_the_name_of_a_process(trace: Trace, file: int) -> None:
    comm = Path("/proc/self/comm").read_text().strip()
    script = """
        k:vfs_read /comm == str($2) && tid == $1/ { @same = count(); }
        k:vfs_read /comm != str($2) && tid == $1/ { @other = count(); }
    """
    assert trace(script, lambda: os.read(file, 1), comm) == ["@same: 1"]


def test_time_between_entry_and_return(trace: Trace) -> None:
    script = """
        k:do_nanosleep /tid == $1/ { @start[tid] = nsecs; }
        kr:do_nanosleep /@start[tid]/ {
            @slow = (nsecs - @start[tid]) > 900000;
            @us = hist((nsecs - @start[tid]) / 1000);
            delete(@start, tid);
        }
    """
    lines = trace(script, nap)
    assert "@slow: true" in lines and "@us:" in lines and len(lines) == 3, lines


def test_loops(trace: Trace, file: int) -> None:
    script = """
        k:vfs_read /tid == $1/ {
            $i = 0;
            while ($i < 300) { $i++; if ($i % 2) { continue; } @even++; if ($i == 200) { break; } }
            unroll(3) { @seen[$i] = count(); $i++; }
            for ($n : 0..5) { @sum += $n; }
            for ($kv : @seen) { @keys += (uint64)$kv.0; }
        }
    """
    lines = trace(script, lambda: os.read(file, 1))
    assert lines == [
        "@even: 100", "@keys: 603", "@seen[200]: 1", "@seen[201]: 1", "@seen[202]: 1", "@sum: 10",
    ]  # fmt: skip


def test_beside_probes_of_other_kinds(trace: Trace, file: int) -> None:
    def work() -> None:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            os.read(file, 1)

    script = """
        begin { print("begin"); }
        k:vfs_read /tid == $1/ { @probe = count(); }
        t:syscalls:sys_enter_read /tid == $1/ { @tracepoint = count(); }
        t:raw_syscalls:sys_exit /tid == $1/ { @plain = count(); }
        profile:hz:99 /tid == $1/ { @profile = count(); @stacks[kstack(2)] = count(); }
        end { print("end"); clear(@stacks); }
    """
    lines = trace(script, work)
    assert lines[:2] == ["begin", "end"]
    counts = {name: int(n) for name, n in (line.split(": ") for line in lines[2:])}
    assert counts["@probe"] == counts["@tracepoint"] <= counts["@plain"]
    assert 0 < counts["@profile"] < counts["@probe"]


def test_variables_of_each_cpu(trace: Trace, file: int) -> None:
    """Each has its own; the run queue of this one knows which it is of."""
    script = """
        kprobe:vfs_read /tid == $1/ {
            $rq = (struct rq *)percpu_kaddr("runqueues");
            print(($rq.cpu == cpu, percpu_kaddr("runqueues", cpu) == (uint64)$rq,
                   percpu_kaddr("runqueues", 5000)));
        }
    """
    assert trace(script, lambda: os.read(file, 3)) == ["(true, true, 0)"]
