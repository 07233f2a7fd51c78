"""What goes wrong around a run: disks, pipes, processes, floods, other users."""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfscript.output_file import open_output, write_whole
from bpfscript.progress import progress
from bpfscript.target import MachineError

TOOL = [sys.executable, "-m", "bpfscript.cli"]
NOBODY = 65534
pytestmark = pytest.mark.requires("root")


def tool(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TOOL, *words], capture_output=True, text=True, timeout=60, env=os.environ | more
    )


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_device_is_an_error() -> None:
    done = tool("-q", "-o", "/dev/full", "-e", "begin { print(1); }")
    assert done.returncode == 1 and "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_ends_the_run_with_an_error(small_disk: Path) -> None:
    script = 'interval:ms:1 { for ($i : 0..100) { printf("%1000d\\n", $i); } }'
    done = tool("-q", "-o", str(small_disk / "out"), "-e", script)
    assert done.returncode == 1 and "No space left on device" in done.stderr


def test_a_full_disk_leaves_no_half_object(small_disk: Path) -> None:
    (small_disk / "filler").write_bytes(b"x" * 60_000)
    done = tool("--emit", str(small_disk / "x.o"), "-e", "interval:s:1 { @[comm] = hist(pid); }")
    assert done.returncode == 1 and "No space left on device" in done.stderr
    assert os.listdir(small_disk) == ["filler"]


def test_a_device_is_written_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        write_whole(str(pipe), b"all of it")
        assert reader.communicate(timeout=5)[0] == b"all of it"
    assert pipe.is_fifo()


def test_a_closed_pipe_ends_the_run_quietly() -> None:
    script = 'interval:ms:1 { printf("line\\n"); }'
    with subprocess.Popen(
        [*TOOL, "-q", "-e", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == -signal.SIGPIPE
        assert process.stderr.read() == b""


def test_the_end_of_a_watched_process_ends_the_run() -> None:
    with subprocess.Popen(["sleep", "60"]) as victim:
        process = subprocess.Popen(
            [*TOOL, "-p", str(victim.pid), "-e", 'interval:s:9 { } end { print("end"); }'],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr and process.stderr.readline() == "Attached 2 probes\n"
        victim.kill()
        assert process.communicate(timeout=20)[0] == "end\n\n\n"
        assert process.returncode == 0


def test_a_flood_is_shown_or_counted_as_lost() -> None:
    lines = 200_000
    script = f'begin {{ for ($i : 0..{lines}) {{ printf("line %d\\n", $i); }} }}'
    done = tool("-e", script)
    shown = done.stdout.count("line ")
    lost = re.search(r"Total lost event count: (\d+)", done.stderr)
    assert done.returncode == 0 and shown + int(lost[1] if lost else 0) == lines


def test_many_keys_are_all_printed() -> None:
    keys = 100_000
    script = f"begin {{ for ($i : 0..{keys}) {{ @[$i] = $i; }} }}"
    done = tool("-q", "-e", script, BPFTRACE_MAX_MAP_KEYS=str(keys))
    assert done.returncode == 0 and done.stdout.count("\n") == keys + 2


def test_what_could_steer_a_terminal_is_shown() -> None:
    """`comm`, arguments and strings of a traced process, on a terminal."""
    control, terminal = pty.openpty()
    script = (
        "tracepoint:syscalls:sys_enter_execve /pid == cpid/ { join(args.argv); }"
        " tracepoint:sched:sched_process_exit /pid == cpid/ { print(comm); @[comm] = 1;"
        ' printf("%s\\n", comm); }'
    )
    evil = "\x1b]0;owned\x07"
    child = f"{sys.executable} -c open('/proc/self/comm','w').write('a\\x1b[2Jb')#{evil}"
    process = subprocess.Popen(
        [*TOOL, "-q", "-e", script, "-c", child], stdout=terminal, stderr=terminal, stdin=terminal
    )
    os.close(terminal)
    seen = b""
    while True:
        try:
            piece = os.read(control, 4096)
        except OSError:  # EIO: the other side is closed
            break
        seen += piece
    os.close(control)
    seen = re.sub(rb"compiling [^\r]*\r\x1b\[K", b"", seen)  # our own progress
    assert process.wait(20) == 0
    assert b"2Jb" in seen and b"owned" in seen
    assert b"\x1b" not in seen and b"\x07" not in seen


@pytest.fixture
def everybodys(tmp_path: Path) -> Path:
    """A directory like /tmp, though root's."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def test_output_does_not_follow_others_links(everybodys: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    link = everybodys / "out"
    link.symlink_to(precious)
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(MachineError, match="Failed to open output file"):
        open_output(str(link))
    done = tool("-o", str(link), "-e", "begin { print(1); }")
    assert done.returncode == 1 and precious.read_text() == "precious"


def test_output_does_not_fill_others_files(everybodys: Path) -> None:
    theirs = everybodys / "out"
    theirs.write_text("theirs")
    os.chown(theirs, NOBODY, NOBODY)
    with pytest.raises(MachineError, match="it belongs to another user"):
        open_output(str(theirs))
    assert theirs.read_text() == "theirs"


def test_output_may_be_ones_own_link_or_a_device(everybodys: Path, tmp_path: Path) -> None:
    link = everybodys / "mine"
    link.symlink_to(tmp_path / "target")
    with open_output(str(link)) as file:
        file.write(b"through")
    assert (tmp_path / "target").read_bytes() == b"through"
    with open_output("/dev/null") as file:
        file.write(b"gone")


def test_temporary_names_are_not_followed(everybodys: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    (everybodys / f"x.o.{os.getpid()}.tmp").symlink_to(target)
    with pytest.raises(MachineError, match="File exists"):
        write_whole(str(everybodys / "x.o"), b"data")
    assert not target.exists()


def test_imports_that_all_may_write_are_refused(tmp_path: Path) -> None:
    (tmp_path / "lib.bt").write_text("macro f() { 1 }")
    (tmp_path / "lib.bt").chmod(0o666)
    (tmp_path / "a.bt").write_text('import "lib.bt"; begin { print(f()); }')
    done = tool(str(tmp_path / "a.bt"))
    assert done.returncode == 1 and "lib.bt" in done.stderr


def test_kill_leaves_no_pins_and_no_temporary_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    pinned = Path("/sys/fs/bpf")
    before = sorted(pinned.iterdir()) if pinned.exists() else []
    process = subprocess.Popen(
        [*TOOL, "-o", str(out), "-e", 'interval:ms:5 { printf("tick\\n"); }'],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr and process.stderr.readline() == "Attached 1 probe\n"
    end = time.monotonic() + 10
    while not out.stat().st_size and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert set(out.read_text().splitlines()) == {"tick"}
    assert os.listdir(tmp_path) == ["out"]
    assert (sorted(pinned.iterdir()) if pinned.exists() else []) == before


def test_progress_is_for_terminals_after_a_second(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bpfscript.progress.AFTER", 0.05)
    with progress("listing"):
        time.sleep(0.1)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress("listing"):
        pass
    assert capsys.readouterr().err == ""
    with progress("listing"):
        time.sleep(0.2)
    assert capsys.readouterr().err == "listing …\r\033[K"


def test_no_colour_is_never(tmp_path: Path) -> None:
    done = tool("-e", "begin { nosuch }", NO_COLOR="1", BPFTRACE_COLOR="always")
    assert "\033" not in done.stderr
    assert "\033" in tool("-e", "begin { nosuch }", BPFTRACE_COLOR="always").stderr


def test_stands_in_for_bpftrace(tmp_path: Path) -> None:
    command = shutil.which("bpfscript", path=str(Path(sys.executable).parent))
    assert command
    link = tmp_path / "bpftrace"
    link.symlink_to(command)

    def said(*words: str) -> str:
        return subprocess.run([str(link), *words], capture_output=True, text=True).stdout

    assert re.fullmatch(r"bpftrace v0\.27\.1 \(bpfscript \d+\.\d+\.\d+\)\n", said("--version"))
    assert said("-q", "-e", "begin { print(comm); }") == "bpftrace\n\n\n"
    assert tool("-q", "-e", "begin { print(comm); }").stdout == "bpfscript\n\n\n"
    assert tool("-V", BPFSCRIPT_COMPAT="1").stdout == said("-V")
    sections = [line.strip() for line in said("--info").splitlines() if line[:1].strip()]
    assert sections == ["System", "Build", "Kernel helpers", "Kernel features", "Probe types"]
    assert "bpftrace" in said("--help").splitlines()[0]
