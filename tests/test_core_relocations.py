"""Objects for kernels that lay out their types otherwise: questions, records, answers."""

from __future__ import annotations

import ctypes
import dataclasses
import os
import subprocess
from pathlib import Path

import pytest
from test_elf import load, pins

import bpfscript
from bpfscript.backends import elf
from bpfscript.backends.btf import Writer
from bpfscript.btf import Btf, BtfError
from bpfscript.core_relocations import answer, decode, layout, parse, resolve
from bpfscript.manifest import Artifact
from bpfscript.runtime.cache import Cache
from bpfscript.runtime.errors import MissingType, OtherKernel
from bpfscript.runtime.relocate import BAD, Relocator, patch
from bpfscript.target import FEATURES, RecordedTarget

__all__ = ["pins"]  # a fixture
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


def kernel(moved: int, *, wide: bool = False, states: tuple[int, int] = (0, 1)) -> Btf:
    """A made-up kernel: types of the real one's names, with other members, `moved` bytes on."""
    w = Writer()
    word, char, long = w.integer("int", 4, 1), w.integer("char", 1, 1), w.integer("long", 8)
    unsigned, pointer = w.integer("unsigned int", 4), w.pointer
    pair = w.composite(False, "pair", 16 + moved, [("a", word, 0, 0), ("b", long, 64, 0)])
    hidden = w.composite(True, "", 8, [("inside", long, 0, 0), ("other", word, 0, 0)])
    at = 8 * moved
    signal = w.composite(
        False, "signal_struct", 64 + moved,
        [("rows", w.array(pair, 3), at, 0), ("is_child_subreaper", unsigned, at + 384 + 5, 1)],
    )  # fmt: skip
    named = [("PIDTYPE_TGID", states[0]), ("PIDTYPE_PID", states[1])]
    members = [
        ("tgid", long if wide else word, at, 0), ("comm", w.array(char, 16), at + 64, 0),
        ("", hidden, at + 192, 0), ("signal", pointer(signal), at + 256, 0),
        ("kind", w.enum("pid_type", 4, False, named), at + 320, 0),
        ("no_such_member", word, at + 352, 0),
    ]  # fmt: skip
    w.composite(False, "task_struct", 64 + moved, members)
    return Btf(w.data())


def compiled(script: str, btf: Btf, backend: str = "native") -> Artifact:
    target = RecordedTarget(release=(6, 18, 0), btf=btf, features=frozenset(FEATURES))
    made = bpfscript.compile(script, target=target, backend=backend, name="s.bt")
    return elf.read(elf.write(made))


@pytest.mark.parametrize(
    ("text", "here", "moved"),
    [
        ("byte_offset struct task_struct:tgid", 0, 16),
        ("byte_size struct task_struct:tgid", 4, 8),
        ("signed struct task_struct:tgid", 1, 0),
        ("byte_offset struct task_struct:inside", 24, 40),
        ("byte_offset struct task_struct:comm:3", 11, 27),
        ("byte_offset struct task_struct:comm:16", None, None),
        ("byte_offset struct signal_struct:rows:2:b", 40, 88),
        ("byte_offset struct signal_struct:is_child_subreaper", 48, 64),
        ("lshift_u64 struct signal_struct:is_child_subreaper", 58, 58),
        ("rshift_u64 struct signal_struct:is_child_subreaper", 63, 63),
        ("field_exists struct task_struct:pid", 0, 0),
        ("field_exists struct task_struct:tgid", 1, 1),
        ("byte_offset struct task_struct:pid", None, None),
        ("type_size struct task_struct", 64, 80),
        ("type_exists struct nothing", 0, 0),
        ("enumval_value enum pid_type:PIDTYPE_TGID", 0, 5),
        ("enumval_exists enum pid_type:PIDTYPE_SID", 0, 0),
    ],
)
def test_answers(text: str, here: int | None, moved: int | None) -> None:
    other = kernel(16, wide=True, states=(5, 6))
    assert (answer(kernel(0), parse(text)), answer(other, parse(text))) == (here, moved)
    assert str(parse(text)) == text


SCRIPT = """begin {
  $t = curtask;
  @ = (uint64)$t.signal.rows[1].b + $t.inside + $t.signal.is_child_subreaper + $t.tgid;
  @s = sizeof(struct task_struct) + offsetof(struct task_struct, comm);
  @e = PIDTYPE_TGID; @c = $t.comm; @n = $t.signal.rows[(uint64)$t.tgid].a;
}"""


@pytest.mark.parametrize("backend", ["native", "llvm"])
def test_records_are_answered_by_another_kernel(backend: str) -> None:
    here, other = kernel(0), kernel(16, wide=True, states=(5, 6))
    artifact = compiled(SCRIPT, here, backend)
    assert not artifact.assumes
    own, asked = Btf(artifact.btf), set()
    for function in artifact.functions.values():
        for row in function.core:
            question, _ = decode(own, row.type, row.access, row.kind)
            asked.add(str(question))
            record = (own, row.type, row.access, row.kind)
            assert resolve(*record, here) == answer(here, question) is not None
            assert resolve(*record, other) == answer(other, question) is not None
    assert {
        "byte_offset struct signal_struct:rows:1:b", "byte_offset struct task_struct:inside",
        "rshift_u64 struct signal_struct:is_child_subreaper", "byte_size struct task_struct:tgid",
        "type_size struct task_struct", "byte_offset struct task_struct:comm",
        "enumval_value enum pid_type:PIDTYPE_TGID", "type_size struct pair",
    } <= asked  # fmt: skip


def test_a_member_of_another_kind_is_none() -> None:
    w = Writer()
    pair = w.composite(False, "pair", 8, [])
    w.composite(False, "task_struct", 8, [("tgid", pair, 0, 0)])
    other = Btf(w.data())
    artifact = compiled("begin { @ = curtask.tgid; }", kernel(0))
    (function,) = artifact.functions.values()
    for row in function.core:
        assert resolve(Btf(artifact.btf), row.type, row.access, row.kind, other) is None


def test_what_has_no_name_of_its_own_is_assumed() -> None:
    artifact = compiled("begin { $s = curtask.signal.rows[1]; @ = $s.a; }", kernel(0))
    assert [(a.kind, a.name) for a in artifact.assumes] == [
        ("layout", "struct signal_struct:rows:1")
    ]
    assert artifact.assumes[0].value == layout(kernel(0), "struct pair")
    assert layout(kernel(0), "struct pair") != layout(kernel(8), "struct pair")
    artifact = compiled("begin { unroll(sizeof(struct pair) / 8) { @++; } }", kernel(0))
    assert [(a.kind, a.value) for a in artifact.assumes] == [("answer", "16")]


@pytest.mark.kernel
@pytest.mark.requires("btf")
@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        ('begin { @ = kaddr("vfs_read"); }', "symbol", "vfs_read is not where"),
        ('begin { @ = cgroupid("/sys/fs/cgroup"); }', "cgroup", "is another"),
        ("begin { @ = TCP_LISTEN; }", "constant", "where TCP_LISTEN is 99"),
        ("tracepoint:sched:sched_switch { @ = args.prev_pid; }", "tracepoint", "prev_pid is not"),
        ("rawtracepoint:sched_switch { @ = (uint64)args.prev; }", "parameter", "prev is not"),
        ("begin { $m = curtask.thread_pid; @ = *$m; }", "layout", "copies struct pid"),
    ],
)
def test_assumptions_are_compared(script: str, kind: str, message: str) -> None:
    artifact = bpfscript.compile(script)
    (assumed,) = artifact.assumes
    assert assumed.kind == kind
    bpfscript.load(artifact).close()
    artifact.assumes = (dataclasses.replace(assumed, value="99"),)
    with pytest.raises(OtherKernel, match=message):
        bpfscript.load(artifact)


def test_without_it_the_release_counts() -> None:
    target = RecordedTarget(btf=kernel(0))
    made = bpfscript.compile("begin { @ = curtask.tgid; }", target=target, portable=False)
    assert [a.kind for a in made.assumes] == ["release"]
    assert not any(f.core for f in made.functions.values())


@pytest.mark.parametrize("code", [0x61, 0x18, 0xB7])
def test_patching(code: int) -> None:
    """A load's offset, both halves of a wide constant, an immediate."""
    data = bytearray(16)
    data[0] = code
    patch(data, 0, 0x1234)
    assert data[2:4] == (b"\x34\x12" if code == 0x61 else bytes(2))
    assert data[4:8] == (bytes(4) if code == 0x61 else b"\x34\x12\0\0")
    patch(data, 0, -2 if code != 0x61 else 8)
    assert data[12:16] == (b"\xff" * 4 if code == 0x18 else bytes(4))


@pytest.mark.parametrize("access", ["", "x", "0:9", "0:0:0", "9" * 30, "-1", "0::1"])
def test_damaged_records_are_typed_errors(access: str) -> None:
    artifact = compiled("begin { @ = curtask.tgid; }", kernel(0))
    (row, *_) = next(iter(artifact.functions.values())).core
    for type, kind in ((row.type, row.kind), (10**6, row.kind), (row.type, 99)):
        with pytest.raises(BtfError):
            decode(Btf(artifact.btf), type, access, kind)


LIVE = """begin {
  $t = curtask;
  printf("%d %s %d ", $t.tgid, $t.comm, $t.signal.is_child_subreaper);
  printf("%d ", PIDTYPE_TGID);
  printf("%d\\n", sizeof(struct task_struct) == 64);
}"""


@pytest.mark.kernel
@pytest.mark.requires("btf")
@pytest.mark.parametrize("backend", ["native", "llvm"])
@pytest.mark.parametrize("wide", [False, True])
def test_an_object_of_another_layout_is_right_here(backend: str, wide: bool) -> None:
    """Compiled for a kernel that never was, run on this one."""
    artifact = compiled(LIVE, kernel(8, wide=wide, states=(40, 41)), backend)
    libc = ctypes.CDLL(None)
    libc.prctl(SUBREAPER, 1, 0, 0, 0)
    try:
        with bpfscript.load(elf.write(artifact)) as session:
            session.attach()
            text = "".join(e.text or "" for e in session.events(timeout=0.5))
    finally:
        libc.prctl(SUBREAPER, 0, 0, 0, 0)
    comm = Path("/proc/self/comm").read_text().strip()
    assert text == f"{os.getpid()} {comm} 1 1 0\n"


@pytest.mark.kernel
@pytest.mark.requires("btf")
def test_what_this_kernel_lacks_is_told_where_it_is_reached() -> None:
    script = "begin {\n  if (sizeof(struct task_struct) == 64) { @ = curtask.no_such_member; }\n}"
    bpfscript.load(compiled(script, kernel(0))).close()  # it is never reached
    reached = "begin {\n  @x = 1;\n  @ = curtask.no_such_member;\n}"
    with pytest.raises(MissingType) as refused:
        bpfscript.load(compiled(reached, kernel(0)))
    assert str(refused.value).startswith("s.bt:3:7: this kernel has no ")
    assert "struct task_struct.no_such_member" in str(refused.value)
    assert (refused.value.line, refused.value.column) == (3, 7)
    with pytest.raises(OtherKernel, match=r"copies struct signal_struct"):
        bpfscript.load(compiled("begin { $s = *curtask.signal; @ = $s.rows[0].a; }", kernel(0)))


@pytest.mark.kernel
@pytest.mark.requires("btf", "bpftool")
def test_libbpf_answers_as_well(tmp_path: Path, pins: Path) -> None:
    (tmp_path / "x.o").write_bytes(elf.write(compiled(LIVE, kernel(8, states=(40, 41)))))
    done = load(tmp_path / "x.o", pins)
    assert done.returncode == 0, done.stderr
    words = ["bpftool", "-d", "prog", "loadall", str(tmp_path / "x.o"), f"{pins}/again"]
    log = subprocess.run(words, capture_output=True, text=True).stderr
    assert "struct task_struct.tgid" in log and "failed to relocate" not in log


def test_a_missing_answer_is_found_in_the_log() -> None:
    artifact = compiled("begin { @ = curtask.no_such_member; }", kernel(0))
    relocator = Relocator(artifact, Cache(None))
    (function,) = artifact.functions.values()
    w = Writer()
    w.composite(False, "task_struct", 8, [])
    relocator.__dict__["_kernel"] = Btf(w.data())
    code = bytearray(function.code)
    relocator.relocate(code, 0, function)
    assert BAD.to_bytes(4, "little") in code
    found = relocator.explain(f"5: (85) call unknown#{BAD}\ninvalid func unknown#{BAD}\n")
    assert found and found.what == "struct task_struct.no_such_member"
    assert relocator.explain("math between map_value pointer and register") is None
