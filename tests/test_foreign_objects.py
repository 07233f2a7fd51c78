"""Objects that clang made: what there is in them, running what can be run, damaged ones."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from bpfscript import inspection
from bpfscript.backends import object_file
from bpfscript.backends.foreign import Foreign
from bpfscript.btf import Btf
from bpfscript.codec import ObjectError
from bpfscript.core_relocations import decode
from bpfscript.manifest import MapType
from bpfscript.target import MachineError, RecordedTarget, UserSymbol

pytestmark = pytest.mark.requires("clang", "libbpf")

INCLUDE = "/usr/include/x86_64-linux-gnu"
HEAD = '#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\nchar L[] SEC("license") = "GPL";\n'
MUTATIONS = 300


def compiled(source: str) -> bytes:
    command = ["clang", "-g", "-O2", "-target", "bpf", f"-I{INCLUDE}", "-x", "c", "-c", "-"]
    done = subprocess.run([*command, "-o", "-"], input=source.encode(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture(scope="module")
def data() -> bytes:
    return compiled((Path(__file__).parent / "foreign.c").read_text())


def foreign(data: bytes) -> Foreign:
    symbols = [UserSymbol("main", 0x1100, 9, 0x1100)]
    return Foreign(object_file.read(data), RecordedTarget(files={"/bin/x": symbols}))


def tool(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bpfscript.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_what_is_in_it(data: bytes) -> None:
    found = foreign(data)
    assert found.license == "GPL"
    assert [(p.program, p.names[0]) for p in found.probes] == [
        ("on_write", "tracepoint:syscalls:sys_enter_write"),
        ("on_exit", "rawtracepoint:sched_process_exit"),
    ]
    assert [(name, section) for name, section, _ in found.left] == [("packet", "xdp")]
    artifact = found.artifact("x.o")
    maps = {m.name: m for m in artifact.manifest.maps}
    assert sorted(maps) == [".rodata", "@.bss", "@.data", "@total", "@writes"]
    assert (maps["@writes"].kind, maps["@writes"].max_entries) == (MapType.HASH, 64)
    assert [f.name for f in artifact.manifest.structs["struct value"]] == ["calls", "last", "size"]
    assert maps["@.data"].initial == (40).to_bytes(4, "little")
    assert artifact.rodata.startswith(b"dd\0")
    assert artifact.programs[0].functions == ("on_write", "same")


@pytest.mark.kernel
@pytest.mark.requires("tracefs")
def test_it_runs_and_its_maps_are_shown(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.o").write_bytes(data)
    work = "dd if=/dev/zero of=/dev/null bs=100 count=10 status=none"
    done = tool("run", tmp_path / "x.o", "-c", work)
    assert (done.returncode, done.stdout) == (0, RUN)
    assert done.stderr == (
        "WARNING: packet (xdp) is left out: programs of the section xdp are not known here\n"
        "Attached 2 probes\n"
    )


RUN = """

@.bss: { .seen = 10 }
@.data: { .start = 50 }
@total[0]: 1000
@writes[{ .fd = 1, .comm = dd }]: { .calls = 10, .last = -100, .size = 0 }
"""


def test_inspect(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.o").write_bytes(data)
    done = tool("inspect", tmp_path / "x.o")
    assert (done.returncode, done.stderr) == (0, "")
    for part in (
        "not made by bpfscript", "license GPL", "tracepoint:syscalls:sys_enter_write",
        "xdp: left out, programs of", "@writes[struct key] = struct value", "; wanted", ".BTF.ext",
    ):  # fmt: skip
        assert part in done.stdout, part


@pytest.mark.parametrize(
    ("section", "name"),
    [
        ("tp/sched/sched_switch", "tracepoint:sched:sched_switch"),
        ("raw_tracepoint/sys_enter", "rawtracepoint:sys_enter"),
        ("kprobe/vfs_read+4", "kprobe:vfs_read+4"),
        ("kretprobe/vfs_read", "kretprobe:vfs_read"),
        ("uprobe//bin/x:main", "uprobe:/bin/x:main"),
        ("uretprobe//bin/x:main+0x4", "uretprobe:/bin/x:main+0x4"),
        ("fentry/vfs_read", "fentry:vfs_read"),
        ("fexit/vfs_read", "fexit:vfs_read"),
    ],
)
def test_sections_say_where_a_program_goes(section: str, name: str) -> None:
    found = foreign(compiled(f'{HEAD}SEC("{section}") int f(void *c) {{ return 0; }}'))
    assert [p.names for p in found.probes] == [(name,)]
    (place,) = found.artifact("x.o").manifest.probes[0].attachments
    assert place.offset == {"+4": 4, "in": 0x1100, "x4": 0x1104}.get(section[-2:], 0)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ('SEC("?kprobe/f") int f(void *c) { return 0; }', "not to be loaded"),
        ('SEC("kprobe") int f(void *c) { return 0; }', "does not say where it goes"),
        ('SEC("uprobe//bin/x:none") int f(void *c) { return 0; }', "/bin/x has no function none"),
        (
            'struct { __uint(type, BPF_MAP_TYPE_LPM_TRIE); } m SEC(".maps");'
            'SEC("raw_tp/x") int f(void *c) { return bpf_map_lookup_elem(&m, c) == 0; }',
            "the map m has type 11",
        ),
        (
            "extern const int CONFIG_HZ __kconfig;"
            'SEC("raw_tp/x") int f(void *c) { return CONFIG_HZ; }',
            "needs CONFIG_HZ",
        ),
        ("int x;", "it has no programs"),
    ],
)
def test_one_clear_reason(code: str, why: str) -> None:
    with pytest.raises(ObjectError, match=f"nothing of x.o can be run: .*{why}"):
        foreign(compiled(HEAD + code)).artifact("x.o")


CORE = """
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 2);
    __type(key, __u32);
    __type(value, __u32);
} found SEC(".maps");
struct task_struct { int exit_code; int nosuch; int tgid; } __attribute__((preserve_access_index));

SEC("raw_tp/sys_enter")
int f(void *c)
{
    struct task_struct *task = (void *)bpf_get_current_task();
    __u32 zero = 0, one = 1, tgid = 0, there = __builtin_preserve_field_info(task->nosuch, 2);
    bpf_probe_read_kernel(&tgid, sizeof(tgid), &task->tgid);
    if (tgid == bpf_get_current_pid_tgid() >> 32) {
        bpf_map_update_elem(&found, &zero, &tgid, 0);
        bpf_map_update_elem(&found, &one, &there, 0);
    }
    return 0;
}
"""


@pytest.mark.kernel
@pytest.mark.requires("btf")
def test_it_asks_this_kernel_where_fields_are(tmp_path: Path) -> None:
    (tmp_path / "x.o").write_bytes(compiled(HEAD + CORE))
    done = tool("run", tmp_path / "x.o", "-q", "-c", "true")
    numbers = [int(line.split()[1]) for line in done.stdout.split("\n") if line[:7] == "@found["]
    assert done.returncode == 0 and 0 in numbers and max(numbers) > 1, done


def test_an_object_without_types() -> None:
    source = f'{HEAD}SEC("raw_tp/x") int f(void *c) {{ return 0; }}'
    command = ["clang", "-O2", "-target", "bpf", f"-I{INCLUDE}", "-x", "c", "-c", "-"]
    words = [*command, "-o", "-"]
    plain = subprocess.run(words, input=source.encode(), capture_output=True, check=True).stdout
    with pytest.raises(ObjectError, match="has no BTF: compile it with -g"):
        foreign(plain)
    lines = inspection.report(plain, RecordedTarget())
    assert "cannot be run: the object has no BTF: compile it with -g" in lines


def test_a_symbol_in_a_section_that_holds_nothing(data: bytes) -> None:
    file = object_file.read(data)
    file.sections[".text"].relocations[0][2].section = ".rel.text"
    left = {name: why for name, _, why in Foreign(file, RecordedTarget()).left}
    assert "needs wanted" in left["on_write"]


def test_damage_is_a_typed_error(data: bytes) -> None:
    chance, both = random.Random(8), (data, compiled(HEAD + CORE))
    for _ in range(MUTATIONS):
        broken = bytearray(chance.choice(both))
        for _ in range(chance.randint(1, 3)):
            at = chance.randrange(len(broken))
            match chance.randrange(3):
                case 0:
                    broken[at] = chance.randrange(256)
                case 1:
                    broken[at : at + 4] = chance.randbytes(4)
                case _:
                    del broken[at : at + chance.randrange(1, 64)]
        try:
            inspection.report(bytes(broken), RecordedTarget())
            artifact = foreign(bytes(broken)).artifact("x.o")
            for row in (row for f in artifact.functions.values() for row in f.core):
                decode(Btf(artifact.btf), row.type, row.access, row.kind)
        except MachineError:
            continue
