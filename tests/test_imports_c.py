"""`import "x.bpf.c"` and `import "x.bpf.o"` (LANGUAGE §1.8): compiled, linked, called, refused."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from bpfscript import driver
from bpfscript.backends import elf
from bpfscript.backends.foreign_library import read
from bpfscript.diagnostics import Diagnostic, ScriptError, Source
from bpfscript.driver import Result
from bpfscript.frontend.typed import Options
from bpfscript.runtime import c_compiler
from bpfscript.runtime.c_compiler import _prerequisites, find
from bpfscript.runtime.import_files import ImportFiles
from bpfscript.target import RecordedTarget

pytestmark = pytest.mark.requires("clang")

TARGET = RecordedTarget()
MUTATIONS = 200
PLUS1 = "int plus1(int v) { return v + 1; }\n"
MIXED = """
struct point { int x, y; };
enum color { RED, GREEN = 5 };
static unsigned long hits = 40;
unsigned long zeros;
const volatile int weight = 3;
static int twice(int v) { return v * 2; }
int five(int a, long b, short c, char d, int e) { return a + b + c + d + e; }
void hit(int n) { hits += n; zeros++; }
unsigned long total(void) { return hits + zeros + weight; }
_Bool below(int a, int b) { return a < b; }
signed char wraps(int v) { return v; }
enum color chosen(int v) { return v ? GREEN : RED; }
int set(int *p) { if (!p) return -1; *p = 42; return twice(4); }
struct point *nowhere(void) { return 0; }
int added(struct point *p) { return p ? p->x + p->y : -1; }
int truth(_Bool b) { return b; }
"""
MAPS = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
struct { __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 8);
         __type(key, int); __type(value, long); } seen SEC(".maps");
long bump(int key) {
  long one = 1, *known = bpf_map_lookup_elem(&seen, &key);
  if (known) return ++*known;
  bpf_map_update_elem(&seen, &key, &one, BPF_ANY);
  bpf_printk("bpfscript: first %d", key);
  return 1;
}
long of(void *map, long key) { long *v = bpf_map_lookup_elem(map, &key); return v ? *v : -1; }
"""
CORE = """
#define KERNELS __attribute__((preserve_access_index))
struct task_struct { int nothing; int tgid; struct nope *nope; } KERNELS;
static long (*probe_read)(void *to, unsigned size, const void *from) = (void *)113;
int pid_of(struct task_struct *task) {
  int pid = -1;
  probe_read(&pid, sizeof pid, &task->tgid);
  return pid;
}
int has(void) {
  struct task_struct *task = 0;
  return __builtin_preserve_field_info(task->tgid, 2)
    + 2 * __builtin_preserve_field_info(task->nope, 2);
}
"""


def compiled(directory: Path, script: str, backend: str = "native", **files: str) -> Result:
    source = source_of(directory, script, **files)
    return driver.compile(source, TARGET, Options(importer=ImportFiles()), backend=backend)


def source_of(directory: Path, script: str, **files: str) -> Source:
    """A script beside files: `add="…"` is add.bpf.c."""
    for name, text in files.items():
        (directory / f"{name}.bpf.c").write_text(text)
    return Source(str(directory / "main.bt"), script)


def object_of(path: Path, text: str, *options: str) -> bytes:
    """What clang makes of C, in a file, too."""
    command = ["clang", "-target", "bpf", "-O2", *options, "-x", "c", "-c", "-", "-o", str(path)]
    subprocess.run(command, input=text.encode(), check=True, capture_output=True)
    return path.read_bytes()


def faults(directory: Path, script: str, **files: str) -> list[Diagnostic]:
    with pytest.raises(ScriptError) as caught:
        compiled(directory, script, **files)
    return caught.value.diagnostics


def run(directory: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bpfscript.cli", *map(str, words)]
    cache = str(directory / "cache")
    return subprocess.run(
        command, cwd=directory, capture_output=True, text=True, timeout=60,
        env={**os.environ, "XDG_CACHE_HOME": cache, **environment},
    )  # fmt: skip


def output(directory: Path, script: str, backend: str = "native", **files: str) -> list[str]:
    (directory / "main.bt").write_text(source_of(directory, script, **files).text)
    done = run(directory, "--backend", backend, "main.bt")
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


class TestCode:
    def test_only_what_is_called_is_linked(self, tmp_path: Path) -> None:
        script = 'import "m.bpf.c"; begin { $v = (int32)1; print(set(&$v)); }'
        artifact = compiled(tmp_path, script, m=MIXED).artifact
        (program,) = artifact.programs
        assert program.functions == ("begin_1", f"{tmp_path}/m.bpf.c:set")
        assert [m.name for m in artifact.manifest.maps if m.name.startswith("/")] == []

    def test_variables_keep_their_first_values(self, tmp_path: Path) -> None:
        artifact = compiled(
            tmp_path, 'import "m.bpf.c"; begin { hit(1); total(); }', m=MIXED
        ).artifact
        held = {m.name.rpartition(":")[2]: m.initial for m in artifact.manifest.maps}
        assert held[".data"] == (40).to_bytes(8, "little")
        assert held[".bss"] == bytes(8)
        assert artifact.rodata.endswith((3).to_bytes(4, "little"))

    def test_objects_hold_it(self, tmp_path: Path) -> None:
        artifact = compiled(
            tmp_path, 'import "m.bpf.c"; begin { hit(1); total(); }', m=MIXED
        ).artifact
        assert elf.read(elf.write(artifact)) == artifact

    def test_same_input_same_bytes(self, tmp_path: Path) -> None:
        script = 'import "m.bpf.c"; begin { hit(1); total(); }'
        first, second = (elf.write(compiled(tmp_path, script, m=MIXED).artifact) for _ in "12")
        assert first == second

    def test_immediates_are_what_libbpf_adds_to(self, tmp_path: Path) -> None:
        more = """
            static long (*loop)(unsigned n, void *call, void *context, long flags) = (void *)181;
            static const char text[] = "abcdefgh"; int one; int two; int three[3];
            static int each(unsigned n, void *context) { three[2] += text[n & 7]; return 0; }
            int looped(void) { two++; loop(3, each, &two, 0); return three[2] + one + two; }"""
        script = 'import "l.bpf.c"; begin { print(looped()); }'
        artifact = compiled(tmp_path, script, l=more).artifact
        seen = set[str]()
        for function in list(artifact.functions.values())[1:]:
            for r in function.relocations:
                (value,) = struct.unpack_from("<i", function.code, 8 * r.instruction + 4)
                assert value == (r.addend if r.kind == "map_value" else 0)
                seen.add(f"{r.kind} {bool(value)}")
        assert seen == {"callback False", "map_value True", "map_value False"}

    def test_objects_may_call_each_other(self, tmp_path: Path) -> None:
        script = 'import "one.bpf.c"; import "two.bpf.c"; begin { print(one(3)); }'
        one = "int two(int); int one(int v) { return two(v) + 1; }"
        artifact = compiled(
            tmp_path, script, one=one, two="int two(int v) { return v * 9; }"
        ).artifact
        names = [name.rpartition(":")[2] for name in artifact.programs[0].functions]
        assert names == ["begin_1", "one", "two"]

    def test_inside_of_bodies(self, tmp_path: Path) -> None:
        body = """macro m(v) { import "a.bpf.c"; plus1(v) }
            begin { if (1) { import "b.bpf.c"; } m(b()); }"""
        files = {"a": PLUS1, "b": "int b(void) { return 1; }"}
        allowed = "config = { unstable_import_statement=enable } "
        assert len(compiled(tmp_path, allowed + body, **files).artifact.programs[0].functions) == 3
        warned = compiled(tmp_path, allowed.replace("enable", "warn") + body, **files).warnings
        (unstable,) = (w for w in warned if "unstable" in w.message)  # only once
        assert unstable.span.text == 'import "b.bpf.c";'
        (tmp_path / "c.bt").write_text("macro c() { 1 }")
        (found,) = faults(tmp_path, allowed + 'begin { import "c.bt"; }')
        assert found.span.text == 'import "c.bt";'

    def test_the_first_of_two_counts(self, tmp_path: Path) -> None:
        script = 'import "one.bpf.c"; import "two.bpf.c"; begin { print(plus1(3)); }'
        result = compiled(tmp_path, script, one=PLUS1, two=PLUS1)
        assert result.artifact.programs[0].functions[1].endswith("one.bpf.c:plus1")
        (warning,) = result.warnings
        assert warning.message == 'plus1() of "two.bpf.c" is hidden by that of an earlier import'
        assert warning.span.text == 'import "two.bpf.c";'

    def test_macros_and_functions_of_the_script_come_first(self, tmp_path: Path) -> None:
        for own in ("macro plus1(v) { v + 9 }", "fn plus1($v : int32) : int32 { return $v; }"):
            script = f'import "a.bpf.c"; {own} begin {{ print(plus1(1)); }}'
            assert compiled(tmp_path, script, a=PLUS1).artifact.programs[0].functions == (
                "begin_1",
            )

    def test_builtins_come_first(self, tmp_path: Path) -> None:
        script = 'import "a.bpf.c"; begin { print(ncpus); print(ncpus()); }'
        found = compiled(tmp_path, script, a="int ncpus(int v) { return v; }")
        assert found.artifact.programs[0].functions == ("begin_1",)

    def test_directories(self, tmp_path: Path) -> None:
        (tmp_path / "lib").mkdir()
        (tmp_path / "lib/a.bpf.c").write_text(PLUS1)
        (tmp_path / "lib/b.bt").write_text("macro two() { plus1(1) }")
        object_of(tmp_path / "lib/c.bpf.o", "int three(void) { return 3; }", "-g")
        script = 'import "lib"; import "lib/a.bpf.c"; begin { print(two() + three()); }'
        assert len(compiled(tmp_path, script).artifact.programs[0].functions) == 3


@pytest.mark.requires("root")
@pytest.mark.parametrize("backend", ["native", "llvm"])
class TestCalls:
    """On the kernel, by both backends."""

    def test_integers(self, tmp_path: Path, backend: str) -> None:
        script = """import "m.bpf.c"; begin {
            print(five(-1, 1 << 40, -300, -7, 2)); print(below(-1, 1)); print(below(1, -1));
            print(wraps(200)); print(chosen(1)); print(truth(2 > 1));
            $x = wraps(127) + 1; print($x);
        }"""
        lost = -1 + (1 << 40) - 300 - 7 + 2
        assert output(tmp_path, script, backend, m=MIXED) == [
            str((lost + (1 << 31)) % (1 << 32) - (1 << 31)),
            *("true", "false", "-56", "5", "1", "128"),
        ]

    def test_pointers(self, tmp_path: Path, backend: str) -> None:
        script = """import "m.bpf.c"; begin {
            $v = (int32)7; print(set(&$v)); print($v); print(nowhere()); print(added(nowhere()));
        }"""
        assert output(tmp_path, script, backend, m=MIXED) == ["8", "42", "0x0", "-1"]

    def test_variables_live_on(self, tmp_path: Path, backend: str) -> None:
        script = """import "m.bpf.c"; begin { hit(2); hit(3); print(total()); }
            interval:ms:10 { hit(1); if (total() > 60) { print(total()); exit(); } }"""
        assert output(tmp_path, script, backend, m=MIXED) == ["50", "62"]

    @pytest.mark.requires("libbpf")
    def test_maps(self, tmp_path: Path, backend: str) -> None:
        script = """import "maps.bpf.c"; begin {
            @seen[(int64)1] = (int64)77; print(of((void *)&@seen, 1)); print(of((void *)&@seen, 2));
            print(bump(4)); print(bump(4)); print(bump(5));
        }"""
        said = output(tmp_path, script, backend, maps=MAPS)
        assert said == ["77", "-1", "1", "2", "1", "@seen[1]:", "77"]

    @pytest.mark.requires("btf")
    def test_types_of_the_kernel(self, tmp_path: Path, backend: str) -> None:
        script = """import "core.bpf.c";
            begin { print(pid_of(curtask) == pid); print(has()); }"""
        assert output(tmp_path, script, backend, core=CORE) == ["true", "1"]
        for words in (["--emit", "x.o"], ["--aot", "x"]):
            assert run(tmp_path, "--backend", backend, *words, "main.bt").returncode == 0
        assert run(tmp_path, "run", "x.o").stdout.split() == ["true", "1"]
        alone = subprocess.run([tmp_path / "x"], capture_output=True, text=True, timeout=60)
        assert alone.stdout.split() == ["true", "1"]

    def test_in_loops_predicates_and_keys(self, tmp_path: Path, backend: str) -> None:
        script = """import "m.bpf.c"; begin / below(1, 2) / {
            @a[1] = 2;
            for ($kv : @a) { for $i : 0..2 { @b[chosen($i)] = five($i, $kv.0, 1, 1, 1); } }
            @h = sum(set((int32 *)0)); print(@b[0]); print(@b[5]); clear(@a); clear(@b);
        }"""
        assert output(tmp_path, script, backend, m=MIXED) == ["4", "5", "@h:", "-1"]

    @pytest.mark.requires("btf")
    def test_functions_of_the_kernel(self, tmp_path: Path, backend: str) -> None:
        kernel = """
            extern void bpf_rcu_read_lock(void) __attribute__((section(".ksyms")));
            extern void bpf_rcu_read_unlock(void) __attribute__((section(".ksyms")));
            int locked(int v) { bpf_rcu_read_lock(); v *= 2; bpf_rcu_read_unlock(); return v; }"""
        script = 'import "k.bpf.c"; begin { print(locked(4)); }'
        (tmp_path / "main.bt").write_text(source_of(tmp_path, script, k=kernel).text)
        done = run(tmp_path, "--backend", backend, "main.bt")
        if b"\0bpf_rcu_read_lock\0" in Path("/sys/kernel/btf/vmlinux").read_bytes():
            assert done.stdout.split() == ["8"], done.stderr
        else:  # before 6.2
            assert "this kernel has no kernel function bpf_rcu_read_lock" in done.stderr

    def test_what_the_verifier_refuses_is_told_of_the_c(self, tmp_path: Path, backend: str) -> None:
        wrong = "int get(int *p) {\n  return *p;\n}\n"
        script = 'import "w.bpf.c"; begin { print(get((int32 *)8)); }'
        (tmp_path / "main.bt").write_text(source_of(tmp_path, script, w=wrong).text)
        done = run(tmp_path, "--backend", backend, "main.bt")
        assert done.returncode == 1
        assert "refuses the imported C that begin calls: R1 invalid mem access" in done.stderr
        assert "bug" not in done.stderr


class TestRefusals:
    @pytest.mark.parametrize(
        ("call", "message", "at"),
        [
            ("set()", "Function `set` requires 1 arguments, got only 0", "set()"),
            ("hit(1, 2)", "Function `hit` requires 1 arguments, got 2", "hit(1, 2)"),
            ('hit("a")', "Expected int32 for argument `n` got string[2]", '"a"'),
            ("hit(5000000000)", "Expected int32 for argument `n` got int64", "5000000000"),
            ("hit(true)", "Expected int32 for argument `n` got bool", "true"),
            ("truth(1)", "Expected bool for argument `b` got int8", "1"),
            ("set(0)", "Expected int32 * for argument `p` got int8", "0"),
            ("set((int8 *)0)", "Expected int32 * for argument `p` got int8 *", "(int8 *)"),
            (
                "added((int32 *)0)",
                "Expected struct point * for argument `p` got int32 *",
                "(int32 *)",
            ),
            ("hit(@c)", "Expected int32 for argument `n` got count_t", "@c"),
            ("twice(1)", "Unknown function: 'twice'", "twice(1)"),
            ("plusone(1)", "Unknown function: 'plusone'", "plusone(1)"),
            (
                "$x = hit(1)",
                "Value 'void' cannot be assigned to a scratch variable.",
                "$x = hit(1)",
            ),
        ],
    )
    def test_calls(self, tmp_path: Path, call: str, message: str, at: str) -> None:
        script = f'import "m.bpf.c"; begin {{ @c = count(); {call}; }}'
        found = faults(tmp_path, script, m=MIXED)[0]
        assert found.message == message
        assert found.span.text.startswith(at)

    def test_functions_that_cannot_be_called(self, tmp_path: Path) -> None:
        odd = """
            int missing(int); int needs(int v) { return missing(v); }
            int again(int v) { volatile int w = v; return w > 9 ? w : again(w * 3) + again(w + 1); }
            struct two { int a, b; }; int whole(struct two t) { return t.a; }
            __attribute__((section("raw_tp"))) int prog(void *c) { return 0; }
            int runs(void *c) { return prog(c); }"""
        for call, why in (
            ("needs(1)", "it needs missing, which is defined nowhere"),
            ("again(1)", "again calls itself"),
            ("whole(1)", "it has a parameter or result of type struct two"),
        ):
            found = faults(tmp_path, f'import "o.bpf.c"; begin {{ {call}; }}', o=odd)[0]
            assert found.message == f"{call.partition('(')[0]}() cannot be called: {why}"
            assert found.span.text.startswith(call)

    def test_stack(self, tmp_path: Path) -> None:
        deep = "int deep(int v) { volatile char b[480]; b[v & 255] = 3; return b[3]; }"
        above = """int deep(int);
            int above(int v) { volatile long b[8]; b[v & 7] = 1; return deep(b[1]); }"""
        script = 'import "d.bpf.c"; import "a.bpf.c"; begin { print(above(1)); }'
        for backend in ("native", "llvm"):
            with pytest.raises(ScriptError) as caught:
                compiled(tmp_path, script, backend, d=deep, a=above)
            (found,) = caught.value.diagnostics
            assert found.message.endswith("bytes of stack, 512 are there")
            assert found.hint == "have less on the stack of imported C"
            assert "above(1)" in found.span.text

    def test_wrong_c(self, tmp_path: Path) -> None:
        (found,) = faults(
            tmp_path, 'import "w.bpf.c"; begin { }', w="int f(void) {\n  return x;\n}"
        )
        assert found.message == 'clang could not compile "w.bpf.c"'
        assert found.span.text == 'import "w.bpf.c";'
        assert f"{tmp_path}/w.bpf.c:2:10: error: use of undeclared identifier 'x'" in (
            found.hint or ""
        )
        assert list(tmp_path.glob("*.o")) == []

    def test_headers_that_are_not_there(self, tmp_path: Path) -> None:
        (found,) = faults(tmp_path, 'import "w.bpf.c"; begin { }', w='#include "vmlinux.h"')
        said = (found.hint or "").splitlines()
        assert "error: 'vmlinux.h' file not found" in said[0]
        assert said[-1].startswith("make it: bpftool btf dump")

    def test_warnings(self, tmp_path: Path) -> None:
        script = 'import "w.bpf.c"; begin { print(f()); }'
        (found,) = compiled(
            tmp_path, script, w="#warning careful\nint f(void) { return 1; }"
        ).warnings
        assert found.message == 'clang warns of "w.bpf.c"'
        assert ":1:2: warning: careful" in (found.hint or "")

    def test_without_clang(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        (found,) = faults(tmp_path, 'import "a.bpf.c"; begin { }', a=PLUS1)
        assert found.message == 'importing "a.bpf.c" takes clang, which is not in PATH'
        assert found.hint and ".bpf.o" in found.hint

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (b"", "damaged object file"),
            (b"int plus1(int v);", "damaged object file"),
            (Path("/bin/true").read_bytes(), "not a BPF object file"),
        ],
    )
    def test_what_is_no_object(self, tmp_path: Path, data: bytes, message: str) -> None:
        (tmp_path / "a.bpf.o").write_bytes(data)
        (found,) = faults(tmp_path, 'import "a.bpf.o"; begin { }')
        assert found.message == f'cannot import "a.bpf.o": {message}'
        assert found.span.text == 'import "a.bpf.o";'

    def test_objects_without_types_or_order(self, tmp_path: Path) -> None:
        path = tmp_path / "a.bpf.o"
        object_of(path, PLUS1)
        (found,) = faults(tmp_path, 'import "a.bpf.o"; begin { }')
        assert found.message.endswith("the object has no BTF: compile it with -g")
        object_of(path, PLUS1, "-g", "-target", "bpfeb")
        (found,) = faults(tmp_path, 'import "a.bpf.o"; begin { }')
        assert found.message.endswith("not a BPF object file")

    def test_damaged_objects(self, tmp_path: Path) -> None:
        whole = object_of(tmp_path / "m.bpf.o", MIXED, "-g")
        assert read("m", whole).find("five")
        chance = random.Random(1)
        outcomes = set()
        for number in range(MUTATIONS):
            data = bytearray(whole)
            for _ in range(chance.choice((1, 2, 8))):
                data[chance.randrange(len(data))] = chance.choice((0, 1, 127, 255))
            if number % 4 == 0:
                del data[chance.randrange(len(data)) :]
            (tmp_path / "m.bpf.o").write_bytes(data)
            script = (
                'import "m.bpf.o"; begin { hit(1); print(five(1, 2, 3, 4, 5)); print(total()); }'
            )
            try:
                compiled(tmp_path, script)
                outcomes.add("compiled")
            except ScriptError as error:
                outcomes.update(d.message.partition(" ")[0] for d in error.diagnostics)
        assert outcomes >= {"compiled", "cannot"}


@pytest.mark.requires("root")
class TestKept:
    """What is compiled is kept, until something that it is made of changes."""

    SCRIPT = 'import "a.bpf.c"; begin { print(plus1(1)); }'

    def counting(self, directory: Path) -> str:
        """A PATH with a clang that counts its runs."""
        real, place = find(), directory / "bin"
        place.mkdir()
        (place / "clang").write_text(f'#!/bin/sh\necho x >> {directory}/runs\nexec {real} "$@"\n')
        (place / "clang").chmod(0o755)
        return f"{place}:{os.environ['PATH']}"

    def runs(self, directory: Path) -> int:
        return len((directory / "runs").read_text().split())

    def test_clang_runs_when_something_changed(self, tmp_path: Path) -> None:
        path = self.counting(tmp_path)
        (tmp_path / "add.h").write_text("#define ADD 1")
        (tmp_path / "a.bpf.c").write_text('#include "add.h"\nint plus1(int v) { return v + ADD; }')
        (tmp_path / "main.bt").write_text(self.SCRIPT)

        def said() -> str:
            done = run(tmp_path, "main.bt", PATH=path)
            return done.stdout.strip() or done.stderr

        assert (said(), said(), self.runs(tmp_path)) == ("2", "2", 1)
        (tmp_path / "add.h").write_text("#define ADD 40")
        assert (said(), said(), self.runs(tmp_path)) == ("41", "41", 2)
        (tmp_path / "a.bpf.c").write_text("int plus1(int v) { return 9; }")
        assert (said(), said(), self.runs(tmp_path)) == ("9", "9", 3)
        os.utime(tmp_path / "bin/clang", (1, 1))
        assert (said(), said(), self.runs(tmp_path)) == ("9", "9", 4)

    def test_objects(self, tmp_path: Path) -> None:
        (tmp_path / "main.bt").write_text(self.SCRIPT.replace(".c", ".o"))
        for text, answer in ((PLUS1, "2"), (PLUS1.replace("1;", "7;"), "8")):
            object_of(tmp_path / "a.bpf.o", text, "-g")
            assert run(tmp_path, "main.bt").stdout.split() == [answer]
            assert run(tmp_path, "main.bt", PATH="/nowhere").stdout.split() == [answer]


class TestCompiler:
    def test_the_newest_numbered_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", f"/nowhere:{tmp_path}")
        assert find() == ""
        for name in ("clang-9", "clang-14", "clang-format-15", "clang++-16"):
            shutil.copy("/bin/true", tmp_path / name)
        assert find() == str(tmp_path / "clang-14")
        shutil.copy("/bin/true", tmp_path / "clang")
        assert find() == str(tmp_path / "clang")

    def test_names_of_files_that_it_read(self) -> None:
        rule = "a.o: my\\ file.c /usr/a.h \\\n  b$$.h \\\n  c\\#.h\n"
        assert _prerequisites(rule) == ("my file.c", "/usr/a.h", "b$.h", "c#.h")

    def test_include_directories(self, tmp_path: Path) -> None:
        (tmp_path / "inc").mkdir()
        (tmp_path / "inc/add.h").write_text("#define ADD 3")
        (tmp_path / "a.c").write_text("#include <add.h>\nint f(void) { return ADD; }")
        data, said, files = ImportFiles().compiled(str(tmp_path / "a.c"), (str(tmp_path / "inc"),))
        assert (bool(data), said) == (True, "")
        assert set(files) == {str(tmp_path / "a.c"), str(tmp_path / "inc/add.h")}

    def test_it_writes_no_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a.c").write_text(PLUS1)
        monkeypatch.setenv("TMPDIR", "/nowhere")
        monkeypatch.chdir(tmp_path)
        assert ImportFiles().compiled("a.c", ())[0].startswith(b"\x7fELF")
        assert os.listdir() == ["a.c"]

    def test_it_does_not_go_on_for_ever(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "clang").write_text("#!/bin/sh\nexec sleep 60\n")
        (tmp_path / "clang").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
        monkeypatch.setattr(c_compiler, "_SECONDS", 0.3)
        data, said, _ = ImportFiles().compiled("a.c", ())
        assert (data, said) == (b"", "clang was stopped after 0.3 seconds")
