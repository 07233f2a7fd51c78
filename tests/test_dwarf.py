"""Debug information: read from real programs, as types of arguments, for source lines."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from resolving import faults, names, resolved
from tracing import trace

from bpfscript.runtime.dwarf import Dwarf, debug_info
from bpfscript.runtime.elf_functions import function_symbols
from bpfscript.runtime.live_target import LiveTarget
from bpfscript.target import MachineError
from bpfscript.types import Field, Pointer, Struct

SOURCE = """enum color { RED, GREEN = 5 };
struct pair { int a; int b; };
struct file { long ours; };
typedef struct bits {
  unsigned low : 3; unsigned high : 5; int words[2]; char name[8];
  union { int number; char letter; }; struct file *file; struct bits *next;
} bits;
struct mixed { double d; long l; };
struct large { long l[4]; };
#define BODY { __asm__ volatile(""); }
#define FUNCTION __attribute__((noinline)) void
FUNCTION many(int a, long b, char c, short d, unsigned char e, int f, int g, struct pair h) BODY
FUNCTION kinds(int a, double x, int b, _Bool t, enum color c) BODY
FUNCTION by_value(struct pair p, struct large l, struct mixed m, int n) BODY
FUNCTION pointers(bits *b, const char *s, struct pair *ps, void *v, int (*f)(int)) BODY
__attribute__((noinline)) struct large made(int n) { struct large l = {{n}}; return l; }
int main(void)
{
  struct file file = {42};
  bits b = {5, 17, {3, 4}, "name", {65}, &file, 0};
  struct pair p[2] = {{1, 2}, {3, 4}};
  struct large l = {{6, 7, 8, 9}};
  struct mixed m = {1.5, 2};
  char text[] = "text";
  many(-1, 2, 'c', -4, 5, 6, 7, p[1]);
  kinds(1, 2.5, 3, 1, GREEN);
  by_value(p[0], l, m, 9);  /* line 27 */
  pointers(&b, text, p, p, 0);
  return (int)made(3).l[1];
}
"""


@pytest.fixture(scope="module", params=["-gdwarf-4", "-gdwarf-5"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("dwarf")
    (folder / "app.c").write_text(SOURCE)
    subprocess.run(["gcc", request.param, "-O0", "-o", "app", "app.c"], cwd=folder, check=True)
    return str(folder / "app")


@pytest.fixture(scope="module")
def info(program: str) -> Dwarf:
    found = debug_info(program, ())
    assert found
    return found


def parameters(info: Dwarf, program: str, name: str) -> list[str]:
    (symbol,) = (s for s in function_symbols(program) if s.name == name)
    function = info.function(symbol.address)
    assert function
    return [f"{type} {parameter}" for parameter, type in function.parameters]


class TestReading:
    def test_parameters(self, info: Dwarf, program: str) -> None:
        assert parameters(info, program, "kinds") == [
            "int32 a", "none x", "int32 b", "bool t", "enum color c",
        ]  # fmt: skip
        assert parameters(info, program, "pointers") == [
            "struct bits * b", "int8 * s", "struct pair * ps", "void * v", "void * f",
        ]  # fmt: skip
        assert parameters(info, program, "main") == []

    def test_fields(self, info: Dwarf) -> None:
        bits = info.named(None, "bits")
        assert isinstance(bits, Struct) and bits.size == 40
        shown = [(f.name, str(f.type), f.offset, f.bits, f.bit_offset) for f in info.fields(bits)]
        assert shown == [
            ("low", "uint32", 0, 3, 0), ("high", "uint32", 0, 5, 3), ("words", "int32[2]", 4, 0, 0),
            ("name", "string[8]", 12, 0, 0), ("number", "int32", 20, 0, 0),
            ("letter", "int8", 20, 0, 0), ("file", "struct file *", 24, 0, 0),
            ("next", "struct bits *", 32, 0, 0),
        ]  # fmt: skip

    def test_names(self, info: Dwarf) -> None:
        assert str(info.named("struct", "pair")) == "struct pair"
        assert info.enum("color") == {0: "RED", 5: "GREEN"}
        assert info.named("union", "pair") is None
        assert info.named("struct", "no such name") is None
        assert info.fields(Struct("struct unheard_of", 0)) == ()

    def test_source_lines(self, info: Dwarf, program: str) -> None:
        symbols = {s.name: s for s in function_symbols(program)}
        line = 1 + SOURCE[: SOURCE.index("FUNCTION kinds")].count("\n")
        assert info.line("app.c", line) == symbols["kinds"].address
        inside = info.line(f"{os.path.dirname(program)}/app.c", 27)
        assert 0 < inside - symbols["main"].address < symbols["main"].size

    @pytest.mark.parametrize(
        ("file", "line", "message"),
        [
            ("pp.c", 1, "No compilation unit matches pp.c"),
            ("app.c", 2, "Unable to map 'app.c:2' to address"),
        ],
    )
    def test_no_such_line(self, info: Dwarf, file: str, line: int, message: str) -> None:
        with pytest.raises(MachineError) as error:
            info.line(file, line)
        assert error.value.message == message

    def test_without(self) -> None:
        assert debug_info("/bin/true", ()) is None

    def test_separate_files(self, program: str, tmp_path: Path) -> None:
        def run(*words: str) -> str:
            done = subprocess.run(words, cwd=tmp_path, check=True, capture_output=True, text=True)
            return done.stdout

        run("objcopy", "--only-keep-debug", program, "app.debug")
        run("objcopy", "-S", "--add-gnu-debuglink=app.debug", program, "app")
        stripped = str(tmp_path / "app")
        found = debug_info(stripped, ())
        assert found and parameters(found, stripped, "many")[0] == "int32 a"
        build_id = run("readelf", "-n", program).partition("Build ID: ")[2].split()[0]
        place = tmp_path / "debug" / ".build-id" / build_id[:2]
        place.mkdir(parents=True)
        (tmp_path / "app.debug").rename(place / f"{build_id[2:]}.debug")
        assert debug_info(stripped, ()) is None
        assert debug_info(stripped, (str(tmp_path / "debug"),)) is not None

    def test_damaged(self, program: str, tmp_path: Path) -> None:
        data = Path(program).read_bytes()
        symbols = function_symbols(program)
        copy = tmp_path / "copy"
        for start in range(0, len(data) - 600, 1499):
            copy.write_bytes(data[:start] + b"\xff" * 40 + data[start + 40 :])
            try:
                found = debug_info(str(copy), ())
                if found:
                    for symbol in symbols:
                        found.function(symbol.address)
                    found.named("struct", "pair")
                    found.line("app.c", 27)
            except MachineError:
                continue


CXX = """#include <string>
struct base { int id; };
namespace ns {
struct plain : base { int v; __attribute__((noinline)) int get(int k) const { return v + k; } };
__attribute__((noinline)) int count(std::string s, const plain &r, plain p) { return r.v; }
}
int main()
{
  ns::plain s;
  s.id = 4, s.v = 5;
  std::string text = "abc";
  return s.get(7) + ns::count(text, s, s) > 100;
}
"""


def test_classes(tmp_path: Path) -> None:
    (tmp_path / "app.cc").write_text(CXX)
    subprocess.run(["g++", "-g", "-O0", "-o", "app", "app.cc"], cwd=tmp_path, check=True)
    program = str(tmp_path / "app")
    script = f'u:{program}:cpp:"ns::plain::get" {{ print((args.this->v, args.this->id, args.k)); }}'
    assert trace(script, program) == "(5, 4, 7)"
    values = "args.s->_M_string_length, args.r->v, args.p.id, args.p.v"
    script = f'u:{program}:cpp:"ns::count" {{ print(({values})); }}'
    assert trace(script, program) == "(3, 5, 4, 5)"


class TestResolving:
    def test_programs_with_equal_arguments_are_one(self, program: str) -> None:
        target = LiveTarget()
        script = f"u:{program}:kinds,u:{program}:many {{ print(args.a); }}"
        (instance,) = resolved(script, target=target)
        assert instance.arguments and instance.arguments["a"].source == "register"
        script = f"u:{program}:kinds,u:{program}:many {{ print(args.b); }}"
        assert len(resolved(script, target=target)) == 2

    def test_source_line(self, program: str) -> None:
        (name,) = names(f"u:{program}@app.c:27 {{ }}", target=LiveTarget())
        assert name.rpartition(":")[2].isdecimal()
        (fault,) = faults(f"u:{program}@app.c:2 {{ }}", target=LiveTarget())
        assert fault == "DWARF error: Unable to map 'app.c:2' to address"


class TestTracing:
    @pytest.mark.parametrize(
        ("function", "values", "shown"),
        [
            (
                "many", "args.a, args.b, args.c, args.d, args.e, args.f, args.g, args.h.b",
                "-1, 2, 99, -4, 5, 6, 7, 4",
            ),
            ("kinds", "args.a, args.b, args.t, args.c", "1, 3, true, GREEN"),
            ("by_value", "args.p, args.l.l[2], args.n", "{ .a = 1, .b = 2 }, 8, 9"),
            (
                "pointers", "args.b->low, args.b->high, args.b->words[1], args.b->name, "
                "args.b->letter, str(args.s), args.ps[1].b",
                "5, 17, 4, name, 65, text, 4",
            ),
            ("pointers", "args.b->file->ours, (*args.ps).b", "42, 2"),
            ("pointers", "((struct pair *)arg2)->b, sizeof(struct pair)", "2, 8"),
            ("made", "args.n", "3"),
        ],
    )  # fmt: skip
    def test_arguments(self, program: str, function: str, values: str, shown: str) -> None:
        printed = f"({values})" if "," in values else values
        script = f"u:{program}:{function} {{ print({printed}); }}"
        assert trace(script, program) == (f"({shown})" if "," in values else shown)

    def test_maps_of_structs(self, program: str) -> None:
        script = f"u:{program}:by_value {{ @[args.p] = count(); @x = args.l; }}"
        assert set(trace(script, program).split("\n")) == {
            "@[{ .a = 1, .b = 2 }]: 1", "@x: { .l = [6,7,8,9] }",
        }  # fmt: skip

    def test_source_line(self, program: str) -> None:
        assert trace(f"u:{program}@app.c:27 {{ @ = count(); }}", program) == "@: 1"


def test_pointers_of_fields_have_no_space(info: Dwarf) -> None:
    bits = info.named(None, "bits")
    assert isinstance(bits, Struct)
    field = next(f for f in info.fields(bits) if f.name == "file")
    assert field == Field("file", Pointer(Struct("struct file", 8)), 24)
