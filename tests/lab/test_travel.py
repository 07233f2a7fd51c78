"""Objects that were compiled for other kernels, run on this one: where members move, change their
size, become bitfields or no longer are any, or are not there at all.

Compiling asks a kernel for nothing but its types, so the other kernels need not run for it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

import bpfscript
from bpfscript.backends import elf
from bpfscript.btf import Btf
from bpfscript.runtime.errors import MissingType
from bpfscript.runtime.live_target import LiveTarget
from bpfscript.target import FEATURES, RecordedTarget

pytestmark = [pytest.mark.kernel, pytest.mark.requires("btf")]

KERNELS = Path(__file__).parents[2] / "lab" / ".cache"
NAMES = ("6.1", "6.12", "7", "host")
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER

# is_child_subreaper: a bit, in 7 a bool. on_cpu, on_rq: an int, then a byte. PG_writeback was 15.
SCRIPT = """begin {
  $t = curtask;
  printf("%d %s %d ", $t.tgid, $t.comm, $t.real_parent.tgid);
  printf("%d %d %d ", $t.signal.is_child_subreaper, $t.on_cpu, $t.se.on_rq);
  printf("%s %d ", $t.nsproxy.uts_ns.name.nodename, $t.signal.rlim[7].rlim_cur);
  printf("%d %d ", PG_writeback, PERF_EVENT_STATE_DEAD);
  printf("%d %d", sizeof(struct task_struct), offsetof(struct task_struct, comm));
}"""
GUARDED = """begin {
  if (PG_writeback == 15) { printf("none"); } else { printf("%d", curtask.se.slice > 0); }
}"""
UNGUARDED = 'begin {\n  printf("%d", curtask.se.slice);\n}'


@pytest.fixture(scope="module")
def here() -> Btf:
    found = LiveTarget().btf
    assert found
    return found


@cache
def types(name: str) -> Btf:
    """Those of a kernel of the lab, or of the machine that the lab is on."""
    path = KERNELS / name / ("btf" if name == "host" else "vmlinux")
    if not path.exists():
        pytest.skip(f"missing: {path}")
    if name == "host":
        return Btf(path.read_bytes())
    with path.open("rb") as file:
        section = ELFFile(file).get_section_by_name(".BTF")
        assert section
        return Btf(section.data())


def compiled(script: str, btf: Btf, backend: str = "native") -> bytes:
    target = RecordedTarget(
        release=(6, 12, 0), btf=btf, features=frozenset(FEATURES), functions=(("", "vfs_read"),)
    )
    return elf.write(bpfscript.compile(script, target=target, backend=backend, name="s.bt"))


def printed(program: bytes | bpfscript.Artifact) -> str:
    with bpfscript.load(program) as session:
        session.attach()
        return "".join(event.text or "" for event in session.events(timeout=2.0))


@pytest.fixture
def subreaper() -> Iterator[None]:
    libc = ctypes.CDLL(None)
    libc.prctl(SUBREAPER, 1, 0, 0, 0)
    yield
    libc.prctl(SUBREAPER, 0, 0, 0, 0)


@pytest.fixture
def expected(here: Btf, subreaper: None) -> str:
    """What Python knows of it, and what this kernel's types say."""
    task = here.find("task_struct", "struct")
    assert task
    values = [
        os.getpid(), Path("/proc/self/comm").read_text().strip(), os.getppid(), 1, 1, 1,
        os.uname().nodename, resource_limit(), here.enumerator("PG_writeback"),
        here.enumerator("PERF_EVENT_STATE_DEAD"),
        task.size, here.member_offset("task_struct", "comm"),
    ]  # fmt: skip
    return " ".join(str(v[0] if isinstance(v, tuple) else v) for v in values)


def resource_limit() -> int:
    import resource

    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@pytest.mark.parametrize("backend", ["native", "llvm"])
@pytest.mark.parametrize("name", NAMES)
def test_an_object_of_another_kernel(name: str, backend: str, expected: str) -> None:
    assert printed(compiled(SCRIPT, types(name), backend)) == expected


def test_the_object_of_this_kernel(here: Btf, expected: str) -> None:
    assert printed(elf.write(bpfscript.compile(SCRIPT))) == expected
    assert printed(bpfscript.compile(SCRIPT, portable=False)) == expected


@pytest.mark.parametrize("name", ["6.12", "7"])
def test_a_member_that_may_be_missing(name: str, here: Btf) -> None:
    """6.1 has no `slice`: it is refused only where the script comes to it."""
    entity = here.find("sched_entity", "struct")
    assert entity
    lacks = "slice" not in [m.name for m in here.members(entity)]
    btf = types(name)
    assert printed(compiled(GUARDED, btf)) == ("none" if lacks else "1")
    if lacks:
        with pytest.raises(MissingType, match=r"s.bt:2:16: .* no struct task_struct.se.slice"):
            printed(compiled(UNGUARDED, btf))


@pytest.mark.parametrize("name", NAMES)
def test_constants_have_this_kernels_names(name: str) -> None:
    """By the kernels compiled for, other constants of `pageflags` would have that value."""
    script = "begin { print(PG_writeback); }"
    target = RecordedTarget(btf=types(name), features=frozenset(FEATURES))
    data = elf.write(bpfscript.compile(script, target=target))
    with bpfscript.load(data) as session:
        session.attach()
        (event,) = session.events(timeout=2.0)
    assert (event.text or "").strip() == "PG_writeback"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "probe",
    [
        pytest.param("kprobe:vfs_read", marks=pytest.mark.requires("kprobe")),
        pytest.param("fentry:vfs_read", marks=pytest.mark.requires("fentry")),
    ],
)
def test_arguments_of_functions(probe: str, name: str, tmp_path: Path) -> None:
    """By parameter where that is a function's, else by register."""
    file, count = ("args.file", "args.count") if "fentry" in probe else ("arg0", "arg2")
    script = f"""{probe} /{count} == 12345/ {{
      $f = (struct file *){file};
      printf("%s %d", str($f.f_path.dentry.d_name.name), $f.f_inode.i_size); exit();
    }}"""
    (tmp_path / "a-file").write_bytes(bytes(77))
    with bpfscript.load(compiled(script, types(name))) as session:
        session.attach()
        with (tmp_path / "a-file").open("rb", buffering=0) as opened:
            opened.read(12345)
        text = "".join(event.text or "" for event in session.events(timeout=60.0))
    assert text == "a-file 77"


def test_compiling_here_is_compiling_for_this_kernel(here: Btf) -> None:
    """What a guest writes is what any machine writes for it."""
    ours = types(Path(os.environ.get("LAB_KERNEL", "host")).name)
    live, recorded = (
        elf.read(elf.write(bpfscript.compile(SCRIPT))),
        elf.read(compiled(SCRIPT, ours)),
    )
    for name, function in live.functions.items():
        other = recorded.functions[name]
        assert (function.code, function.relocations) == (other.code, other.relocations)
        assert [(c.kind, c.access) for c in function.core] == [
            (c.kind, c.access) for c in other.core
        ]
