"""Programs of Go: their names, where their functions have arguments, their lines, their stacks.

The program is assembled: its symbols and its debug information are like those of Go 1.19.
"""

from __future__ import annotations

import subprocess

import pytest
from resolving import faults, names
from tracing import trace

import bpfscript
from bpfscript.diagnostics import ScriptError
from bpfscript.runtime.dwarf import debug_info
from bpfscript.runtime.elf_functions import function_symbols
from bpfscript.runtime.live_target import LiveTarget

CODE = r"""
.file 1 "main.go"
.text
.macro FUNCTION name
  .globl "\name"
  .type "\name", @function
  "\name":
.endm
FUNCTION "main.(*T).Method"
  .loc 1 7
  nop
  ret
.size "main.(*T).Method", . - "main.(*T).Method"
FUNCTION "main.Map[go.shape.int_0]"
  .loc 1 9
  ret
.size "main.Map[go.shape.int_0]", . - "main.Map[go.shape.int_0]"
FUNCTION "example.com/geo/pkg%2ed.add·f"
  ret
.size "example.com/geo/pkg%2ed.add·f", . - "example.com/geo/pkg%2ed.add·f"
FUNCTION runtime.copystack
  ret
.size runtime.copystack, . - runtime.copystack
FUNCTION main
  sub $40, %rsp
  movq $41, 8(%rsp)
  movq $42, 16(%rsp)
  mov $-3, %rax
  lea text(%rip), %rbx
  mov $7, %ecx
  mov $-1, %edi
  mov $300, %esi
  call "main.(*T).Method"
  call "main.Map[go.shape.int_0]"
  call "example.com/geo/pkg%2ed.add·f"
  xor %eax, %eax
  add $40, %rsp
  ret
.size main, . - main
text: .string "gophers"
end:
.section .note.GNU-stack, "", @progbits
"""

UNIT, FUNCTION, PARAMETER, LISTED, BASE, STRUCT, MEMBER, ARRAY, COUNT = range(1, 10)
ABBREVIATIONS = {  # (tag, has children, (attribute, form)...): DWARF 4, section 7
    UNIT: (0x11, 1, (0x03, 0x08), (0x13, 0x0F), (0x10, 0x17), (0x11, 0x01), (0x12, 0x01)),
    FUNCTION: (0x2E, 1, (0x03, 0x08), (0x11, 0x01), (0x12, 0x01), (0x40, 0x0A)),
    PARAMETER: (0x05, 0, (0x03, 0x08), (0x4B, 0x0C), (0x49, 0x13), (0x02, 0x0A)),
    LISTED: (0x05, 0, (0x03, 0x08), (0x4B, 0x0C), (0x49, 0x13), (0x02, 0x17)),
    BASE: (0x24, 0, (0x03, 0x08), (0x3E, 0x0B), (0x0B, 0x0B)),
    STRUCT: (0x13, 1, (0x03, 0x08), (0x0B, 0x0F)),
    MEMBER: (0x0D, 0, (0x03, 0x08), (0x38, 0x0F), (0x49, 0x13)),
    ARRAY: (0x01, 1, (0x49, 0x13), (0x0B, 0x0F)),
    COUNT: (0x21, 0, (0x37, 0x0F)),
}
METHOD = '"main.(*T).Method"'
LISTS = {  # parameter → its place at the first instruction, after which it is elsewhere
    "n": "0x50",  # DW_OP_reg0
    "text": "0x53, 0x93, 8, 0x52, 0x93, 8",  # reg3, piece 8, reg2, piece 8
    "mixed": "0x55, 0x93, 1, 0x54, 0x93, 4",  # reg5, piece 1, reg4, piece 4: no padding is told
    "real": "0x61",  # reg17 is xmm0
    "half": "0x58, 0x93, 8, 0x93, 8",  # the second piece is nowhere
}
PARAMETERS = {  # name → type, in the order of the source
    "n": "int", "text": "string", "mixed": "mixed", "real": "float64", "half": "string",
    "big": "array", "unused": "int", "~r0": "int",
}  # fmt: skip


def information() -> str:
    """.debug_abbrev, .debug_loc and .debug_info."""
    lines = [".section .debug_abbrev"]
    for code, (tag, children, *attributes) in ABBREVIATIONS.items():
        lines.append(f".uleb128 {code}, {tag}, {children}")
        lines += [f".uleb128 {name}, {form}" for name, form in attributes]  # type: ignore[misc]
        lines.append(".uleb128 0, 0")
    lines += [".uleb128 0", ".section .debug_loc"]
    for name, place in LISTS.items():
        lines.append(f"at_{name}:")
        for first, last, where in ((0, 1, place), (1, 2, "0x56")):
            lines += [f".quad {first}, {last}"]
            lines += [".short 8f - 7f", f"7: .byte {where}", "8:"]
        lines.append(".quad 0, 0")
    lines += [".section .debug_info", "unit: .long unit_end - 1f", "1: .short 4", ".long 0"]
    lines += [".byte 8", f".uleb128 {UNIT}", '.string "main"', ".uleb128 22", ".long lines"]
    lines += [f".quad {METHOD}, end"]
    for name, code, bytes in (("int", 5, 8), ("int8", 5, 1), ("int32", 5, 4), ("float64", 4, 8)):
        lines += [f"type_{name}: .uleb128 {BASE}", f'.string "{name}"', f".byte {code}, {bytes}"]
    for name, size, members in (
        ("string", 16, (("str", 0, "int"), ("len", 8, "int"))),
        ("mixed", 8, (("a", 0, "int8"), ("b", 4, "int32"))),
    ):
        lines += [f"type_{name}: .uleb128 {STRUCT}", f'.string "{name}"', f".uleb128 {size}"]
        for member, at, of in members:
            lines += [f".uleb128 {MEMBER}", f'.string "{member}"', f".uleb128 {at}"]
            lines += [f".long type_{of} - unit"]
        lines.append(".byte 0")
    lines += [f"type_array: .uleb128 {ARRAY}", ".long type_int - unit", ".uleb128 16"]
    lines += [f".uleb128 {COUNT}, 2", ".byte 0"]
    lines += [f".uleb128 {FUNCTION}", f".string {METHOD}", f".quad {METHOD}, {METHOD} + 2"]
    lines += [".byte 1, 0x9c"]  # DW_OP_call_frame_cfa
    for name, of in PARAMETERS.items():
        listed = name in LISTS
        lines += [f".uleb128 {LISTED if listed else PARAMETER}", f'.string "{name}"']
        lines += [f".byte {int(name == '~r0')}", f".long type_{of} - unit"]
        if listed:
            lines.append(f".long at_{name}")
        elif name == "big":  # DW_OP_fbreg 8
            lines.append(".byte 2, 0x91, 8")
        else:
            lines.append(".byte 0")
    lines += [".byte 0, 0", "unit_end:", ".section .debug_line", "lines:"]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.s").write_text(information() + CODE)
    subprocess.run(["gcc", "-gdwarf-4", "-no-pie", "-o", "go", "main.s"], cwd=folder, check=True)
    return str(folder / "go")


def test_names(program: str) -> None:
    assert sorted(names(f"uprobe:{program}:main.* {{ }}", target=LiveTarget())) == [
        f"uprobe:{program}:main.(*T).Method", f"uprobe:{program}:main.Map[go.shape.int_0]",
    ]  # fmt: skip
    for name in ("main.(*T).Method", "example.com/geo/pkg%2ed.add·f", "main.Map[go.shape.int_0]"):
        point = f'uprobe:{program}:"{name}"'
        assert names(f"{point} {{ }}", target=LiveTarget()) == [point.replace('"', "")]


def test_results_are_no_parameters(program: str) -> None:
    info = debug_info(program, ())
    (symbol,) = (s for s in function_symbols(program) if s.name == "main.(*T).Method")
    assert info and info.declarations(symbol.address) == [
        "int n", "struct string text", "struct mixed mixed", "float64 real", "struct string half",
        "int[] big", "int unused",
    ]  # fmt: skip


def test_lines(program: str) -> None:
    assert names(f"uprobe:{program}@main.go:9 {{ }}", target=LiveTarget())
    message = "DWARF error: No compilation unit matches other.go"
    assert faults(f"uprobe:{program}@other.go:9 {{ }}", target=LiveTarget()) == [message]


def test_no_probe_replaces_a_return_address(program: str) -> None:
    (message,) = faults(f"uretprobe:{program}:main.* {{ }}", target=LiveTarget())
    assert message == f"{program} is a Go program, which a uretprobe can kill"


@pytest.mark.parametrize("name", ["real", "half", "unused"])
def test_what_is_out_of_reach(program: str, name: str) -> None:
    with pytest.raises(ScriptError, match=f"{name} is not where a program can read it"):
        bpfscript.compile(f'uprobe:{program}:"main.(*T).Method" {{ print(args.{name}); }}')


@pytest.mark.kernel
class TestTracing:
    def test_arguments(self, program: str) -> None:
        script = f"""
            uprobe:{program}:"main.(*T).Method" {{
                printf("%d %s %d", args.n, str(args.text.str), args.text.len);
                printf(" %d %d %d", args.mixed.a, args.mixed.b, args.big[1]);
            }}
        """
        assert trace(script, program) == "-3 gophers 7 -1 300 42"

    def test_func(self, program: str) -> None:
        script = f"uprobe:{program}:main.*,uprobe:{program}:example* {{ @[func] = count(); }}"
        assert sorted(trace(script, program).splitlines()) == [
            "@[example.com/geo/pkg%2ed.add·f]: 1", "@[main.(*T).Method]: 1",
            "@[main.Map[go.shape.int_0]]: 1",
        ]  # fmt: skip
