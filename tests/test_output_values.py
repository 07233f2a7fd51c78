"""Values as text and JSON. Expectations are what bpftrace 0.27.1 prints unless a test says so."""

from __future__ import annotations

import json
import os
import struct
import time

import pytest
from output_support import Output, json_data, shown, words

from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import Event, Manifest, Settings
from bpfscript.runtime import names
from bpfscript.types import (
    BOOL,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
    VOID,
    Aggregate,
    Array,
    Buffer,
    CgroupPath,
    Field,
    Inet,
    Int,
    Mac,
    Pointer,
    Record,
    Stack,
    String,
    Struct,
    Symbol,
    Timestamp,
    Tuple,
    Type,
    Unsupported,
    Username,
)  # fmt: skip

COLOUR = Int(32, False, enum="colour")
MANIFEST = Manifest(
    structs={
        "struct inner": (Field("in1", INT32, 0),),
        "struct A": (
            Field("x", INT32, 0),
            Field("c", String(4), 4),
            Field("b", INT32, 8, bits=3),
            Field("u", UINT32, 8, bits=5, bit_offset=3),
            Field("p", Pointer(INT32), 16),
            Field("arr", Array(INT32, 2), 24),
            Field("un", Struct("union U", 4), 32),
            Field("f", Unsupported(4), 36),
            Field("i", Struct("struct inner", 4), 40),
        ),
        "union U": (Field("q", INT32, 0), Field("w", INT8, 0)),
        "struct empty": (),
    },
    enums={"colour": {1: "RED", 5: "BLUE"}},
)
A = struct.pack("<i4sI4xQ2iif i4x", -1, b"ab\0\0", 0b10010_101, 0xFFFF0010, 1, -2, -52, 1.5, 7)
NESTED = Tuple((INT32, String(3), Tuple((UINT8, UINT8))))
RECORD = Record(("a", "b"), (INT8, Record(("c", "d"), (String(2), Tuple((INT8, INT8))))))


@pytest.mark.parametrize(
    ("t", "raw", "text", "data"),
    [
        (INT8, b"\x80", "-128", "-128"),
        (UINT16, b"\xff\xff", "65535", "65535"),
        (INT64, words(-5), "-5", "-5"),
        (UINT64, b"\xff" * 8, "18446744073709551615", '"18446744073709551615"'),
        (INT64, words(9007199254740993), "9007199254740993", '"9007199254740993"'),
        (INT64, words(9007199254740992), "9007199254740992", "9007199254740992"),
        (UINT64, words(18446744073709549568), "18446744073709549568", "18446744073709549568"),
        (BOOL, b"\1", "true", "true"),
        (BOOL, b"\0", "false", "false"),
        (Pointer(INT8), words(0x32), "0x32", "50"),
        (Pointer(INT8), words(0), "0x0", "0"),
        (COLOUR, b"\5\0\0\0", "BLUE", "5"),
        (COLOUR, b"\4\0\0\0", "4", "4"),
        (String(4), b"ab\0x", "ab", '"ab"'),
        (String(4), b"abcd", "abcd..", '"abcd.."'),
        (String(8), b'a"\\\n\t\r\1\0', 'a"\\\n\t\r\1', r'"a\"\\\n\t\r\u0001"'),
        (String(4), "é\0\0".encode(), "é", '"é"'),
        (Buffer(13), b"\x09\0\0\0a b\"\\\n\xff~\x7f", r'a b"\\x0a\xff~\x7f',
         "[97,32,98,34,92,10,-1,126,127]"),
        (Array(INT8, 4), b"\1\2\3\4", "[1,2,3,4]", "[1,2,3,4]"),
        (Array(Array(INT16, 2), 2), b"\5\0\6\0\7\0\x08\0", "[[5,6],[7,8]]", "[[5,6],[7,8]]"),
        (Array(INT8, 0), b"", "[]", "[]"),
        (Array(COLOUR, 2), b"\1\0\0\0\2\0\0\0", "[RED,2]", "[1,2]"),
        (NESTED, b"\1\0\0\0hi\0\2\3\0\0\0", "(1, hi, (2, 3))", '[1,"hi",[2,3]]'),
        (Tuple((INT8,)), b"\1", "(1)", "[1]"),
        (RECORD, b"\xffx\0\1\2", "{ .a = -1, .b = { .c = x, .d = (1, 2) } }",
         '{"a": -1, "b": {"c": "x", "d": [1,2]}}'),
        (Struct("struct empty", 0), b"", "{}", "{}"),
        (Struct("struct A", 48), A,
         "{ .x = -1, .c = ab, .b = -3, .u = 18, .p = 0xffff0010, .arr = [1,-2], "
         ".un = { .q = -52, .w = -52 }, .f = null, .i = { .in1 = 7 } }",
         '{"x": -1, "c": "ab", "b": -3, "u": 18, "p": 4294901776, "arr": [1,-2], '
         '"un": {"q": -52, "w": -52}, "f": null, "i": {"in1": 7}}'),
        (Inet(), struct.pack("<I4s12x", 2, bytes((127, 0, 0, 1))), "127.0.0.1", '"127.0.0.1"'),
        (Inet(), struct.pack("<I16s", 10, b"\1" + bytes(15)), "100::", '"100::"'),
        (Mac(), bytes((0xAA, 0xBB, 0x0C, 0xFF, 1, 0x80)), "AA:BB:0C:FF:01:80",
         '"AA:BB:0C:FF:01:80"'),
        (Username(), words(0), "root", '"root"'),
        (Username(), words(4294967294), "", '""'),
        (VOID, b"", "null", "null"),
        (Aggregate("stats"), words(12, 2), "{ .count = 2, .average = 6, .total = 12 }",
         '{"count": 2, "average": 6, "total": 12}'),
        (Aggregate("avg"), words(-7, 2), "-3", "-3"),
        (Symbol("kernel"), words(0), "0", '"0"'),
        (Symbol("kernel"), words(1234), "0x4d2", '"0x4d2"'),
        (Symbol("user"), words(5, 1 << 23), "0x5", '"0x5"'),
        (Stack("user", "bpftrace", 3), words(1 << 23, 16, 32, 0),
         "\n        0x10\n        0x20\n", r'"\n        0x10\n        0x20\n"'),
        (Stack("user", "perf", 2), words(1 << 23, 16, 0), "\n\t10 0x10 ([unknown])\n",
         r'"\n\t10 0x10 ([unknown])\n"'),
        (Stack("user", "raw", 2), words(1 << 23, 4096, 16), "\n1000\n10\n", r'"\n1000\n10\n"'),
        (Stack("user", "build_id", 2), words(1 << 23, 4096, 0), "\n1000\n", r'"\n1000\n"'),
        (Stack("kernel", "raw", 2), words(0, 0, 0), "\n", r'"\n"'),
    ],
)  # fmt: skip
def test_value(t: Type, raw: bytes, text: str, data: str) -> None:
    if os.geteuid() and t == Username():
        pytest.skip("missing: root")
    assert shown(t, raw, MANIFEST) == text
    assert json_data(t, raw, MANIFEST) == data


def test_bytes_outside_of_utf8() -> None:
    assert shown(String(3), b"\xff\xfe\0") == "\udcff\udcfe"  # as they came
    assert json.loads(json_data(String(3), b"\xff\xfe\0")) == "\ufffd\ufffd"


def test_trailer_is_a_setting() -> None:
    manifest = Manifest(settings=Settings(str_trunc_trailer="…"))
    assert shown(String(2), b"ab", manifest) == "ab…"


def test_struct_without_fields_in_the_manifest() -> None:
    with pytest.raises(CompilerBug, match="struct B"):
        shown(Struct("struct B", 4), bytes(4))


def test_terminal_gets_no_control_characters() -> None:
    raw = b"a\x1b[2J\t\x9b1\xc2\x9b\x7f\n\0"
    escaped = "a\\x1b[2J\t\\x9b1\\x9b\\x7f\n"
    assert shown(String(16), raw.ljust(16, b"\0"), terminal=True) == escaped
    assert shown(String(16), raw.ljust(16, b"\0")) != escaped
    output = Output(terminal=True)
    event = Event("printf", (String(4),), (8,), text="\033[1m%s\033[0m")
    output.printer.event(event, memoryview(bytes(8) + b"\x1bx\0\0"))
    assert output.text == "\033[1m\\x1bx\033[0m"  # what the script writes is its own affair


def test_timestamps() -> None:
    boot = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    now = words(time.time_ns() - boot)
    assert shown(Timestamp("%Y"), now) == time.strftime("%Y")
    moment = words(1_500_000_000_123_456_789)
    assert shown(Timestamp("%s.%f %l %k", "tai"), moment) == "1500000000.123456 123 123456789"
    assert shown(Timestamp("%%f %%", "tai"), moment) == "%f %"
    assert json_data(Timestamp("%k", "sw_tai"), moment) == '"123456789"'


def test_cgroup_paths() -> None:
    with open("/proc/self/mounts", encoding="ascii") as file:
        mounted = [line.split()[1:3] for line in file]
    roots = {where: kind for where, kind in mounted if kind in ("cgroup", "cgroup2")}
    if not roots:
        pytest.skip("missing: cgroups")
    where, kind = next(iter(roots.items()))
    name = "unified" if kind == "cgroup2" else os.path.basename(where)
    inode = words(os.stat(where).st_ino)
    assert f"{name}:/" in shown(CgroupPath(), inode).split(",")
    assert shown(CgroupPath(name), inode) == f"{name}:/"
    assert shown(CgroupPath("nothing*"), inode) == ""
    assert names.cgroup_path("")(99999999) == ""
