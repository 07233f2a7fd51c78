"""Names of Rust's functions: in stacks, and to put probes on."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from script_support import NoPrinter, compiled

from bpfscript.runtime.session import Session
from bpfscript.runtime.symbols import Symbols

pytestmark = pytest.mark.requires("rustc", "cc")

PROGRAM = """
mod shapes {
    pub trait Area { fn area(&self) -> u64; }
    pub struct Square<T>(pub T);
    impl Area for Square<u64> {
        #[inline(never)]
        fn area(&self) -> u64 { std::hint::black_box(self.0 * self.0) }
    }
}
use shapes::Area;
fn main() {
    println!("{:p}", <shapes::Square<u64> as Area>::area as *const ());
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    println!("{}", shapes::Square(line.len() as u64).area());
}
"""
NAME = "<rusty::shapes::Square<u64> as rusty::shapes::Area>::area"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rust") / "rusty"
    path.with_suffix(".rs").write_text(PROGRAM)
    command = ["rustc", "-O", "-C", "symbol-mangling-version=v0", "-o", str(path)]
    subprocess.run([*command, str(path.with_suffix(".rs"))], check=True, capture_output=True)
    return path


@pytest.fixture
def running(program: Path) -> Iterator[tuple[int, int]]:
    """(pid, address of the function)"""
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin and process.stdout
        yield process.pid, int(process.stdout.readline(), 16)
        process.stdin.close()


def test_in_stacks(running: tuple[int, int], program: Path) -> None:
    symbols = Symbols()
    assert symbols.user(running[0], running[1] + 1) == (NAME, 1, str(program))
    symbols.close()


@pytest.mark.kernel
def test_of_probes(program: Path) -> None:
    for point in (f"{program}:cpp:*Square*area*", f"{program}:*Square*area"):
        artifact = compiled(f"u:{point} {{ @[func] = count(); }}")
        (info,) = artifact.manifest.probes
        assert len(info.names) == 1 and info.names[0].rpartition(":")[2].startswith("_R")
        with Session(artifact, NoPrinter(), signals=False) as session:
            session.load()
            assert session.attach() == 1
