"""The machine at hand, and files made to mislead."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from bpfscript.runtime.cache import Cache
from bpfscript.runtime.elf_functions import function_symbols
from bpfscript.runtime.features import Features
from bpfscript.runtime.live_target import LiveTarget
from bpfscript.runtime.sys import Kernel, kernel_release
from bpfscript.runtime.tracefs import MOUNT_HINT, Tracefs, parse_functions
from bpfscript.target import MachineError, matches

SOURCE = """int add(int a) { return a + 1; }
int add_more(int a) { return a + 2; }
int main(void) { return add(1); }
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    (tmp_path / "prog.c").write_text(SOURCE)
    path = str(tmp_path / "prog")
    subprocess.run(["cc", "-O0", "-o", path, str(tmp_path / "prog.c")], check=True)
    return path


def test_the_machine() -> None:
    target = LiveTarget()
    assert ".".join(map(str, target.release[:2])) in os.uname().release
    assert target.arch == os.uname().machine
    assert target.cpus >= len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("6.18.15+deb13-cloud-amd64", (6, 18, 15)),
        ("6.1.0-37-amd64", (6, 1, 0)),
        ("7.3-rc5-cloud-amd64", (7, 3, 0)),
        ("5.15.167.4-microsoft-standard-WSL2", (5, 15, 167)),
    ],
)
def test_release_with_what_its_makers_add(
    monkeypatch: pytest.MonkeyPatch, release: str, expected: tuple[int, int, int]
) -> None:
    told = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*told[:2], release, *told[3:])))
    assert kernel_release() == expected


def test_no_tracefs(tmp_path: Path) -> None:
    target = LiveTarget(tracefs=Tracefs(str(tmp_path)))
    with pytest.raises(MachineError) as caught:
        target.tracepoints("sched", "sched_switch")
    assert caught.value.hint == MOUNT_HINT


def test_recorded_tracefs(tmp_path: Path) -> None:
    for category, event in (("a", "one"), ("a", "two"), ("b", "one")):
        (tmp_path / "events" / category / event).mkdir(parents=True)
        (tmp_path / "events" / category / event / "format").write_text(f"name: {event}\n")
    (tmp_path / "available_events").write_text("b:one\na:two\na:one\n")
    (tmp_path / "available_filter_functions").write_text("f\ng [ext4]\n")
    (tmp_path / "dynamic_events").write_text(
        "p:kprobes/p vfs_read\ns:synthetic/w u64 lat\nw u64 x\n"
    )
    target = LiveTarget(tracefs=Tracefs(str(tmp_path)))
    made = {("kprobes", "p"), ("synthetic", "w")}
    assert target.dynamic_events == made
    assert target.tracepoints("a", "*") == [("a", "one"), ("a", "two")]
    assert target.tracepoints("*", "one") == [("a", "one"), ("b", "one")]
    assert target.tracepoints("b", "one") == [("b", "one")]
    assert target.tracepoints("b", "two") == target.tracepoints("nope", "*") == []
    assert target.tracepoints("..", "events") == []
    assert target.tracepoint_format("a", "two") == "name: two\n"
    assert target.tracepoint_format("a", "../b/one") is None
    assert target.kernel_functions("*") == [("", "f"), ("ext4", "g")]


def test_functions_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "functions").write_text("vfs_read\next4_sync [ext4]\n")
    target = LiveTarget(traceable_functions=str(tmp_path / "functions"))
    assert target.kernel_functions("ext4*") == [("ext4", "ext4_sync")]
    with pytest.raises(MachineError):
        LiveTarget(traceable_functions="/no/such/file").kernel_functions("*")
    assert parse_functions("f\n") == (("", "f"),)


@pytest.mark.requires("root", "tracefs")
def test_tracepoints() -> None:
    target = LiveTarget()
    assert target.tracepoints("sched", "sched_switch") == [("sched", "sched_switch")]
    assert ("sched", "sched_wakeup") in target.tracepoints("sched", "sched_w*")
    everything = target.tracepoints("*", "*")
    assert set(target.tracepoints("sched", "*")) == {e for e in everything if e[0] == "sched"}
    text = target.tracepoint_format("sched", "sched_switch")
    assert text and "prev_comm[16]" in text


@pytest.mark.requires("root", "tracefs", "btf")
def test_raw_tracepoints() -> None:
    target = LiveTarget()
    assert target.raw_tracepoints("sys_enter") == [("", "sys_enter")]
    assert target.raw_tracepoints("sys_enter_openat") == []
    assert ("", "sched_switch") in target.raw_tracepoints("sched_*")
    assert all(matches("sched_*", name) for _, name in target.raw_tracepoints("sched_*"))


@pytest.mark.requires("root")
def test_kernel_symbols() -> None:
    target = LiveTarget()
    address = target.kernel_symbol("vfs_read")
    assert address and address > 1 << 63
    assert target.kernel_symbol("no such symbol") is None


@pytest.mark.requires("btf")
def test_btf() -> None:
    btf = LiveTarget().btf
    assert btf and btf.find("task_struct", "struct")
    assert LiveTarget(environment={"BPFTRACE_BTF": "/no/such/file"}).btf is None
    with pytest.raises(MachineError):
        _ = LiveTarget(environment={"BPFTRACE_BTF": "/proc/version"}).btf


@pytest.mark.requires("root")
def test_features_may_be_denied() -> None:
    assert LiveTarget().has("ringbuf")
    assert not LiveTarget(without=frozenset({"uprobe_multi"})).has("uprobe_multi")


@pytest.mark.requires("cc")
class TestFiles:
    def test_by_path_and_glob(self, program: str) -> None:
        target = LiveTarget()
        assert target.user_file(program) == [program]
        assert target.user_file(program.replace("/prog", "/p*g")) == [program]
        assert target.user_file("/no/such/file") == target.user_file("/no/such*") == []

    def test_by_path_variable(self, program: str) -> None:
        folder = os.path.dirname(program)
        os.mkdir(f"{folder}/more")
        shutil.copy(program, f"{folder}/more/prog")
        target = LiveTarget(environment={"PATH": f"{folder}:{folder}/more:/no/such"})
        assert target.user_file("prog") == [program, f"{folder}/more/prog"]
        assert target.user_file("prog.c") == []

    def test_libraries(self) -> None:
        target = LiveTarget()
        (path,) = target.user_file("libc")
        assert os.path.basename(path).startswith("libc.so")
        assert target.user_file(os.path.basename(path)) == [path]
        assert target.user_file("libnosuchlibrary") == []

    def test_processes(self) -> None:
        target, pid = LiveTarget(), os.getpid()
        (path,) = target.user_file(f"/proc/{pid}/exe")
        assert os.path.samefile(path, "/proc/self/exe")
        mapped = target.user_file(f"/proc/{pid}/maps")
        assert path in mapped and any("libc.so" in file for file in mapped)
        everywhere = [os.stat(file) for file in target.user_file("*")]
        inodes = [(at.st_dev, at.st_ino) for at in everywhere]
        assert len(set(inodes)) == len(inodes)  # each file once, whoever maps it
        ours = [os.stat(file) for file in mapped]
        assert {(at.st_dev, at.st_ino) for at in ours} <= set(inodes)
        assert target.user_file("/proc/4194304/exe") == target.user_file("/proc/4194304/maps") == []


@pytest.mark.requires("cc")
class TestSymbols:
    def test_offsets_are_those_of_the_code(self, program: str) -> None:
        symbols = {s.name: s for s in LiveTarget().user_symbols(program)}
        assert {"add", "add_more", "main", "_start"} <= set(symbols)
        nm = subprocess.run(["nm", program], check=True, capture_output=True, text=True).stdout
        addresses = {line.split()[2]: line.split()[0] for line in nm.splitlines() if line[0] != " "}
        assert symbols["add"].address == int(addresses["add"], 16)
        assert symbols["add"].size > 0
        with open(program, "rb") as file:
            code = file.read()[symbols["add"].offset :][: symbols["add"].size]
        assert code.endswith(b"\xc3") or os.uname().machine != "x86_64"  # ret

    def test_stripped_libraries_have_dynamic_symbols(self, program: str, tmp_path: Path) -> None:
        library = str(tmp_path / "library.so")
        source = f"{program}.c"
        subprocess.run(["cc", "-shared", "-fPIC", "-s", "-o", library, source], check=True)
        assert "add_more" in {s.name for s in function_symbols(library)}

    @pytest.mark.parametrize("size", [0, 3, 10, 63, 64, 200])
    def test_cut_off(self, program: str, tmp_path: Path, size: int) -> None:
        with open(program, "rb") as file:
            (tmp_path / "cut").write_bytes(file.read(size))
        with pytest.raises(MachineError):
            function_symbols(str(tmp_path / "cut"))

    def test_damaged(self, program: str, tmp_path: Path) -> None:
        with open(program, "rb") as file:
            data = bytearray(file.read())
        damaged = tmp_path / "damaged"
        for at, value in ((40, 1 << 40), (32, 1 << 63)):  # e_shoff, e_phoff
            copy = data.copy()
            struct.pack_into("<Q", copy, at, value)
            damaged.write_bytes(copy)
            with pytest.raises(MachineError):
                function_symbols(str(damaged))

    def test_no_elf(self) -> None:
        for path in ("/etc/passwd", "/no/such/file", "/"):
            with pytest.raises(MachineError):
                function_symbols(path)

    def test_demangling(self) -> None:
        target = LiveTarget()
        assert target.demangle("_ZN2ns5twiceEi") in ("ns::twice(int)", "_ZN2ns5twiceEi")
        assert target.demangle("_Z!") == "_Z!"
        assert target.demangle("add") == "add"


@pytest.mark.kernel
def test_features_are_asked_once_a_boot(tmp_path: Path) -> None:
    class Silent(Kernel):
        def bpf(self, *_: object) -> int:
            raise AssertionError("the kernel was asked again")

    cache = Cache(str(tmp_path / "cache"))
    asked = Features(cache=cache).without(frozenset({"kprobe_multi"}))
    answers = {name: asked.has(name) for name in ("may_goto", "ringbuf", "kprobe_multi")}
    assert not answers["kprobe_multi"]
    again = Features(Silent(), cache)
    assert [again.has(name) for name in ("may_goto", "ringbuf")] == list(answers.values())[:2]
    with pytest.raises(AssertionError):  # what was denied is no answer
        again.has("kprobe_multi")
