from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from backend_support import compile_text, program
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpfscript import codec
from bpfscript.backends import elf, object_file
from bpfscript.backends.assemble import symbols
from bpfscript.codec import ObjectError
from bpfscript.manifest import Artifact, CodeFunction, Manifest, MapDef, MapType

MAPS = """\
map name="@x" kind=HASH key=Int(32, False) value=Int(64, True) \
key_size=4 value_size=8 max_entries=64
map name="@" kind=PERCPU_HASH key=Tuple((Int(32, False), String(16))) value=Aggregate("avg") \
key_size=20 value_size=16 max_entries=64
map name="@l" kind=LRU_HASH key=String(16) value=Stack("user", "raw", 3) \
key_size=16 value_size=32 max_entries=64
map name=".events" kind=RINGBUF key=None value=None key_size=0 value_size=0 max_entries=262144
"""
BODY = """\
start:
  %1 = map_ptr {map="@x"} : ptr<map_object>
  %2 = slot {size=8} : ptr<stack>
  %3 = rodata {data=b"text"} : ptr<rodata>
  copy %2, %3 {off=0, from=0, size=4}
  %4 = map_ptr {map=".events"} : ptr<map_object>
  %5 = const {value=8} : i64
  %6 = const {value=0} : i64
  %7 = call %4, %2, %5, %6 {helper="ringbuf_output"} : i64
  %8 = func_ptr {function="each"} : i64
  %9 = call %1, %8, %2, %6 {helper="for_each_map_elem"} : i64
  %10 = map_value {map=".out"} : ptr<map>
  %11 = opaque %6 : i64
  store %10, %11 {off=8}
  %12 = map_ptr {map="@"} : ptr<map_object>
  %13 = slot {size=24} : ptr<stack>
  fill %13 {off=0, size=24}
  %14 = call %12, %13 {helper="map_lookup_elem"} : ptr<map>
  %15 = map_ptr {map="@l"} : ptr<map_object>
  %16 = call %15, %13 {helper="map_delete_elem"} : i64
  %17 = call_function %7 {function="shared"} : i64
  return %17
"""
MORE = """\
func each(%0: i64, %1: ptr<map>, %2: ptr<map>, %3: ptr<stack>) {
start:
  %4 = load %2 {off=0} : i64
  store %3, %4 {off=0}
  %5 = const {value=0} : i64
  return %5
}

func shared(%0: i64) {
start:
  return %0
}
"""
SECTIONS = (
    "raw_tp/sched_switch", "tracepoint/sched/sched_switch", "kprobe/vfs_read",
    "kretprobe/vfs_read", "uprobe", "perf_event",
)  # fmt: skip
TYPES = ("RAW_TRACEPOINT", "TRACEPOINT", "KPROBE", "KPROBE", "KPROBE", "PERF_EVENT")


@pytest.fixture(scope="module")
def artifact() -> Artifact:
    return compile_text(program(BODY, MAPS, MORE))


def test_round_trip(artifact: Artifact) -> None:
    data = elf.write(artifact)
    assert elf.read(data) == artifact
    assert elf.write(elf.read(data)) == data


def test_other_readers_agree(artifact: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "x.o"
    path.write_bytes(elf.write(artifact))
    with path.open("rb") as file:
        read = ELFFile(file)
        assert read["e_machine"] == "EM_BPF"
        names = [s.name for s in read.iter_sections()]
        table = read.get_section_by_name(".symtab")
        assert table
        homes = {s.name: s["st_shndx"] for s in table.iter_symbols()}  # type: ignore[attr-defined]
    assert {"raw_tp/sched_switch", ".text", ".maps", ".rodata", ".data.out"} < {*names}
    assert {".data.zero", "license", ".BTF", ".BTF.ext", ".bpfscript"} < {*names}
    assert names[homes["AT_x"]] == names[homes["AT_"]] == names[homes["events"]] == ".maps"
    assert names[homes["each"]] == ".text"


def test_lines_lead_to_the_script(artifact: Artifact) -> None:
    lines = artifact.functions["f"].lines
    assert lines[0].instruction == 0
    texts = artifact.source_text.split("\n")
    strings = artifact.btf
    for line in lines:
        if line.column:
            shown = texts[line.line - 1]
            assert shown[line.column - 1] in "%scjfr"
            assert shown.encode() + b"\0" in strings


def test_names_that_collide_get_numbers() -> None:
    maps = [MapDef(n, MapType.HASH, None, None, 4, 4, 1) for n in ("@a", ".AT_a", "@a_2", "@a.2")]
    functions = {"AT_a": CodeFunction("AT_a", bytes(8))}
    found = symbols(Artifact([], functions, Manifest(maps=maps)))
    assert len(set(found.values())) == 5
    assert found["@a"] == "AT_a"


def test_a_map_used_in_both_ways_has_no_object(artifact: Artifact) -> None:
    text = program(
        'start:\n  %1 = map_value {map=".out"} : ptr<map>\n'
        '  %2 = map_ptr {map=".out"} : ptr<map_object>\n'
        "  %3 = slot {size=8} : ptr<stack>\n  fill %3 {off=0, size=8}\n"
        '  %4 = call %2, %3 {helper="map_lookup_elem"} : ptr<map>\n'
        "  %5 = load %1 {off=0} : i64\n  %6 = to_int %4 : i64\n  %7 = add %5, %6 : i64\n"
        "  return %7\n"
    )
    with pytest.raises(ObjectError, match="both"):
        elf.write(compile_text(text))


def test_kernel_functions_are_found_by_name_again() -> None:
    text = program(
        "start:\n  %1 = slot {size=8} : ptr<stack>\n  %2 = const {value=0} : i32\n"
        '  %3 = call %1, %2, %2 {helper="iter_num_new"} : i64\n'
        '  %4 = call %1 {helper="iter_num_destroy"} : i64\n  return %3\n'
    )
    artifact = elf.read(elf.write(compile_text(text)))
    (function,) = artifact.functions.values()
    named = [(r.kind, r.name) for r in function.relocations]
    assert named == [("kfunc", "bpf_iter_num_new"), ("kfunc", "bpf_iter_num_destroy")]


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_damage_is_an_error(artifact: Artifact, data: st.DataObject) -> None:
    whole = elf.write(artifact)
    broken = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(len(whole) // 2, len(whole)))
    for damaged in (bytes(broken), whole[:cut]):
        try:
            found = elf.read(damaged)
        except ObjectError:
            continue
        assert found.functions.keys() >= {p.functions[0] for p in found.programs}


@pytest.mark.parametrize(
    "text",
    [
        b"", b"[]", b"{}", b'{"":"Artifact"}', b"[" * 100_000, b'{"":"Manifest","probes":[1]}',
        b'{"":"Manifest","unsafe":1}', b'{"":"Manifest","more":1}', b"\xff",
        b'{"":"Manifest","maps":' + b"9" * 5000 + b"}", b'{"":"Manifest","enums":[[1]]}',
    ],
    ids=range(11),
)  # fmt: skip
def test_codec_refuses(text: bytes) -> None:
    with pytest.raises(ObjectError):
        codec.loads(Manifest, text)


def test_object_file_refuses_overlapping_sections(artifact: Artifact) -> None:
    data = bytearray(elf.write(artifact))
    table = int.from_bytes(data[40:48], "little")
    data[table + 64 + 32 : table + 64 + 40] = len(data).to_bytes(8, "little")
    with pytest.raises(ObjectError, match="damaged"):
        object_file.read(bytes(data))


@pytest.fixture
def pins() -> Iterator[Path]:
    """A directory in bpffs, which is mounted if need be."""
    root = Path("/sys/fs/bpf")
    if subprocess.run(["mountpoint", "-q", root]).returncode:
        subprocess.run(["mount", "-t", "bpf", "none", root], check=True)
    path = root / "bpfscript-test"
    path.mkdir()
    yield path
    shutil.rmtree(path)


def load(path: Path, pins: Path) -> subprocess.CompletedProcess[str]:
    command = ["bpftool", "prog", "loadall", str(path), f"{pins}/p", "pinmaps", f"{pins}/m"]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.kernel
@pytest.mark.requires("bpftool")
@pytest.mark.parametrize(("section", "type"), list(zip(SECTIONS, TYPES, strict=True)))
def test_libbpf_loads_it(section: str, type: str, tmp_path: Path, pins: Path) -> None:
    text = program(BODY, MAPS, MORE)
    text = text.replace('"raw_tp/sched_switch"', f'"{section}"').replace("RAW_TRACEPOINT", type)
    (tmp_path / "x.o").write_bytes(elf.write(compile_text(text)))
    done = load(tmp_path / "x.o", pins)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (pins / "p").iterdir()] == ["f"]
    assert {"AT_x", "AT_", "AT_l", "events"} <= {p.name for p in (pins / "m").iterdir()}


@pytest.mark.kernel
@pytest.mark.requires("bpftool")
def test_bpftool_shows_values_by_type(tmp_path: Path, pins: Path) -> None:
    (tmp_path / "x.o").write_bytes(elf.write(compile_text(program(BODY, MAPS, MORE))))
    assert load(tmp_path / "x.o", pins).returncode == 0
    pinned = ["pinned", f"{pins}/m/AT_l"]
    key = [str(b) for b in b"bash".ljust(16, b"\0")]
    value = [str(b) for b in b"".join(n.to_bytes(8, "little") for n in (7, 1, 2, 3))]
    update = ["bpftool", "map", "update", *pinned, "key", *key, "value", *value]
    subprocess.run(update, check=True)
    shown = subprocess.run(["bpftool", "map", "dump", *pinned], check=True, capture_output=True)
    text = "".join(shown.stdout.decode().split())
    assert '"key":"bash"' in text
    assert '"pid":7,"frames":[1,2,3]' in text
