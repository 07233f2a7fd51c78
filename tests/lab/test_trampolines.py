"""fentry, fexit and iterators: programs that the kernel ties to a function when they are loaded."""

from __future__ import annotations

import os
import re
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpfscript import driver
from bpfscript.diagnostics import Source
from bpfscript.frontend.typed import Options
from bpfscript.listing import Listing
from bpfscript.runtime.errors import BpfError, KernelError
from bpfscript.runtime.live_target import LiveTarget

pytestmark = [pytest.mark.kernel, pytest.mark.requires("btf", "tracefs")]
needs_fentry = pytest.mark.requires("fentry")

Trace = Callable[..., list[str]]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@needs_fentry
@pytest.mark.short
def test_typed_arguments_and_return_values(trace: Trace, file: int) -> None:
    script = """
        fentry:vfs_read /tid == $1/ {
            printf("%s %s %d %s %d\\n", probe, func, args.count,
                   str(args.file->f_path.dentry->d_name.name), args->file->f_inode->i_size);
        }
        fexit:vmlinux:vfs_read /tid == $1/ {
            printf("%s %s %d %d\\n", probe, func, args.count, retval);
        }
    """
    assert trace(script, lambda: os.read(file, 300)) == [
        "fentry:vmlinux:vfs_read vfs_read 300 file 100",
        "fexit:vmlinux:vfs_read vfs_read 300 100",
    ]


@needs_fentry
def test_negative_results_and_pointers(trace: Trace, file: int) -> None:
    script = """
        fexit:vfs_write /tid == $1/ { printf("%d\\n", retval); }
        fentry:vfs_write /tid == $1 && args.buf != 0 && args.file/ {
            @[args.file == (struct file *)0, (uint64)args.file > 100] = count();
        }
    """

    def work() -> None:
        with pytest.raises(OSError):
            os.write(file, b"x")

    assert trace(script, work) == ["-9", "@[false, true]: 1"]


@needs_fentry
def test_matches_of_a_wildcard_tell_who_they_are(trace: Trace, file: int) -> None:
    def work() -> None:
        os.read(file, 1)
        os.readv(file, [bytearray(1)])
        os.read(file, 1)

    lines = trace("f:vfs_rea* /tid == $1/ { @[probe, func] = count(); }", work)
    assert sorted(lines) == [
        "@[fentry:vmlinux:vfs_read, vfs_read]: 2",
        "@[fentry:vmlinux:vfs_readv, vfs_readv]: 1",
    ]


@needs_fentry
@pytest.mark.requires("kprobe_multi")
def test_a_kprobe_takes_the_place_of_many_trampolines(
    machine: LiveTarget, trace: Trace, file: int
) -> None:
    entered = "f:vfs_* /tid == $1/ { @[probe, func] = count(); }"
    left = "fr:vfs_* /tid == $1/ { @[probe] = count(); }"
    options = Options(positional=("1",))
    for script, kind in ((entered, "kprobe"), (left, "kretprobe")):
        (probe,) = driver.compile(Source("many", script), machine, options).artifact.manifest.probes
        assert {place.kind for place in probe.attachments} == {kind}

    def work() -> None:
        os.read(file, 1)
        os.readv(file, [bytearray(1)])

    names = [f"fentry:vmlinux:vfs_{name}" for name in ("read", "readv")]
    assert sorted(trace(entered, work)) == [f"@[{n}, {n.split(':')[-1]}]: 1" for n in names]
    assert sorted(trace(left, work)) == [f"@[{n.replace('entry', 'exit')}]: 1" for n in names]


@needs_fentry
def test_functions_that_no_trampoline_can_call_match_no_wildcard(machine: LiveTarget) -> None:
    listing = "f:seq_p* { @[probe] = count(); }"  # seq_printf() takes any number of arguments
    program = driver.compile(Source("some", listing), machine, Options()).artifact.manifest
    names = {place.name for probe in program.probes for place in probe.attachments}
    assert "fentry:vmlinux:seq_puts" in names or "fentry:vmlinux:seq_putc" in names
    assert "fentry:vmlinux:seq_printf" not in names


@needs_fentry
def test_blocks_run_in_the_scripts_order(trace: Trace, file: int) -> None:
    script = """
        f:vfs_read /tid == $1/ { print(1); }
        fr:vfs_read /tid == $1/ { print(3); }
        f:vfs_read /tid == $1/ { print(2); }
        fr:vfs_read /tid == $1/ { print(4); }
    """
    assert trace(script, lambda: os.read(file, 1)) == ["1", "2", "3", "4"]


@needs_fentry
def test_stacks(trace: Trace) -> None:
    lines = trace(
        "f:do_nanosleep /tid == $1/ { print(kstack(3)); print(ustack(2)); }",
        lambda: time.sleep(0.001),
    )
    assert lines[0].split("+")[0].strip() in ("do_nanosleep", "hrtimer_nanosleep"), lines


@pytest.mark.requires("kprobe")
@pytest.mark.short
def test_kprobes_take_the_place_of_trampolines(plain: Trace, file: int) -> None:
    script = """
        f:vfs_read /tid == $1/ { printf("%s %d\\n", probe, args.count); }
        fr:vfs_read /tid == $1/ { printf("%s %d\\n", probe, retval); }
    """
    assert plain(script, lambda: os.read(file, 300)) == [
        "fentry:vmlinux:vfs_read 300",
        "fexit:vmlinux:vfs_read 100",
    ]


@needs_fentry
def test_a_loaded_program(trace: Trace, file: int) -> None:
    inner = "rawtracepoint:sys_enter /tid == $1/ { @ = count(); }"
    outer = "f:bpf:rawtracepoint_1 { @[probetype] = count(); }"
    seen: list[str] = []

    def work() -> None:
        os.getppid()

    # the outer script is compiled while the inner one is loaded
    trace(inner, lambda: seen.extend(trace(outer, work)))
    assert seen and seen[0].startswith("@[fentry]: ")


@pytest.mark.requires("iter")
@pytest.mark.short
def test_every_task(trace: Trace) -> None:
    comm = Path("/proc/self/comm").read_text().strip()
    script = """
        iter:task { if (ctx.task->tgid == $2) { printf("%s\\n", ctx.task->comm); } @n = count(); }
    """
    lines = trace(script, lambda: None, os.getpid())
    assert comm in lines and int(lines[-1].split()[-1]) > 5, lines


@pytest.mark.requires("iter")
def test_files_and_areas_of_tasks(trace: Trace, file: int) -> None:
    script = """
        iter:task_file /ctx.task && ctx.task->tgid == $2 && ctx.fd == $3/ {
            printf("%s\\n", str(ctx.file->f_path.dentry->d_name.name));
        }
    """
    assert set(trace(script, lambda: None, os.getpid(), file)) == {"file"}
    script = (
        "iter:task_vma /ctx.task->tgid == $2/ { @[ctx.vma->vm_start < ctx.vma->vm_end] = count(); }"
    )
    (line,) = trace(script, lambda: None, os.getpid())
    assert line.startswith("@[true]: ")


@pytest.mark.requires("iter")
def test_no_record_of_an_iterator_is_lost(trace: Trace) -> None:
    script = """
        config = { perf_rb_pages = 4 }
        iter:task_vma { printf("%-200s|\\n", "x"); @n++; }
    """
    lines = trace(script, lambda: None)
    assert len(lines) - 1 == int(lines[-1].split()[-1]) > 100


@pytest.mark.requires("iter")
@pytest.mark.short
def test_a_pinned_iterator_is_a_file(trace: Trace, name: str) -> None:
    script = f"""
        iter:task:{name} /ctx.task->tgid == $2/ {{
            printf("%s|%-8s|%d|%x|%5u|%c%%\\n", ctx.task->comm, "x", -1, (int8)-1, 7, 65);
            @n = count();
        }}
    """
    comm = Path("/proc/self/comm").read_text().strip()
    trace(script, lambda: None, os.getpid())
    path = Path("/sys/fs/bpf") / name
    assert f"{comm}|x       |-1|ff|    7|A%" in path.read_text().splitlines()
    with pytest.raises(BpfError, match=f"{path}: File exists"):
        trace(script, lambda: None, os.getpid())
    path.unlink()


@pytest.fixture
def name() -> str:
    if not os.path.ismount("/sys/fs/bpf"):
        subprocess.run(["mount", "-t", "bpf", "bpf", "/sys/fs/bpf"], check=True)
    return f"lab-{os.getpid()}"


OF_ONE_MAP = {"bpf_map_elem", "bpf_sk_storage_map", "sockmap"}  # a script cannot name it


@pytest.mark.requires("iter")
def test_every_kind_of_iterator(trace: Trace, machine: LiveTarget) -> None:
    listed = list(Listing(machine, Options(), print).patterns("iter:*"))
    assert {"iter:task", "iter:task_file", "iter:bpf_map", "iter:tcp", "iter:ksym"} <= set(listed)
    refused = {}
    for name in listed:
        try:
            lines = trace(f"{name} {{ @ = count(); }}", lambda: None)
            assert all(re.fullmatch(r"@: \d+", line) for line in lines), name
        except KernelError as error:
            refused[name.removeprefix("iter:")] = str(error)
    assert refused.keys() <= OF_ONE_MAP, refused


@needs_fentry
def test_objects(trace: Trace, file: int) -> None:
    """What takes a pointer that the verifier knows."""
    script = """
        fentry:filp_close /tid == $1/ {
            $file = args.filp;
            printf("%s %s\\n", path($file.f_path), path(args.filp->f_path, 8));
        }
        fentry:tcp_close /tid == $1/ { print(socket_cookie(args.sk) != 0); }
    """

    null = os.open("/dev/null", os.O_RDONLY)

    def work() -> None:
        os.dup2(file, null)  # close() goes this way up to 6.5 only
        socket.socket(socket.AF_INET).close()

    try:
        first, *others = trace(script, work)  # with the socket's path among them, up to 6.5
        assert first == "/dev/null ev/null" and "true" in others
    finally:
        os.close(null)


@needs_fentry
def test_packets(trace: Trace, tmp_path: Path) -> None:
    """Files of packets: a whole one, a part, and none of what is longer than the packet."""
    script = """
        fentry:ip_send_skb /tid == $1/ {
            printf("%d ", skboutput("DIR/whole", args.skb, args.skb.len, 0));
            printf("%d ", skboutput("DIR/part", args.skb, 32, 28));
            printf("%d\\n", skboutput("DIR/none", args.skb, 100000, 0));
        }
    """
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    before = time.time()

    def work() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"hello", ("127.0.0.1", 9))

    assert trace(script.replace("DIR", str(tmp_path)), work) == ["0 0 -14"]
    header = bytes.fromhex("d4c3b2a1 02000400 00000000 00000000 ffff0000 65000000")
    for name, length, starts in (("whole", 33, b"\x45\0"), ("part", 4, b"hell")):
        data = (tmp_path / name).read_bytes()
        seconds, micros, kept, of = struct.unpack_from("<4I", data, len(header))
        packet = data[len(header) + 16 :]
        assert data.startswith(header) and packet.startswith(starts)
        assert kept == of == len(packet) == length
        assert before - 1 <= seconds + micros / 1e6 <= time.time() + 1
    assert not (tmp_path / "none").exists()
