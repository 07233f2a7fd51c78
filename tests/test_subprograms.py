"""Functions of a script (LANGUAGE §1.10): what calls give, and what is refused."""

from __future__ import annotations

import pytest
from check_support import checked, errors, warnings
from tracing import trace

ADD = "fn add($a : int64, $b : string[4]) : int64 { return $a; } "
AROUND = """
fn first($above : int64) : int64 {
  for ($kv : @m) { for ($i : 0..2) { if ($kv.1 > $above) { return $kv.1; } } }
  return -1;
}
fn twice($x : int64) : int64 { return sum2($x, $x); }
fn sum2($a : int64, $b : int64) : int64 { return $a + $b; }
fn name($s : string[16], $n : int32) : string[20] { if ($n > 2) { return "big"; } return $s; }
fn fact($n : uint64) : uint64 {
  $r = (uint64)1;
  for ($i : 1..10) { if ($i > $n) { return $r; } $r *= (uint64)$i; }
  return 0;
}
fn note($x : int64) : void { @seen[$x] = count(); if ($x == 3) { return; } @more[$x] = count(); }
macro square_sum(x) { sum2(x * x, x * x) }
begin {
  @m[1] = 10;
  print((first(5), first(10)));
  for ($kv : @m) { print(first(4) + $kv.1); }
  print(sum2(sum2(1, 2), twice(3))); print(square_sum(3)); print(fact(5));
  print((name("abc", 1), name(comm, 3)));
  note(1); note(3);
  clear(@m);
}
"""


@pytest.mark.requires("root", "btf")
@pytest.mark.parametrize("backend", ["native", "llvm"])
def test_calls(backend: str) -> None:
    shown = trace(AROUND, "true", "--backend", backend).split("\n")
    assert shown[:6] == ["(10, -1)", "20", "9", "18", "120", "(abc, big)"]
    assert shown[8:] == ["@more[1]: 1", "@seen[1]: 1", "@seen[3]: 1"]


@pytest.mark.parametrize(
    ("call", "found"),
    [
        ("add(1);", ["67: Function `add` requires 2 arguments, got only 1"]),
        ('add(1, "a", 2);', ["67: Function `add` requires 2 arguments, got 3"]),
        (
            'add("a", "abcd");',
            [
                "71: Expected int64 for argument `a` got string[2]",
                "76: Expected string[4] for argument `b` got string[5]",
                "67: Function `add` requires arguments (int64, string[4])",
            ],
        ),
    ],
)
def test_arguments(call: str, found: list[str]) -> None:
    assert errors(f"{ADD}begin {{ {call} }}") == found


@pytest.mark.parametrize(
    ("script", "found"),
    [
        ("fn f() : int8 { return 300; } begin { f(); }", "cannot return int16"),
        ("fn f() : int8 { return nope; }", "Unknown identifier: 'nope'"),
        ("fn f() : int8 { return $a; } begin { $a = 1; f(); }", "undeclared variable: $a"),
        ("fn f() : int8 { return g(); } fn g() : int8 { return f(); }", "Call chain: f > g > f"),
        ("fn f() : int8 { } fn f() : int8 { }", "Redefinition of function: f"),
        ("fn f() : sum_t { }", "Invalid return type: sum_t"),
        ("fn f($a : max_t) : void { }", "Invalid variable declaration type: max_t"),
        ("fn f() : int64 { return arg0; } begin { f(); }", "The arg0 builtin"),
    ],
)
def test_refused(script: str, found: str) -> None:
    assert found in errors(script)[0]


def test_uncalled() -> None:
    """What only some probes have is not missed while nothing calls the function."""
    checked("fn f($a : int64) : int64 { return arg0 + $a; } begin { }")


def test_discarded() -> None:
    assert len(warnings('begin { add(1, "a") } ' + ADD)) == 1


@pytest.mark.requires("root", "btf")
@pytest.mark.parametrize("backend", ["native", "llvm"])
def test_length_of_a_string_at_run_time(backend: str) -> None:
    script = 'begin { for $i : 0..9 { printf("[%s]", str("abcdef", (uint64)$i)); } }'
    shown = trace(script, "true", "--backend", backend)
    assert shown == "[][][a][ab][abc][abcd][abcde][abcdef][abcdef]"


def test_names_of_this_machine() -> None:
    found = checked("begin { print(__builtin_arch); print(__builtin_safe_mode); }")
    assert list(found.constants.values()) == [b"x86_64", True]


@pytest.mark.parametrize("call", ["unwatch(1)", "dw_ustack", "dw_ustack(3)", "sarg0"])
def test_what_is_gone(call: str) -> None:
    assert "Unknown" not in errors(f"begin {{ print({call}); }}")[0]


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("$p.1", "Can not access index '1' on expression of type '(int8,int8) *'"),
        ("$p->1", "syntax: expected field name after '->'"),
        ('is_err("a")', "is_err() only supports int or pointer arguments (string provided)"),
    ],
)
def test_tuples_by_pointer(expression: str, found: str) -> None:
    assert found in errors(f"begin {{ $t = (1, 2); $p = &$t; print({expression}); }}")[0]


@pytest.mark.requires("root", "btf")
def test_values_that_upstream_gives() -> None:
    script = """begin {
        print((strftime("%S", 1s) == strftime("%M", 1s), is_err(true), (void *)-1));
        print(strstr("abc", "x") < 0);
    }"""
    assert trace(script, "true") == "(false, false, 0xff)\ntrue"
