"""fentry, fexit and iterators: programs that the kernel ties to a function when they are loaded."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

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
