"""Names of a Go program that has no symbols: from the table that Go's runtime reads.

The program is assembled; its table is laid out as Go 1.18 to 1.25 and Go 1.26 do.
"""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest
from tracing import trace

from bpfscript.runtime.elf_functions import function_symbols
from bpfscript.runtime.elf_image import image_in
from bpfscript.runtime.function_table import function_table
from bpfscript.runtime.go_functions import go_functions

CODE = """
.text
before: nop
.balign 16
go_text:
one: nop
  ret
.balign 16
two: nop
  ret
.balign 16
go_end:
.globl main
main:
  call one
  call two
  xor %eax, %eax
  ret
.section .gopclntab, "a"
table: .long {magic}
  .byte 0, 0, 1, 8
  .quad 2, 0, {text}, names - table, 0, 0, 0, entries - table
names: .string "main.one"
second: .string "main.(*T).Two"
entries: .long one - go_text, 1f - entries, two - go_text, 2f - entries, go_end - go_text
1: .long one - go_text, 0
2: .long two - go_text, second - names
.section .go.module, "aw"
  .quad table, {module}, 0
.section .note.GNU-stack, "", @progbits
"""
LAYOUTS = {
    "1.18": ("0xfffffff0", "go_text", "0"),
    "1.20": ("0xfffffff1", "go_text", "0"),
    "1.26": ("0xfffffff1", "0", "go_text, go_end"),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    magic, text, module = LAYOUTS[request.param]
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.s").write_text(CODE.format(magic=magic, text=text, module=module))
    subprocess.run(["gcc", "-no-pie", "-s", "-o", "go", "main.s"], cwd=folder, check=True)
    return str(folder / "go")


def test_functions(program: str) -> None:
    one, two = (s for s in function_symbols(program) if s.name.startswith("main."))
    assert (one.name, two.name) == ("main.one", "main.(*T).Two")
    assert (one.size, two.address - one.address) == (16, 16)
    code = Path(program).read_bytes()
    assert code[one.offset : one.offset + 2] == code[two.offset : two.offset + 2] == b"\x90\xc3"
    image = image_in(code)
    assert image and function_table(image, program).find(two.address + 1) == ("main.(*T).Two", 1)


@pytest.mark.kernel
def test_tracing(program: str) -> None:
    script = f"""
        uprobe:{program}:main.* {{ printf("%s %s\\n", func, usym(reg("ip"))); }}
    """
    assert trace(script, program).splitlines() == [
        "main.one main.one", "main.(*T).Two main.(*T).Two",
    ]  # fmt: skip


def test_what_is_damaged_names_nothing_or_something_else(program: str) -> None:
    content, r = Path(program).read_bytes(), random.Random(1)
    start = content.index(b"main.one") - 72
    for _ in range(500):
        broken = bytearray(content)
        for _ in range(r.randrange(1, 4)):
            broken[start + r.randrange(160)] = r.choice((0, 1, 0x7F, 0xFF, r.randrange(256)))
        image = image_in(bytes(broken))
        assert image is not None
        assert len(go_functions(image)) < os.path.getsize(program)
