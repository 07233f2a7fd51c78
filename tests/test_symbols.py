"""Names of user addresses, against programs that are compiled here."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpfscript.manifest import Settings
from bpfscript.runtime.demangle import demangle
from bpfscript.runtime.elf_image import DYNSYM, SYMTAB, Names, image_of, open_regular
from bpfscript.runtime.perf_map import PerfMaps
from bpfscript.runtime.symbols import Symbols

LIBRARY = """
#include <stdio.h>
#include <unistd.h>
void library_function(void *main_function, void *other) {
    printf("%p %p %p\\n", main_function, other, (void *)library_function);
    fflush(stdout);
    char c;
    read(0, &c, 1);
}
"""
PROGRAM = """
void library_function(void *, void *);
static __attribute__((noinline)) int inner(int a) { __asm__ volatile(""); return a + 1; }
int main(void) { library_function((void *)main, (void *)inner); return inner(-1); }
"""
CXX = """
#include <cstdio>
#include <unistd.h>
namespace space { template <class T> struct Box { __attribute__((noinline)) T grow(T a, long) {
    __asm__ volatile(""); return a + 1; } }; }
int main() {
    auto grow = &space::Box<int>::grow;
    std::printf("%p\\n", (void *&)grow); std::fflush(stdout);
    char c; read(0, &c, 1);
    return space::Box<int>().grow(-1, 2);
}
"""


pytestmark = pytest.mark.requires("cc")


def build(folder: Path, name: str, text: str, *options: str) -> Path:
    source = folder / f"{name}.{'cc' if text is CXX else 'c'}"
    source.write_text(text)
    compiler = "g++" if text is CXX else "gcc"
    command = [compiler, "-O1", "-w", str(source), "-o", str(folder / name), *options]
    subprocess.run(command, check=True, capture_output=True)
    return folder / name


class Running:
    """A program that printed addresses and waits for input."""

    def __init__(self, path: Path) -> None:
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout
        self.addresses = [int(word, 16) for word in self.process.stdout.readline().split()]
        self.pid = self.process.pid

    def end(self) -> None:
        self.process.communicate(b"x")
        assert self.process.returncode == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programs")
    build(folder, "liblibrary.so", LIBRARY, "-shared", "-fPIC")
    link = ("-L", str(folder), "-llibrary", f"-Wl,-rpath,{folder}")
    build(folder, "pie", PROGRAM, "-pie", "-fPIE", *link)
    build(folder, "fixed", PROGRAM, "-no-pie", *link)
    stripped = build(folder, "stripped", PROGRAM, "-pie", "-fPIE", "-rdynamic", *link)
    subprocess.run(["strip", stripped], check=True)
    split = build(folder, "split", PROGRAM, *link, "-Wl,--build-id")
    subprocess.run(["objcopy", "--only-keep-debug", split, folder / "split.debug"], check=True)
    subprocess.run(["strip", split], check=True)
    subprocess.run(["objcopy", "--add-gnu-debuglink=split.debug", split], cwd=folder, check=True)
    build(folder, "cxx", CXX)
    return folder


@pytest.fixture
def symbols() -> Iterator[Symbols]:
    symbols = Symbols()
    yield symbols
    symbols.close()


@pytest.mark.parametrize("name", ["pie", "fixed", "split"])
def test_program_and_library(folder: Path, symbols: Symbols, name: str) -> None:
    running = Running(folder / name)
    main, inner, library = running.addresses
    found = [symbols.user(running.pid, a + 1) for a in (main, inner, library)]
    running.end()
    program, shared = str(folder / name), str(folder / "liblibrary.so")
    assert found == [("main", 1, program), ("inner", 1, program), ("library_function", 1, shared)]


def test_only_dynamic_symbols(folder: Path, symbols: Symbols) -> None:
    running = Running(folder / "stripped")
    main, inner, _ = running.addresses
    found = [symbols.user(running.pid, a) for a in (main, inner)]
    running.end()
    module = str(folder / "stripped")
    assert found == [("main", 0, module), ("", 0, module)]


def test_address_of_nothing(folder: Path, symbols: Symbols) -> None:
    running = Running(folder / "pie")
    assert symbols.user(running.pid, 16) is None
    running.end()
    assert symbols.user(1 << 22, 0x400000) is None


def test_cxx_names(folder: Path) -> None:
    running = Running(folder / "cxx")
    address = running.addresses[0]
    plain, raw = Symbols(), Symbols(Settings(cpp_demangle=False))
    frames = [s.user(running.pid, address) for s in (plain, raw)]
    running.end()
    assert [f and f.name for f in frames] == [
        "space::Box<int>::grow(int, long)",
        "_ZN5space3BoxIiE4growEil",
    ]
    plain.close()
    raw.close()


def test_build_id(folder: Path, symbols: Symbols) -> None:
    running = Running(folder / "split")
    found = symbols.build_id(running.pid, running.addresses[0])
    running.end()
    text = subprocess.run(["readelf", "-n", folder / "split"], capture_output=True, text=True)
    assert found
    assert f"Build ID: {found[0]}" in text.stdout
    assert found[1] & 0xFFF == running.addresses[0] & 0xFFF


@pytest.mark.kernel
def test_deleted_program(folder: Path, symbols: Symbols) -> None:
    path = build(folder, "doomed", CXX)
    running = Running(path)
    path.unlink()
    frame = symbols.user(running.pid, running.addresses[0])
    running.end()
    assert frame and frame.name == "space::Box<int>::grow(int, long)"


def test_vdso(symbols: Symbols) -> None:
    with open("/proc/self/maps", encoding="ascii") as file:
        start = next(int(line.split("-")[0], 16) for line in file if "[vdso]" in line)
    names = {
        frame.name
        for offset in range(0, 8192, 64)
        if (frame := symbols.user(os.getpid(), start + offset))
    }
    assert "__vdso_clock_gettime" in names


def test_code_made_at_run_time(symbols: Symbols) -> None:
    import mmap

    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    with open("/proc/self/maps", encoding="ascii") as file:
        starts = [
            int(x.split("-")[0], 16)
            for x in file
            if " r-xs " in x or " r-xp 00000000 00:00 0 \n" in x
        ]
    path = Path(f"/tmp/perf-{os.getpid()}.map")
    path.write_text("".join(f"{start + 16:x} 20 jitted function\n" for start in starts))
    try:
        names = [symbols.user(os.getpid(), start + 20) for start in starts]
    finally:
        path.unlink()
        page.close()
    assert ("jitted function", 4) in [frame[:2] for frame in names if frame]


def test_a_map_is_read_again_when_it_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bpfscript.runtime.perf_map._REREAD", 0)
    maps, path = PerfMaps(), Path(f"/tmp/perf-{os.getpid()}.map")
    path.write_text("3000 20 third\nno line\n1000 20 first\n1000 30 its successor\n")
    try:
        assert maps.find(os.getpid(), 0x1025) == ("its successor", 0x25)
        _, read = maps._maps[os.getpid()]
        assert maps.find(os.getpid(), 0x2000) is None
        assert maps._maps[os.getpid()][1] is read
        with path.open("a") as file:
            file.write("2000 10 second\n")
        assert maps.find(os.getpid(), 0x2000) == ("second", 0)
        assert maps.find(os.getpid(), 0x3010) == ("third", 16)
    finally:
        path.unlink()


@pytest.mark.kernel
def test_process_that_has_ended(folder: Path, symbols: Symbols) -> None:
    path = build(folder, "brief", CXX)
    with symbols.watch():
        running = Running(path)
        running.end()
        symbols.drain()
        path.unlink()
        frame = symbols.user(running.pid, running.addresses[0])
    assert frame == ("space::Box<int>::grow(int, long)", 0, str(path))


@pytest.mark.kernel
def test_fork_has_its_parents_code(folder: Path, symbols: Symbols) -> None:
    import ctypes

    address = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value or 0
    with symbols.watch():
        pid = os.fork()
        if not pid:
            os._exit(0)
        os.waitpid(pid, 0)
        frame = symbols.user(pid, address)
    assert frame and frame.name in ("getpid", "__getpid")


@pytest.mark.kernel
def test_kernel(symbols: Symbols) -> None:
    with open("/proc/kallsyms", "rb") as file:
        line = next(line for line in file if line.endswith(b" T vfs_read\n"))
    address = int(line.split()[0], 16)
    assert symbols.kernel(address) == ("vfs_read", 0)
    assert symbols.kernel(address + 5) == ("vfs_read", 5)
    assert symbols.kernel(4096) is None


@pytest.mark.parametrize(
    ("name", "readable"),
    [
        ("main", "main"),
        ("_ZN2ns1fEi", "ns::f(int)"),
        ("_ZN3foo3bar17h0123456789abcdefE", "foo::bar"),
        ("_ZN63_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..clone..Clone$GT$5clone17h0123456789abcdefE",
         "<alloc::vec::Vec<T> as core::clone::Clone>::clone"),
        ("_RNvC5crate4main", "crate::main"),
        ("_RNCINvNtC1a1b1cjKja_E0", "a::b::c::<usize, 10>::{closure#0}"),
        ("_RNvXINtC1a1bhENtC1d1e1f", "_RNvXINtC1a1bhENtC1d1e1f"),
        ("_RNvYINtC1a1bRShENtC1d1e1f", "<a::b<&[u8]> as d::e>::f"),
        ("_RIC1a" + "TB4_B4_B4_E" * 50, "_RIC1a" + "TB4_B4_B4_E" * 50),
        ("_Znonsense", "_Znonsense"),
        ("_Z" + "9" * 9999, "_Z" + "9" * 9999),
        ("_ZN\udc80", "_ZN\udc80"),
    ],
)  # fmt: skip
def test_demangle(name: str, readable: str) -> None:
    assert demangle(name) == readable


HEADER = struct.pack(
    "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 64, 64, 0, 64, 56, 9, 64, 9, 3
)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x7fELF",
        b"\x7fELF\2\1" + bytes(70),
        HEADER,
        HEADER + b"\xff" * 5000,
        b"\x7fELF\1\1" + b"\xff" * 99,
    ],
)
def test_broken_files(content: bytes) -> None:
    from bpfscript.runtime.elf_image import image_in
    from bpfscript.runtime.function_table import function_table

    image = image_in(content)
    if image:
        assert function_table(image, "/x").find(0) is None
        image.build_id()


def test_names_unread_are_those_of_symbols() -> None:
    fd = open_regular(os.path.realpath("/proc/self/exe"))
    assert fd is not None
    image = image_of(fd)
    assert image
    for kind in (SYMTAB, DYNSYM):
        (table, *_) = [*image.names(kind), Names([], bytes)]
        named = [(a, s, b, table.name(n)) for a, s, b, n in table.rows]
        assert named == [s for s in image.functions(kind) if s.name]
    os.close(fd)
