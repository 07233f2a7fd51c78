"""Inlined calls and source lines of stacks, against programs that are compiled here."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from bpfscript.manifest import Settings
from bpfscript.runtime.dwarf import debug_info
from bpfscript.runtime.symbols import Symbols
from bpfscript.runtime.user_symbols import Source

pytestmark = pytest.mark.requires("cc")

PROGRAM = """
#include <cstdio>
#include <unistd.h>
static volatile long sink;
#define INLINE __attribute__((always_inline)) inline
namespace space {
struct Box {
  INLINE void grow(int by) {
    sink += by;                                        // line 9
    __asm__ volatile(".globl here\\nhere: nop" ::: "memory");
  }
};
INLINE void middle(int a) {
  Box().grow(a + 1);                                   // line 14
}
__attribute__((noinline)) void outer(int a) {
  middle(a);                                           // line 17
  sink++;
}
}
extern "C" char here[];
int main(int argc, char **) {
  std::printf("%p\\n", here); std::fflush(stdout);
  char c; if (read(0, &c, 1) < 0) return 1;
  space::outer(argc);
  return 0;
}
"""


@pytest.fixture(params=["whole", "stripped"])
def program(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    source, path = tmp_path / "inlined.cc", tmp_path / "inlined"
    source.write_text(PROGRAM)
    command = ["g++", "-g", "-O2", "-Wl,--build-id", str(source), "-o", str(path)]
    subprocess.run(command, check=True)
    if request.param == "stripped":
        debug = tmp_path / "inlined.debug"
        subprocess.run(["objcopy", "--only-keep-debug", path, debug], check=True)
        subprocess.run(["strip", "-g", path], check=True)
        subprocess.run(["objcopy", "--add-gnu-debuglink", debug, path], check=True)
    return path


def test_calls_that_were_inlined(program: Path) -> None:
    source = program.with_suffix(".cc")
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    address = int(process.stdout.readline(), 16)
    asked, silent = Symbols(Settings(show_debug_info=True)), Symbols()
    try:
        assert asked.source(process.pid, address) == Source(
            f"{source}:17",
            (("space::Box::grow(int)", f"{source}:10"), ("space::middle(int)", f"{source}:14")),
        )
        assert silent.source(process.pid, address) is None
        assert asked.source(process.pid, 16) is None
    finally:
        asked.close()
        silent.close()
        process.communicate(b"x")


def test_a_call_belongs_to_the_line_before_it_returns(program: Path) -> None:
    """Every line of the program that the table names is in its source."""
    info = debug_info(str(program), ())
    assert info
    text = subprocess.run(["objdump", "-d", program], capture_output=True, text=True).stdout
    at = re.search(r"^\s*([0-9a-f]+):.*call.*outer", text, re.MULTILINE)
    assert at
    (function, place), *_ = info.frames(int(at[1], 16))
    assert (function, place) == ("main", f"{program.with_suffix('.cc')}:25")


def test_nothing_is_known_of_other_code(program: Path) -> None:
    info = debug_info(str(program), ())
    assert info and info.frames(1) == [] and info.frames(1 << 40) == []
