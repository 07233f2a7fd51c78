from __future__ import annotations

import pytest

from bpfscript.frontend.attach_points import MalformedError, integer, is_number, split


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("begin", ["begin"]),
        ("tracepoint:sched:sched_switch", ["tracepoint", "sched", "sched_switch"]),
        ("tracepoint::", ["tracepoint", "", ""]),
        ('u:"./a:b":f', ["u", "./a:b", "f"]),
        ('u:./c:cpp:"ns::twice(int)"', ["u", "./c", "cpp", "ns::twice(int)"]),
        (r'u:"a\"b\\c":f', ["u", r'a"b\c', "f"]),
        (r"u:a\b:f", ["u", r"a\b", "f"]),
        ('beg"in"', ["begin"]),
        ("u:./t@t.c:3", ["u", "./t", "@", "t.c", "3"]),
        ("name=begin", ["begin"]),
        ("a=b=begin", ["b=begin"]),
        ("t:sched:a=b", ["t", "sched", "a=b"]),
    ],
)
def test_split(text: str, parts: list[str]) -> None:
    assert split(text) == parts


def test_parameters_are_substituted_outside_quotes() -> None:
    given = ("IN", "20", "a:b")
    assert split("BEG$1", given) == ["BEGIN"]
    assert split("i:ms:$2", given) == ["i", "ms", "20"]
    assert split("t:$3", given) == ["t", "a", "b"]
    assert split('i:ms:"$2"', given) == ["i", "ms", "$2"]
    assert split("t:s:x_$4", given) == ["t", "s", "x_"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$x:y", "invalid trailing character for positional param: x."),
        ("i:ms:$#", "invalid trailing character for positional param: #."),
        ("i:ms:$0", "invalid trailing character for positional param: 0."),
        ("i:ms:1$", "positional parameter is not valid: invalid integer: "),
        ("i:ms:$99999999999999999999", "positional parameter is not valid: overflow error"),
    ],
)
def test_bad_parameters(text: str, message: str) -> None:
    with pytest.raises(MalformedError) as caught:
        split(text)
    assert str(caught.value).startswith(message)


def test_numbers() -> None:
    assert [integer(t) for t in ("16", "0x10", "1e3", "10ms", "-5")] == [
        16, 16, 1000, 10_000_000, -5,
    ]  # fmt: skip
    assert is_number("0x10") and not is_number("1x") and not is_number("0x") and not is_number("f")
    with pytest.raises(MalformedError, match="invalid integer: x"):
        integer("x")
    with pytest.raises(MalformedError, match=r"invalid trailing bytes: 1\.5"):
        integer("1.5")
