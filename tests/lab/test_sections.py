"""Objects of every kind of probe in the hands of libbpf: its names of sections, its attaching."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from test_elf import load, pins

import bpfscript
from lab.workload import LIBC, marked

__all__ = ["pins"]  # a fixture
pytestmark = [pytest.mark.kernel, pytest.mark.requires("bpftool", "btf", "tracefs")]

needs = pytest.mark.requires
# (probe, section, whether that is enough for libbpf to attach it)
PLACES = [
    pytest.param("kprobe:vfs_read", "kprobe/vfs_read", True, marks=needs("kprobe")),
    pytest.param("kretprobe:vfs_read", "kretprobe/vfs_read", True, marks=needs("kprobe")),
    pytest.param("kprobe:vfs_rea*", "kprobe", False, marks=needs("kprobe")),
    pytest.param("fentry:vfs_read", "fentry/vfs_read", True, marks=needs("fentry")),
    pytest.param("fexit:vfs_read", "fexit/vfs_read", True, marks=needs("fentry")),
    ("tracepoint:syscalls:sys_enter_pread64", "tracepoint/syscalls/sys_enter_pread64", True),
    ("tracepoint:sched:sched_switch", "tracepoint/sched/sched_switch", True),
    ("rawtracepoint:sys_enter", "raw_tp/sys_enter", True),
    (f"uprobe:{LIBC}:getppid", f"uprobe/{LIBC}:getppid", True),
    (f"uretprobe:{LIBC}:getppid", f"uretprobe/{LIBC}:getppid", True),
    (f"uprobe:{LIBC}:getp*", "uprobe", False),
    ("profile:hz:199", "perf_event", False),
    ("software:page-faults:1", "perf_event", False),
    pytest.param("iter:task", "iter/task", True, marks=needs("iter")),
    ("begin", "raw_tp", False),
]


PROGRAM = r"""
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
  struct bpf_object *object = bpf_object__open(argv[1]);
  if (!object || bpf_object__load(object)) return 1;
  struct bpf_link *link = bpf_program__attach(bpf_object__next_program(object, NULL));
  if (!link) return 2;
  char byte;
  int file = open("/etc/hostname", O_RDONLY);
  if (argc > 2) while (read(bpf_iter_create(bpf_link__fd(link)), &byte, 1) > 0) ;
  for (int i = 0; i < 20; i++) { getppid(); pread(file, &byte, 1, 0); usleep(1000); }
  unsigned int key = 0;
  unsigned long sum = 0, values[1024] = {0};
  struct bpf_map *map = bpf_object__find_map_by_name(object, "AT_");
  if (!map || bpf_map_lookup_elem(bpf_map__fd(map), &key, values)) return 3;
  int words = (bpf_map__value_size(map) + 7) / 8;
  for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++) sum += values[words * cpu];
  printf("%lu\n", sum);
  return 0;
}
"""


@pytest.fixture(scope="module")
def attacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that loads an object, attaches it, works, and prints its count."""
    folder = tmp_path_factory.mktemp("attacher")
    (folder / "use.c").write_text(PROGRAM)
    subprocess.run(["cc", "-o", folder / "use", folder / "use.c", "-lbpf"], check=True)
    return folder / "use"


@pytest.mark.requires("cc", "libbpf")
@pytest.mark.parametrize(("probe", "section", "attaches"), PLACES)
def test_libbpf(
    probe: str, section: str, attaches: bool, tmp_path: Path, pins: Path, attacher: Path
) -> None:
    artifact = bpfscript.compile(f"{probe} {{ @ = count(); }}")
    (program,) = artifact.programs
    assert program.section == section
    bpfscript.save(artifact, tmp_path / "x.o")
    if not attaches:
        done = load(tmp_path / "x.o", pins)
        assert done.returncode == 0, done.stderr
        return
    words = [str(attacher), str(tmp_path / "x.o"), *(["read"] if "iter" in probe else [])]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


@needs("cc")
def test_a_static_probe_is_loaded(tmp_path: Path, pins: Path) -> None:
    """libbpf attaches only those that are made with its own maps."""
    library, _ = marked(tmp_path)
    artifact = bpfscript.compile(f"usdt:{library}:lab:marked {{ @[arg0] = count(); }}")
    assert [p.section for p in artifact.programs] == ["usdt"]
    bpfscript.save(artifact, tmp_path / "x.o")
    done = load(tmp_path / "x.o", pins)
    assert done.returncode == 0, done.stderr
