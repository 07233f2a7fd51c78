"""`run` and `inspect`: objects without the compiler, of other versions, of others, damaged."""

from __future__ import annotations

import dataclasses
import random
import subprocess
import sys
from pathlib import Path

import pytest
from test_core_relocations import SCRIPT as ASKS
from test_core_relocations import kernel

import bpfscript
from bpfscript import inspection
from bpfscript.backends import elf
from bpfscript.btf import BtfError
from bpfscript.codec import ObjectError
from bpfscript.runtime.cache import Cache
from bpfscript.runtime.programs import link
from bpfscript.runtime.relocate import Relocator
from bpfscript.target import FEATURES, RecordedTarget

SCRIPT = (
    'begin { @x[1] = count(); printf("hello %d\\n", 7); }\nself:signal:SIGUSR1 { @y = hist(3); }\n'
)
MUTATIONS = 150


@pytest.fixture(scope="module")
def data() -> bytes:
    return elf.write(bpfscript.compile(SCRIPT, target=RecordedTarget(), name="s.bt"))


def tool(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bpfscript.cli", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.kernel
def test_an_object_runs_with_full_output_and_without_the_compiler(tmp_path: Path) -> None:
    script = 'begin { @x[1] = 2; printf("hello %d\\n", 7); exit(); }'
    bpfscript.save(bpfscript.compile(script), tmp_path / "x.o")
    code = (
        "import sys; from bpfscript.cli import main; status = main(sys.argv[1:]); "
        "stages = ('llvmlite', 'lark', 'bpfscript.frontend', 'bpfscript.passes'); "
        "loaded = [m for m in sys.modules if m.startswith(stages)]; "
        "assert not loaded, loaded; sys.exit(status)"
    )
    words = [sys.executable, "-c", code, "run", "-q", str(tmp_path / "x.o")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("hello 7\n\n\n@x[1]: 2\n", "")
    assert done.returncode == 0


def test_inspect_shows_what_there_is(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.o").write_bytes(data)
    done = tool("inspect", tmp_path / "x.o")
    assert (done.returncode, done.stderr) == (0, "")
    for part in (
        "script s.bt, compiled by bpfscript", "] = count_t", "'hello %d\\n'",
        "1: begin {", "map[@x]", ".BTF.ext", "begin_1", "raw_tp",
    ):  # fmt: skip
        assert part in done.stdout, part


def test_another_format_is_refused(data: bytes) -> None:
    ours = b"bpfscript %d 0.1.0\n" % elf.FORMAT
    assert ours in data
    other = data.replace(ours, b"bpfscript 9 9.9.9\n")
    with pytest.raises(ObjectError, match="format 9") as refused:
        elf.read(other)
    assert "9.9.9" in str(refused.value.hint)
    same = data.replace(ours, ours.replace(b"0.1.0", b"0.9.9"))
    assert elf.read(same) == elf.read(data)


@pytest.mark.requires("cc")
def test_what_is_no_object_is_told(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("begin { }")
    for name in ("text", "absent", "."):
        done = tool("inspect", tmp_path / name)
        assert done.returncode == 1
        assert done.stderr.startswith("ERROR: ") and "Traceback" not in done.stderr
    assert "takes one object" in tool("run").stderr


def test_damaged_objects_are_typed_errors(data: bytes) -> None:
    chance = random.Random(8)
    target = RecordedTarget(btf=kernel(0), features=frozenset(FEATURES))
    asks = elf.write(bpfscript.compile(ASKS, target=target, name="s.bt"))
    others = asks.replace(b".bpfscript\0", b".somebodys\0")
    for _ in range(MUTATIONS):
        for whole in (data, asks, others):
            mutate(whole, chance)


def mutate(data: bytes, chance: random.Random) -> None:
    broken = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(broken))
        match chance.randrange(4):
            case 0:
                broken[at] = chance.randrange(256)
            case 1:
                broken[at] ^= 1 << chance.randrange(8)
            case 2:
                broken[at : at + 4] = chance.randbytes(4)
            case _:
                del broken[at : at + chance.randrange(1, 64)]
    try:
        inspection.report(bytes(broken), RecordedTarget())
        artifact = elf.read(bytes(broken))
        relocator = Relocator(artifact, Cache(None))
        relocator.__dict__["_kernel"] = kernel(16)
        maps = {m.name: 3 for m in artifact.manifest.maps}
        for program in artifact.programs:
            functions = [artifact.functions[name] for name in program.functions]
            link(functions, maps, lambda name: 1, relocator.relocate)
    except (ObjectError, BtfError):
        return


def test_objects_of_others_are_shown(data: bytes) -> None:
    foreign = data.replace(b".bpfscript\0", b".somebodys\0")
    lines = inspection.report(foreign, RecordedTarget())
    assert lines[0] == "not made by bpfscript"
    assert any("; AT_x" in line for line in lines)


@pytest.mark.requires("root")
def test_an_executable_runs_its_script(tmp_path: Path) -> None:
    program = tmp_path / "program"
    tool = [sys.executable, "-m", "bpfscript.cli"]
    script = "begin { print((1, $1)); @ = count(); }"
    subprocess.run([*tool, "--aot", str(program), "-e", script, "7"], check=True)
    assert program.stat().st_mode & 0o777 == 0o755
    done = subprocess.run([str(program), "-q"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "(1, 7)\n\n\n@: 1\n", "")
    done = subprocess.run([str(program), "-f", "json"], capture_output=True, text=True)
    assert '{"type": "map", "data": {"@": 1}}' in done.stdout
    refused = subprocess.run([*tool, "-k", "--aot", "x", "-e", script], capture_output=True)
    assert refused.returncode == 1 and b"Cannot use -k with --aot" in refused.stderr


@pytest.mark.kernel
@pytest.mark.requires("btf")
def test_offsets_of_another_kernel_are_refused() -> None:
    script = 'begin { printf("%d", curtask.pid); exit(); }'
    artifact = bpfscript.compile(script, portable=False)
    (assumed,) = artifact.assumes
    bpfscript.load(elf.write(artifact)).close()
    other = dataclasses.replace(artifact, assumes=(dataclasses.replace(assumed, value="5.0.1"),))
    with pytest.raises(bpfscript.KernelError, match=r"structs of kernel 5\.0\.1") as refused:
        bpfscript.load(elf.write(other))
    assert refused.value.hint
    assert not bpfscript.compile("begin { print(pid); }", portable=False).assumes
