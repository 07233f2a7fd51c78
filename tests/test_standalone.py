"""Objects of real scripts, in the hands of bpftool and of C programs with libbpf."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from test_core_relocations import kernel
from test_elf import load, pins

import bpfscript
from bpfscript.target import RecordedTarget

__all__ = ["pins"]  # a fixture

pytestmark = [pytest.mark.kernel, pytest.mark.requires("bpftool", "tracefs", "btf")]

SCRIPTS = {
    "begin": 'begin { @x = 1; printf("a"); }',
    "syscall": 'tracepoint:syscalls:sys_enter_openat { printf("%s", str(args.filename)); }',
    "tracepoint": "tracepoint:sched:sched_switch { @[args.next_comm] = count(); }",
    "rawtracepoint": "rawtracepoint:sched_switch { @t = tseries(1, 1s, 5); }",
    "profile": "profile:hz:99 { @[kstack] = count(); }",
    "fields": "begin { @ = curtask.real_parent.tgid + curtask.signal.is_child_subreaper; }",
    "enums": "begin { @ = PERF_EVENT_STATE_DEAD; @s = sizeof(struct task_struct); }",
    "loops": "interval:s:1 { @m[1] = 1; @h = hist(pid); for ($kv : @m) { print($kv); } }",
}
PROGRAM = r"""
#include <bpf/libbpf.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct bpf_object *object = bpf_object__open(argv[1]);
  if (!object || bpf_object__load(object)) return 1;
  struct bpf_program *program = bpf_object__next_program(object, NULL);
  struct bpf_link *link = bpf_program__attach(program);
  if (!link) return 2;
  if (write(open_null(), "xyz", 3) != 3) return 3;
  struct bpf_map *map = bpf_object__find_map_by_name(object, "AT_seen");
  unsigned long key = KEY, sum = 0, values[1024] = {0};
  size_t size = 8 * libbpf_num_possible_cpus();
  if (!map || bpf_map__lookup_elem(map, &key, sizeof key, values, size, 0)) return 4;
  for (int cpu = 0; cpu < 1024; cpu++) sum += values[cpu];
  printf("%s %lu\n", bpf_program__section_name(program), sum);
  bpf_link__destroy(link);
  bpf_object__close(object);
  return 0;
}
"""


@pytest.mark.parametrize("name", list(SCRIPTS))
def test_bpftool_loads_it_and_makes_a_skeleton(name: str, tmp_path: Path, pins: Path) -> None:
    path = tmp_path / "x.o"
    bpfscript.save(bpfscript.compile(SCRIPTS[name]), path)
    done = load(path, pins)
    assert done.returncode == 0, done.stderr
    words = ["bpftool", "gen", "skeleton", str(path), "name", "script"]
    skeleton = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "struct script *script__open_and_load" in "".join(skeleton.split("\n"))
    for reader in (["readelf", "-aW"], ["llvm-readelf", "-aW"], ["llvm-objdump", "-d", "-r"]):
        if shutil.which(reader[0]):
            read = subprocess.run([*reader, str(path)], capture_output=True, text=True)
            assert (read.returncode, read.stderr) == (0, "")
            assert "raw_tp" in read.stdout or "tracepoint" in read.stdout or "perf" in read.stdout


@pytest.mark.requires("cc", "libbpf")
def test_a_c_program_traces_with_it(tmp_path: Path) -> None:
    script = (
        "tracepoint:syscalls:sys_enter_write /args.count == 3/ { @seen[args.count] = count(); }"
    )
    bpfscript.save(bpfscript.compile(script), tmp_path / "x.o")
    section, count = trace(tmp_path, "3")
    assert section == "tracepoint/syscalls/sys_enter_write"
    assert int(count) >= 1  # others may write three bytes, too


@pytest.mark.requires("cc", "libbpf")
@pytest.mark.parametrize("backend", ["native", "llvm"])
def test_libbpf_finds_members_that_moved(backend: str, tmp_path: Path) -> None:
    """Compiled for a kernel that never was."""
    script = "rawtracepoint:sys_enter { @seen[(uint64)curtask.tgid] = count(); }"
    target = RecordedTarget(btf=kernel(8, wide=True))
    artifact = bpfscript.compile(script, target=target, backend=backend)
    bpfscript.save(artifact, tmp_path / "x.o")
    section, count = trace(tmp_path, "getpid()")
    assert section == "raw_tp/sys_enter"
    assert int(count) >= 1


def trace(tmp_path: Path, key: str) -> list[str]:
    """The section of the object x.o and a count, by a program that loads it and writes."""
    program = PROGRAM.replace("open_null()", 'fileno(fopen("/dev/null", "w"))')
    (tmp_path / "use.c").write_text(program.replace("KEY", key))
    words = ["cc", "-o", tmp_path / "use", tmp_path / "use.c", "-lbpf"]
    subprocess.run([str(w) for w in words], check=True)
    done = subprocess.run(
        [tmp_path / "use", tmp_path / "x.o"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
