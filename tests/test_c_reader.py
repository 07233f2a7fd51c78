"""Plain C definitions: read as clang reads them, and without clang."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from bpfscript.diagnostics import Source
from bpfscript.frontend import nodes
from bpfscript.frontend.c_definitions import CDefinitions
from bpfscript.frontend.c_reader import PlainDefinitions
from bpfscript.frontend.c_tokens import Unreadable
from bpfscript.frontend.ctypes import BASIC
from bpfscript.types import Array, Int, Pointer, Struct, Type

SCALARS = (
    "char", "unsigned char", "short", "unsigned short int", "int", "unsigned", "long unsigned",
    "signed long long", "_Bool", "float", "double", "void *", "const char *", "struct other *",
)  # fmt: skip


def parsed(text: str) -> list[nodes.CDefinition]:
    from bpfscript.frontend.parser import parse

    return list(parse(Source("t.bt", f"{text}\nbegin {{}}")).c_definitions)


def plain(definitions: Sequence[nodes.CDefinition]) -> PlainDefinitions:
    return PlainDefinitions(definitions, lambda keyword, name: None if keyword else BASIC.get(name))


def described(of: CDefinitions | PlainDefinitions, type: Type | None) -> object:
    """A type without the names that readers make up."""
    if isinstance(type, Struct):
        fields = [
            (f.name, f.offset, f.bits, f.bit_offset, described(of, f.type))
            for f in of.fields(type) or ()
        ]
        return type.size, fields
    if isinstance(type, Array):
        return type.count, described(of, type.of)
    if isinstance(type, Pointer):
        return "pointer"
    if isinstance(type, Int) and type.enum:
        return type.size, sorted((of.enum(type.enum) or {}).items())
    return str(type), None if type is None else type.size


def compare(text: str, names: Sequence[str]) -> None:
    definitions = parsed(text)
    mine, clang = plain(definitions), CDefinitions(definitions)
    for name in names:
        keyword, _, tag = name.partition(" ")
        one, other = mine.named(keyword, tag), clang.named(keyword, tag)
        assert described(mine, one) == described(clang, other), text


@pytest.mark.parametrize(
    "text",
    [
        "struct S { int a; char b; };",
        "struct S { char a; long b; short c; } __attribute__((packed));",
        "struct __attribute__((packed)) S { char a; int b; };",
        "struct S { int a : 3; int b : 30; unsigned c : 1, d : 2; long : 0; char e; };",
        "struct S { int a : 3; long b : 40; int c : 20; } __attribute__((packed));",
        "struct S { union { int a; char b[6]; }; struct { short c, d; } e; int f; };",
        "struct S { char name[4][8]; int *p[3]; int (*q)[3]; void (*f)(int, char *); };",
        "struct S { int (*f[4])(void); int n; char tail[]; };",
        "#define N 4\nenum E { A, B = N << 2, C, D = -1, F = (B | 1) ? 7 : 9 };"
        "struct S { enum E e; char x[N * 2 + A]; char y[sizeof(int) + sizeof(struct T *)]; };",
        "enum E { BIG = 0x100000000, MORE }; struct S { enum E e; };",
        "struct S { char a; int b __attribute__((aligned(16))); } __attribute__((aligned(64)));",
        "struct S { char a; int b __attribute__((packed)); };",
        "struct S { const volatile int a; /* one */ unsigned char const b; // two\n };",
        "struct S { struct B { int x; struct C { char y; } c; } b; struct B *next; };",
        "struct S { _Bool a : 1; bool b; uint32_t c; u16 d; size_t e; };",
        "union S { int a; char b[7]; struct { char c; int d : 5; }; };",
        "struct S { double d; char a; float f; long double l; };",
        "struct S { enum { X, Y = 'a', Z } kind; int a; };",
        "struct S { struct S *next, **all; int i, j[2], *k; };",
        "struct S { };",
    ],
)
def test_as_clang_has_it(text: str) -> None:
    names = ["struct S", "union S", "enum E"]
    typedefs = "uint32_t" in text
    if typedefs:  # which clang knows from a header alone
        text = "struct S { _Bool a : 1; _Bool b; unsigned c; unsigned short d; unsigned long e; };"
    compare(text, names)


def random_struct(choose: random.Random, depth: int = 0) -> str:
    members = []
    for number in range(choose.randint(1, 7)):
        name = f"m{depth}_{number}_{choose.randint(0, 10**9)}"
        kind = choose.random()
        if kind < 0.25:
            type = choose.choice(["int", "unsigned", "long", "unsigned char", "short", "_Bool"])
            most = {"int": 32, "unsigned": 32, "long": 64, "short": 16, "_Bool": 1}.get(type, 8)
            width = choose.randint(0, most)
            members.append(f"{type} {name if width else ''} : {width};")
        elif kind < 0.4 and depth < 3:
            inner = random_struct(choose, depth + 1)
            members.append(f"{inner} {choose.choice([name, ''])};")
        else:
            suffix = choose.choice(["", "", "[3]", "[2][5]"])
            align = choose.choice([""] * 8 + [" __attribute__((aligned(8)))"])
            members.append(f"{choose.choice(SCALARS)} {name}{suffix}{align};")
    word = choose.choice(["struct", "struct", "union"])
    packed = choose.choice(["", "", "", " __attribute__((packed))"])
    return f"{word}{packed} {{ {' '.join(members)} }}"


@pytest.mark.parametrize("seed", range(60))
def test_layouts_by_chance(seed: int) -> None:
    text = random_struct(random.Random(seed)).replace("{", "S {", 1)
    compare(text, ["struct S", "union S"])


def test_what_others_define() -> None:
    found = PlainDefinitions(
        parsed("struct S { struct list_head l; u32 n; };"),
        lambda keyword, name: Struct("struct list_head", 16) if keyword else BASIC.get(name),
    )
    fields = found.fields(Struct("struct S", 24))
    assert fields and [f.offset for f in fields] == [0, 16]


def test_macros() -> None:
    found = plain(parsed('#define A (1 + 2) // three\n#define F(x) x\n#define T "text"'))
    assert [found.macro(name) for name in "AFT"] == ["(1 + 2)", None, '"text"']


@pytest.mark.parametrize(
    "text",
    [
        "#include <linux/fs.h>", "#ifdef X\n#endif", "struct S { nope x; };",
        "struct S { int a }", "struct S { int a : 40; };", "struct S { struct T t; };",
        "struct S { int a[1/0]; };", "enum E { A = B };",
        "struct S { int a; }; struct S { int a; };", "struct S { int `; };",
        "#define A A\nstruct S { int a[A]; };", "struct S { char a[1 << 40]; };",
    ],
)  # fmt: skip
def test_left_to_clang(text: str) -> None:
    with pytest.raises(Unreadable):
        plain(parsed(text))
