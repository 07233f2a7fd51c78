"""Maps over a whole program."""

from __future__ import annotations

import pytest
from check_support import checked, errors, warnings

from bpfscript.manifest import MapType
from bpfscript.types import Aggregate


@pytest.mark.parametrize(
    ("script", "key", "value"),
    [
        ("begin { @[1] = 1; } end { @[1000] = -1; }", "int16", "int8"),
        ("begin { @ = count(); }", "None", "count_t"),
        ("begin { @ = sum(3); @ = sum(pid); }", "None", "usum_t"),
        ("begin { @ = min(pid); @ = min(-1); }", "None", "min_t"),
        ("begin { @a[@c] = 1; @c = count(); }", "uint64", "int8"),
        ("begin { @a = { let $b = 1; count() }; }", "None", "count_t"),
        ("begin { @a = 1; @b = count(); @a = @b; }", "None", "uint64"),
        ("begin { @a = @a + 1; @b[@a] = count(); }", "None", "int64"),
        ("begin { @b[@a] = count(); } end { @a = @a + 1; }", "None", "int64"),
        ("begin { @a = @b; @b = @a; }", "None", "int8"),
        ("begin { @a = @a == 0 ? nsecs : @a; }", "None", "uint64"),
        ("begin { @a = (uint8)@a; }", "None", "uint8"),
        ('begin { @a = @a; } end { @a = "abc"; }', "None", "string[4]"),
        ("begin { for ($kv : @a) { $k = $kv.0; } @a[1, comm] = 1; }", "(int8,string[16])", "int8"),
    ],
)
def test_types(script: str, key: str, value: str) -> None:
    found = next(iter(sorted(checked(script).maps.items())))[1]
    assert (str(found.key), str(found.value)) == (key, value)


def test_parameters_of_aggregates() -> None:
    found = checked(
        'begin { @a = lhist(1, 0, 10, 2); @b = hist(1, 3); @c = tseries(1, 1s, 2, "max"); }'
    )
    values = [m.value for m in found.maps.values()]
    assert [v.params for v in values if isinstance(v, Aggregate)] == [
        (0, 10, 2),
        (3,),
        (1_000_000_000, 2, 2),
    ]


def test_declarations() -> None:
    found = checked("let @a = lruhash(7); begin { @a[1] = 1; }").maps["@a"]
    assert (found.kind, found.entries) == (MapType.LRU_HASH, 7)
    assert warnings("let @a = hash(2); begin { }") == ["1: Unused map: @a"]


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ("let @a = potato(2); begin { @a[1] = 1; }", "1: Invalid bpf map type: potato"),
        (
            "let @a = hash(2); begin { @a[1] = count(); }",
            "27: Incompatible map types. Type from "
            "declaration: hash. Type from value/key type: percpuhash",
        ),
        (
            "begin { @x[1,2] = 0; @x[3] = 1; }",
            "9: Argument mismatch for @x: trying to access with "
            "arguments: '(int8,int8)' when map expects arguments: 'int8'",
        ),
        (
            "begin { @x = count(); @x = sum(5); }",
            "28: Type mismatch for @x: trying to assign value of type "
            "'sum_t' when map already has a type 'count_t'",
        ),
        (
            "begin { @x = count(); @x++; }",
            "23: Type mismatch for @x: trying to assign value of type "
            "'uint64' when map already has a type 'count_t'",
        ),
        (
            "begin { @h = hist(1, 1); @h = hist(1, 2); }",
            "31: Different bits in a single hist unsupported",
        ),
        (
            "begin { @ = lhist(1,10,5,1); }",
            "13: lhist() min must be less than max (provided min 10 and max 5)",
        ),
        ("begin { @ = lhist(1,0,10,0); }", "13: lhist() step must be >= 1 (0 provided)"),
        ("begin { @ = tseries(1, 0, 5); }", "13: tseries() interval_ns must be >= 1 (0 provided)"),
        ("begin { print(@nope); }", "15: Undefined map: @nope"),
        (
            "begin { @m = 1; for ($kv : @m) { } }",
            "28: @m has no explicit keys (scalar map), and cannot be used for iteration",
        ),
        (
            "begin { @h[1] = hist(1); for ($kv : @h) { } }",
            "37: Loop expression does not support type: hist_t",
        ),
        ("interval:s:1 { @[ctx] = 1; }", "18: context cannot be part of a map key"),
    ],
)
def test_errors(script: str, error: str) -> None:
    assert errors(script)[0] == error


def test_copied_aggregates_say_how() -> None:
    from bpfscript.diagnostics import ScriptError

    with pytest.raises(ScriptError) as caught:
        checked("begin { @y = count(); @x = @y; }")
    (fault,) = caught.value.diagnostics
    assert fault.message.startswith(
        "Map value 'count_t' cannot be assigned from one map to another."
    )
    assert fault.hint is not None and fault.hint.endswith("`@x = (int64)@y;`.")


def test_captured_variables() -> None:
    script = (
        "begin { $a = 1; $b = 1; @m[1] = 1; for ($kv : @m) { $a = $kv.0; $c = 1; } print($b); }"
    )
    locals = {local.name: local for local in checked(script).locals.values()}
    assert {name for name, local in locals.items() if local.captured} == {"$a"}
    ranged = checked("begin { $a = 1; for ($i : 0..3) { $a++; } }")
    assert not any(local.captured for local in ranged.locals.values())


def test_types_settle_where_a_loop_variable_grows() -> None:
    text = 'begin { for ($k : @a) { $k = (1, "abcdefgh"); } @a[1] = "a"; @c = @c; }'
    maps = checked(text).maps
    assert (str(maps["@a"].value), str(maps["@c"].value)) == ("string[2]", "int8")
