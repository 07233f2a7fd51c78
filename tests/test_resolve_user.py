from __future__ import annotations

import pytest
from resolving import FILES, faults, machine, names, resolved, run

from bpfscript.frontend.typed import Options


def places(script: str) -> list[tuple[str, str, int]]:
    return [(a.target, a.symbol, a.offset) for i in resolved(script) for a in i.attachments]


def test_functions() -> None:
    assert names("u:./prog:add { }") == ["uprobe:./prog:add"]
    assert names("ur:./prog:add* { }") == ["uretprobe:./prog:add", "uretprobe:./prog:add_more"]
    assert places("u:./prog:add* { }") == [
        ("./prog", "add", 0x100),
        ("./prog", "add_more", 0x110),
    ]
    assert names("u:./*:add { }") == ["uprobe:./prog:add"]
    assert names("u:./prog:_start { }") == ["uprobe:./prog:_start"]


def test_offsets() -> None:
    assert names("u:./prog:add+0 { }") == ["uprobe:./prog:add"]
    unsafe = Options(unsafe=True)
    (instance,) = resolved("u:./prog:add+0x4 { }", options=unsafe)
    assert instance.names == ("uprobe:./prog:add+4",)
    assert instance.attachments[0].offset == 0x104


def test_addresses() -> None:
    assert names("u:./prog:0x1100, ur:./prog:4352 { }") == [
        "uprobe:./prog:4352",
        "uretprobe:./prog:4352",
    ]
    assert places("u:./prog:0x1110 { }") == [("./prog", "add_more", 0x110)]


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("u::add", "uprobe should have a target"),
        ("u:./prog:", "uprobe should be attached to a function and/or address"),
        ("u:./prog:foo:add", "unsupported language type: foo"),
        ("u:./nope:add", "uprobe target file './nope' does not exist or is not executable"),
        ("u:./prog:nope", "No matches for uprobe ./prog:nope."),
        ("u:./prog:add+x", "Invalid offset: invalid integer: x"),
        ("u:./prog:add+", "Invalid offset"),
        ("u:./prog:+4", "Invalid offset"),
        ("u:./prog:add+16", "Offset outside the function bounds ('add' size is 16)"),
        ("u:./prog:add+1", "Could not add uprobe into middle of instruction: ./prog:add+1"),
        ("u:./prog:_start+1", "Could not determine boundary for _start (symbol has size 0)."),
        ("u:./prog:0x1101", "Could not add uprobe into middle of instruction: ./prog:add+1"),
        ("u:./prog:0xa", "Could not resolve address: ./prog:0xa"),
        ("ur:./prog:add+4", "Offset not allowed"),
        (
            "ur:./prog:0x1101",
            "uretprobes cannot be attached at function offset. (address resolved to: add+1)",
        ),
        ("ur:./prog@prog.c:3", "Source code location not allowed"),
        (
            "u:./prog@prog.c",
            "Invalid uprobe arguments, expected format: uprobe:TARGET@FILE:LINE[:COL]",
        ),
        ("u:./prog@prog.c:x", "Invalid line number: invalid integer: x"),
        (
            "u:./prog@prog.c:3",
            "No DWARF debug info found for './prog', cannot attach by source code location.",
        ),
    ],
)
def test_faults(point: str, message: str) -> None:
    assert faults(f"{point} {{ }}") == [message]


def test_cpp_names() -> None:
    int_, long_ = "uprobe:./cxx:cpp:_ZN2ns5twiceEi", "uprobe:./cxx:cpp:_ZN2ns5twiceEl"
    assert names('u:./cxx:cpp:"ns::twice" { }') == [int_, long_]
    assert names('u:./cxx:cpp:"ns::twice(int)" { }') == [int_]
    assert names('u:./cxx:cpp:"*::tw*" { }') == [int_, long_]
    assert names("u:./cxx:cpp:twice { }") == ["uprobe:./cxx:cpp:twice"]
    assert faults('u:./cxx:"ns::twice" { }') == ["No matches for uprobe ./cxx:ns::twice."]


def test_a_process() -> None:
    files = {
        "/proc/7/exe": FILES["./prog"],
        "/proc/7/maps": FILES["./cxx"],
    }
    of_process = Options(pid=7)
    target = machine(files=files)
    assert names("u:add { }", target=target, options=of_process) == ["uprobe:/proc/7/exe:add"]
    found = names("u:*:twice { }", target=target, options=of_process)
    assert found == ["uprobe:/proc/7/maps:twice"]


def test_every_fault_is_reported() -> None:
    assert faults("foo { } u:./prog:nope { }")[1] == "No matches for uprobe ./prog:nope."


def test_offsets_where_an_instruction_starts() -> None:
    target = machine(starts={("./prog", "add"): {0, 4}})
    assert names("u:./prog:add+4 { }", target=target) == ["uprobe:./prog:add+4"]
    assert names("u:./prog:0x1104 { }", target=target) == ["uprobe:./prog:4356"]


def test_arguments_by_name_need_dwarf() -> None:
    _, report = run("u:./prog:add { print(args.a); }")
    assert report.errors[0].message == (
        'Could not parse arguments of "uprobe:./prog:add": no debuginfo found for ./prog'
    )
