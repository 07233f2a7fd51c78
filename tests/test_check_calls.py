"""Functions: what they take, where they may be called, what formats they accept."""

from __future__ import annotations

import pytest
from check_support import checked, errors, warnings

from bpfscript.frontend.check_calls import RULES
from bpfscript.frontend.check_formats import conversions, formatted
from bpfscript.frontend.functions import AGGREGATES, FUNCTIONS, MACROS
from bpfscript.frontend.typed import Options
from bpfscript.target import MachineError
from bpfscript.types import VOID


def test_every_function_without_a_result_has_a_rule() -> None:
    without = {row.name for row in FUNCTIONS.values() if row.result is None} - {*MACROS}
    assert without == {*RULES, *AGGREGATES} - {n for n, r in FUNCTIONS.items() if r.result}


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("printf()", "printf() requires at least one argument (0 provided)"),
        ("exit(1, 2)", "exit() takes up to one argument (2 provided)"),
        ('exit("a")', "exit() only supports int arguments (string provided)"),
        ("bswap()", "bswap() requires one argument (0 provided)"),
        ('bswap("a")', "bswap() only supports integer arguments (string provided)"),
        ('strncmp("a")', "strncmp() requires 3 arguments (1 provided)"),
        ('strncmp("a", "b", pid)', "Builtin strncmp requires a non-negative literal"),
        ("print()", "print() requires at least one argument (0 provided)"),
        ("print(1, 2, 3)", "Non-map print() only takes 1 argument, 3 found"),
        ("print(())", "none type passed to print() is not printable"),
        ('printf("%f", 1)', "unsupported format specifier: f"),
        ('printf("%d", "x")', "unsupported format specifier for type 'string[2]': d"),
        ('printf("%d %d", 1)', "not enough arguments for format string (1 supplied, 2 expected)"),
        ('printf("%d", 1, 2)', "too many arguments for format string (2 supplied, 1 expected)"),
        ('printf("%d", print(1))', "unable to print none type for specifier: d"),
        ('printf("%r", 1)', "unsupported format specifier for type 'int8': r"),
        ("printf(comm)", "printf() expects a string literal (string provided)"),
        ('buf("abc")', "buf() expects a length argument for non-array type string"),
        ('pton("300.1.1.1")', "pton() expects a valid IPv4/IPv6 address, got 300.1.1.1"),
        ('macaddr("abcdef")', "macaddr() does not support literal string arguments"),
        ('kaddr("nope")', "Failed to resolve kernel symbol: nope"),
        ('reg("ip")', 'reg can not be used with "begin" probes'),
        ('strftime("%S", nsecs(monotonic))', "strftime() can not take a monotonic timestamp"),
        ('strftime("%S", -1)', "strftime() does not accept negative timestamps"),
        ("kstack(2000)", "kstack([int limit]): limit shouldn't exceed 1024, 2000 given"),
        ("kstack(build_id)", "'build_id' stack mode can only be used for ustack"),
        ('kptr("x")', "kptr() only supports integer or pointer arguments (string provided)"),
        ('fail("no %d", 3)', "no 3"),
        ('static_assert(1 == 2, "no")', "no"),
        ('system("x")', "system() is an unsafe function being used in safe mode"),
        ('debugf("%d %d %d %d", 1, 2, 3, 4)', "cannot use more than 3 conversion specifiers"),
        ("count()", "count() must be assigned directly to a map"),
        ("nosuch(1)", "Unknown function: 'nosuch'"),
    ],
)
def test_errors(call: str, error: str) -> None:
    assert errors(f"begin {{ {call}; }}")[0] == f"9: {error}"


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("begin { clear(1); }", "15: clear() expects a map argument"),
        ("begin { print(nsecs(xxx)); }", "21: Invalid timestamp mode: xxx"),
        (
            "begin { @a = 1; print(len(@a)); }",
            "23: call to len() expects a map with explicit keys (non-scalar map)",
        ),
        (
            "begin { @a = 1; delete(@a, 1); }",
            "17: call to delete() with two arguments expects a map with explicit keys "
            "(non-scalar map)",
        ),
        (
            "begin { @a[1] = 1; delete(@a); }",
            "20: call to delete() with a single argument expects a map "
            "without explicit keys (scalar map)",
        ),
        (
            "begin { @a[1] = hist(1); print(@a[1]); }",
            "26: Map type hist_t cannot print the value of "
            "individual keys. You must print the whole map.",
        ),
        (
            'begin { @c = count(); printf("%d", @c); }',
            "23: unsupported format specifier for type 'count_t': d",
        ),
        (
            'begin { print((getopt("a", 1), getopt("a", 2))); }',
            "32: Command line option 'a' needs to have "
            "the same default value in all places it is used. Previous default value: 1",
        ),
    ],
)
def test_errors_elsewhere(script: str, error: str) -> None:
    assert errors(script)[0] == error


def test_signals_have_numbers() -> None:
    script = 'profile:hz:99 { signal("kill"); signal("SIGTERM"); signal(10); }'
    found = checked(script, Options(unsafe=True))
    assert {9, 15, 10} <= {v for v in found.constants.values() if isinstance(v, int)}
    wrong = 'profile:hz:99 { signal("FOO"); }'
    assert errors(wrong, Options(unsafe=True)) == ["17: Invalid string for signal: FOO"]


def test_named_parameters_must_be_asked_for() -> None:
    script = 'begin { print(getopt("aa", 20)); }'
    with pytest.raises(MachineError, match="unexpected program command line options: --zz"):
        checked(script, Options(named={"zz": "1"}))
    with pytest.raises(MachineError, match=r"--aa invalid integer \(value: true\)"):
        checked(script, Options(named={"aa": "true"}))


def test_calls_without_value_are_not_discarded_values() -> None:
    assert all(FUNCTIONS[name].result == VOID for name in ("clear", "zero", "time", "join", "exit"))
    assert warnings('begin { printf("x"); time(); @a[1] = 1; clear(@a); @a[1]++; _ = pid; }') == []
    assert warnings("begin { @a[1] = 1; delete(@a, 1); { 1 } }") == [
        "20: Return value discarded.",
        "37: Return value discarded.",
    ]


def test_formats() -> None:
    assert conversions("%-5d %% %lu %rx %gr %*d %s") == ["d", "u", "rx", "gr", "d", "s"]
    assert formatted("%d %s %x%%", [3, b"a", 255]) == "3 a ff%"
