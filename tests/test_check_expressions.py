"""Types and values of expressions."""

from __future__ import annotations

import pytest
from check_support import FakeNames, checked, errors, type_of, value_of, warnings

from bpfscript.frontend.typed import Options


@pytest.mark.parametrize(
    ("expression", "type"),
    [
        ("1", "int8"),
        ("1000", "int16"),
        ("0xffffffffffffffff", "uint64"),
        ("-200", "int16"),
        ("1 + 1", "int8"),
        ("~1", "uint64"),
        ("pid", "uint32"),
        ("pid + 1", "uint64"),
        ("pid - 1", "int64"),
        ("-pid", "uint64"),
        ("!pid", "bool"),
        ("pid > 1", "bool"),
        ("sizeof(1)", "uint8"),
        ("sizeof((uint32)5 + (uint16)1)", "uint8"),
        ("comm", "string[16]"),
        ('"abc"[1]', "int8"),
        ("pid ? 1 : 300", "int16"),
        ('pid ? "a" : "bcd"', "string[4]"),
        ("pid ?: 1", "uint32"),
        ("if (pid) { 1 } else { 300 }", "int16"),
        ('(1, "a")', "(int8,string[2])"),
        ("(a=1)", "record { .a = int8 }"),
        ('(int8[])"abc"', "int8[4]"),
        ("(uint8[8])12345", "uint8[8]"),
        ("*1", "uint64"),
        ("*(int8 *)1", "int8"),
        ("(int32 *)1 + 1", "int32 *"),
        ("kstack", "kstack_bpftrace_127"),
        ("ustack(perf, 3)", "ustack_perf_3"),
        ("strlen(comm)", "uint64"),
        ("strcap(comm)", "uint8"),
        ('strstr(comm, "a")', "int32"),
        ('strcontains(comm, "a")', "bool"),
        ("bswap(pid)", "uint32"),
        ("str(pid)", "string[1024]"),
        ("str(pid, 5)", "string[6]"),
        ("buf(pid, 2)", "buffer[6]"),
        ("ksym(1)", "ksym_t"),
        ("ntop(1)", "inet"),
        ('pton("::1")', "uint8[16]"),
        ("macaddr(1)", "mac_address"),
        ("strerror(1)", "string[64]"),
        ('kaddr("vfs_read")', "uint64"),
        ("curtask.comm", "string[16]"),
        ("curtask.parent.pid", "int32"),
        ("RUNNING", "enum state"),
        ("(enum state)1", "enum state"),
        ("len(kstack)", "int64"),
        ("cpid", "uint64"),
        ("usermode", "int8"),
        ('strftime("%H", nsecs)', "timestamp"),
        ("probetype", "string[8]"),
        ("nsecs(tai)", "uint64"),
        ("username", "username_t"),
    ],
)
def test_types(expression: str, type: str) -> None:
    assert type_of(expression) == type


@pytest.mark.parametrize(
    ("before", "expression", "type"),
    [
        ("$i = 0; $i++;", "$i", "int64"),
        ("$u = (uint8)3; $u++;", "$u", "uint64"),
        ("let $k: uint8 = 1; $k++;", "$k", "uint8"),
        ("@y--;", "@y", "int64"),
        ("@k += pid;", "@k", "int64"),
        ("@c = count();", "@c", "uint64"),
        ("@m = avg(-1);", "@m + 1", "int64"),
        ("@s = sum(pid); $x = @s;", "$x", "uint64"),
        ('$s = "abc";', "$s[1]", "int8"),
        ("let $v; $v = 1; $v = nsecs;", "$v", "uint64"),
        ("$x = @later; @later = (1, comm);", "$x", "(int8,string[16])"),
        ('let $s: string = "abc"; $s = "abcdef";', "$s", "string[7]"),
        ('let $z: typeof(@m) = "a"; @m["abc"] = 1;', "$z", "string[4]"),
        ("$b = true;", "$b == 1", "bool"),
        ("@never[1]++;", "@never[2]", "int64"),
    ],
)
def test_inference(before: str, expression: str, type: str) -> None:
    assert type_of(expression, before) == type


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2 * 3", 7),
        ('"ab" + "cd"', b"abcd"),
        ("str(5)", b"5"),
        ('str("abc", 2)', b"ab"),
        ("(1, 2) == (1, 2)", True),
        ("(1, (2, 3)).1.0", 2),
        ("(a=4, b=5).b", 5),
        ("1 ? 1 : 2", 1),
        ("sizeof(uint32*[10])", 80),
        ("SLEEPING + 1", 2),
        ("comptime (1 + 1)", 2),
        ("probe", b"begin"),
        ("config.max_strlen", 1024),
        ("config.stack_mode", b"bpftrace"),
        ("is_str(comm)", True),
        ("is_literal(pid)", False),
        ("offsetof(struct task_struct, comm)", 4),
        ("pid + 1", None),
        ("(uint8)1", None),
        ('pton("127.0.0.1")', b"\x7f\0\0\x01"),
        ("$#", 2),
        ("$2 + 1", b"bc"),
        ("$1", 41),
        ("str($1)", b"0x29"),
        ("str($1 + 2)", b"29"),
        ('getopt("n", 5)', 7),
        ('getopt("flag")', True),
        ('getopt("absent", "x")', b"x"),
    ],
)
def test_values(expression: str, value: object) -> None:
    options = Options(positional=("0x29", "abc"), named={"n": "7", "flag": "true"})
    options.named = {k: v for k, v in options.named.items() if f'"{k}"' in expression}
    assert value_of(expression, options) == value


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("begin { $a = 1 << 64; }", "14: unable to fold literals due to overflow or underflow"),
        (
            'begin { $x = pid ? 1 : "high"; }',
            "14: Branches must return the same type or compatible "
            "types: have 'int8' and 'string[5]'",
        ),
        (
            'begin { $x = "foo"; print($x[4]); }',
            "27: the index 4 is out of bounds for array of size 4",
        ),
        ("begin { $r = (a=1); print($r.z); }", "27: Record does not contain a field named 'z'"),
        (
            "begin { $t = (1, 2); print($t.5); }",
            "28: Invalid tuple index: 5. Found 2 elements in tuple.",
        ),
        (
            "begin { print(curtask.nope); }",
            "15: Struct/union of type 'struct task_struct' does not contain a field named 'nope'",
        ),
        ("begin { print(pid.x); }", "15: Can not access field 'x' on expression of type 'uint32'"),
        ("begin { print((enum state)7); }", "15: Enum: state doesn't contain a variant value of 7"),
        ("begin { print((enum nope)7); }", "15: Unknown enum: nope"),
        ("begin { $x = (int64)kstack; }", '14: Cannot cast from "kstack_bpftrace_127" to "int64"'),
        ("begin { let $x: struct nope; }", '17: Cannot resolve unknown type "struct nope"'),
        ("begin { print(comptime pid); }", "15: Unable to resolve comptime expression"),
        (
            "begin { $p = (int8 *)1; print($p * 2); }",
            "31: The * operator can not be used on expressions of types int8 *, int8",
        ),
        (
            "begin { $a = (int8[4])(int32)1; print($a < $a); }",
            "39: The < operator cannot be used on arrays.",
        ),
        (
            "begin { @c = count(); print(-@c); }",
            "29: The - operator can not be used on expressions of type 'count_t'",
        ),
        ("begin { let $x; print($x); }", "23: Could not resolve the type of this variable"),
        (
            "begin { print(arg0); }",
            "15: The arg0 builtin can only be used with 'kprobes', 'uprobes' and 'usdt' probes",
        ),
        (
            "begin { print(typeinfo(1).base_type); }",
            "15: typeinfo feature is not enabled by default. "
            "To enable this unstable feature, set the config flag to enable. "
            "unstable_typeinfo=enable",
        ),
    ],
)
def test_errors(script: str, error: str) -> None:
    assert errors(script)[0] == error


def test_unknown_names_suggest_the_nearest() -> None:
    from bpfscript.diagnostics import ScriptError

    with pytest.raises(ScriptError) as caught:
        checked("begin { print(elapsd); prinf(1); }")
    hints = [d.hint for d in caught.value.diagnostics]
    assert hints == ["Did you mean 'elapsed'?", "Did you mean 'printf'?"]


def test_c_macros_are_expressions() -> None:
    names = FakeNames({"A": "(B + 1)", "B": "0x10", "LOOP": "LOOP", "WHO": "pid"})
    found = checked("#define A\nbegin { @x = A; @y = WHO; }", names=names)
    assert str(found.maps["@y"].value) == "uint32"
    assert 17 in found.constants.values()


def test_conversions_that_may_lose_are_told() -> None:
    text = "Expression of type: {} being cast to type: {}. This may cause unexpected results. "
    text += "Use an explicit cast to suppress this warning."
    assert warnings("begin { $b = -1; let $a: uint16 = $b; }") == [
        "35: " + text.format("int8", "uint16")
    ]
    assert warnings("begin { print(nsecs > -1); }") == ["15: " + text.format("uint64", "int64")]
    assert warnings("begin { print(nsecs + 1); print(pid > -1); print(pid - 1); }") == []
    assert warnings("begin { print(nsecs - 1); }") == ["15: " + text.format("uint64", "int64")]
    wrapped = "begin { let $x: uint8 = 1; $x += 300; }"
    assert warnings(wrapped) == ["31: " + text.format("uint64", "uint8")]
    assert warnings("begin { print((int64)(int8)-1); }") == [
        "22: Unnecessary cast: expression is already of type int8"
    ]


@pytest.mark.parametrize(
    ("division", "warned"),
    [("(int32)@i / 8", 1), ("(int64)@i / (int64)8", 0), ("(uint32)@i / 8", 0), ("@i / 300", 1)],
)
def test_signed_division(division: str, warned: int) -> None:
    """Operands that have to be converted, and not to an unsigned type."""
    found = warnings(f"begin {{ @i = 0; @ = {division}; }}")
    assert len([w for w in found if "signed operands" in w]) == warned


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ('begin { print("a" == 1); }', "15: Type mismatch for '==': comparing string[2] with int8"),
        ('begin { print(memcmp("a", "b", nsecs)); }', "15: memcmp() expects a int literal"),
        ("begin { @a[1] = 1; delete(@a, typeof(1)); }", "31: When used as a call argument"),
        ("begin { @x[1, 2] = 1; @x[1, comm] = 2; }", "23: Argument mismatch for @x"),
        ("macro m(a, a) { a } begin { }", "12: Ident for macro argument has already been used: a"),
        ("let @a = hash(0); begin { @a[1] = 1; }", "1: A map needs room for one entry"),
    ],
)
def test_wrong_programs(script: str, found: str) -> None:
    assert errors(script)[0].startswith(found)


def test_literals_as_conditions() -> None:
    checked('begin { if ("a") { } static_assert(1, "m"); assert_str(comm); print(1 + "abc"); }')


def test_c_definitions_that_nothing_uses_are_checked() -> None:
    assert "redefinition" in errors("struct S { int a; }; struct S { int b; }; begin { }")[0]


def test_a_block_as_a_statement_is_blamed_as_a_whole() -> None:
    assert warnings("begin { { 1 } print(2); }") == ["9: Return value discarded."]
