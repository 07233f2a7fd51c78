"""Sessions that are refused, fail half-way or are killed leave nothing."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from session_support import BEGIN, EXIT, GETPID, R1, TICK, Assembler, Notes, artifact, run

from bpfscript.manifest import (
    Attach,
    MapDef,
    MapType,
)
from bpfscript.runtime.errors import BpfError
from bpfscript.runtime.process import Child
from bpfscript.runtime.session import Session
from bpfscript.runtime.sys import Cmd, Kernel, MapCreate, PerfEventAttr, ProgLoad
from bpfscript.target import MachineError
from bpfscript.types import UINT64

KILLED = """
import sys; sys.path.insert(0, {folder!r})
import session_support as t
made = t.artifact((t.TICK, t.Assembler().send(t.PRINTF, 1)), (t.GETPID, t.Assembler().add("@n")))
class P(t.Notes):
    def event(self, event, data): print("tick", flush=True)
t.run.__globals__["Notes"] = P
t.run(made)
"""


def links_of(pid: int | str) -> set[int]:
    """The ids of the BPF links that a process holds."""
    infos = [path.read_text() for path in Path(f"/proc/{pid}/fdinfo").iterdir() if path.exists()]
    return {int(found) for info in infos for found in re.findall(r"^link_id:\s*(\d+)", info, re.M)}


def exists(link: int) -> bool:
    """Whether there is still a link of this id (BPF_LINK_GET_NEXT_ID)."""
    attr = (ctypes.c_uint32 * 3)(link - 1)
    return ctypes.CDLL(None).syscall(321, 31, attr, 12) == 0 and attr[1] == link


@pytest.mark.kernel
def test_kill_leaves_nothing_attached() -> None:
    script = KILLED.format(folder=str(Path(__file__).parent))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"tick\n"
        during = links_of(process.pid)
        process.kill()
    assert len(during) >= 2
    deadline = time.monotonic() + 5
    while any(map(exists, during)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(exists, during))


class Refusing(Kernel):
    """A kernel that fails from the n-th call of one kind on; the others go to the real one."""

    def __init__(self, cmd: Cmd | str, number: int, after: int = 0) -> None:
        self.cmd, self.number, self.after = cmd, number, after

    def _judge(self, cmd: Cmd | str, name: str) -> None:
        if cmd == self.cmd:
            self.after -= 1
            if self.after < 0:
                raise BpfError(name, self.number)

    def bpf(self, cmd: Cmd, attr: ctypes.Structure, what: str = "") -> int:
        self._judge(cmd, f"BPF_{cmd.name}")
        return super().bpf(cmd, attr, what)

    def perf_event_open(self, attr: PerfEventAttr, pid: int, cpu: int) -> int:
        self._judge("perf", "perf_event_open")
        return super().perf_event_open(attr, pid, cpu)

    def ioctl(self, fd: int, request: int, argument: int = 0) -> int:
        self._judge("ioctl", "ioctl")
        return super().ioctl(fd, request, argument)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("cmd", "number", "after"),
    [
        (Cmd.MAP_CREATE, errno.ENOMEM, 1),
        (Cmd.PROG_LOAD, errno.ENOMEM, 1),
        (Cmd.PROG_TEST_RUN, errno.ENOMEM, 0),
        (Cmd.LINK_CREATE, errno.ENOMEM, 0),
        (Cmd.LINK_CREATE, errno.ENOMEM, 2),
        ("perf", errno.EMFILE, 1),
        ("ioctl", errno.ENOMEM, 1),
        (Cmd.MAP_LOOKUP_BATCH, errno.ENOMEM, 0),
    ],
)
def test_a_failure_half_way_closes_everything(cmd: Cmd | str, number: int, after: int) -> None:
    made = artifact((BEGIN, Assembler().send(EXIT, 0)), (TICK, Assembler()), (GETPID, Assembler()))
    made.manifest.probes[1].attachments += (Attach("profile", "profile:hz:9", frequency=9),)
    before = links_of("self")
    with pytest.raises(MachineError):
        run(made, kernel=Refusing(cmd, number, after))
    assert links_of("self") <= before


@pytest.mark.kernel
@pytest.mark.parametrize("place", [TICK, GETPID], ids=lambda place: place.kind)
def test_without_perf_links_programs_are_set_by_ioctl(place: Attach) -> None:
    made = artifact((place, Assembler().add("@n").send(EXIT, 6)), (TICK, Assembler()))
    timer = threading.Timer(0.1, os.getppid)
    timer.start()
    assert run(made, kernel=Refusing(Cmd.LINK_CREATE, errno.EINVAL))[0] == 6
    timer.join()


def test_without_rights_one_line_says_so() -> None:
    with pytest.raises(MachineError, match=r"needs root \(BPF_MAP_CREATE") as caught:
        run(artifact((BEGIN, Assembler())), kernel=Refusing(Cmd.MAP_CREATE, errno.EPERM))
    assert caught.value.hint and "CAP_BPF" in caught.value.hint


class Recording(Kernel):
    """No kernel at all: remembers what was asked and answers with descriptors of /dev/null."""

    def __init__(self) -> None:
        self.asked: list[ctypes.Structure] = []
        self.code = b""

    def bpf(self, cmd: Cmd, attr: ctypes.Structure, what: str = "") -> int:
        self.asked.append(attr)
        if isinstance(attr, ProgLoad):
            self.code = ctypes.string_at(attr.insns, 8 * attr.insn_cnt)
        return os.open("/dev/null", os.O_RDONLY)


def test_structs_of_a_load() -> None:
    kernel = Recording()
    big = MapDef("@big", MapType.PERCPU_HASH, UINT64, None, 8, 8192, 1 << 30)
    made = artifact((BEGIN, Assembler().address(R1, "@big")), maps=[big])
    with Session(made, Notes(), kernel=kernel, signals=False) as session:
        session.load()
        number = session.maps["@big"].fd.fileno()
    first, second = kernel.asked
    assert isinstance(first, MapCreate) and isinstance(second, ProgLoad)
    assert (first.map_name, first.map_flags, first.max_entries) == (b"_big", 1, 1 << 30)
    assert (second.prog_name, second.insn_cnt, second.log_level) == (b"p0", 4, 0)
    opcode, registers, imm = struct.unpack("<BBxxi", kernel.code[:8])
    assert (opcode, registers, imm) == (0x18, 0x11, number)


def test_children_that_cannot_be() -> None:
    for command in ("no-such-program-here x", "", " x", "/etc", "/etc/passwd"):
        with pytest.raises(MachineError, match="does not exist or is not executable"):
            Child.start(command)


def test_a_child_never_released_never_runs(tmp_path: Path) -> None:
    child = Child.start(f"touch {tmp_path}/x")
    child.close()
    assert child.status == signal.SIGTERM and not (tmp_path / "x").exists()


def test_a_child_that_cannot_be_executed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "x").chmod(0o755)
    child = Child.start(str(tmp_path / "x"))
    with pytest.raises(MachineError, match="Failed to run child: Exec format error"):
        child.release()
    child.close()
