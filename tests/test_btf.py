"""BTF: found through an index, whole or damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bpfscript.btf import Btf, BtfError
from bpfscript.btf_index import Index
from bpfscript.frontend.ctypes import CTypes
from bpfscript.plain import replace
from bpfscript.runtime.cache import Cache
from bpfscript.runtime.kernel_btf import BTF, kernel_btf
from bpfscript.types import Struct

STRINGS = b"\0int\0pair\0a\0b\0colour\0RED\0BLUE\0"


def name(text: str) -> int:
    return STRINGS.index(b"\0" + text.encode() + b"\0") + 1


def blob() -> bytes:
    """int; struct pair {int a; int b;}; enum colour {RED, BLUE = 5}; typedef int pair."""
    types = struct.pack("<4I", name("int"), 1 << 24, 4, 0x01000020)
    types += struct.pack("<3I", name("pair"), 4 << 24 | 2, 8)
    types += struct.pack("<6I", name("a"), 1, 0, name("b"), 1, 32)
    types += struct.pack("<3I", name("colour"), 6 << 24 | 2, 4)
    types += struct.pack("<4I", name("RED"), 0, name("BLUE"), 5)
    types += struct.pack("<3I", name("pair"), 8 << 24, 1)
    header = struct.pack(
        "<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(STRINGS)
    )  # fmt: skip
    return header + types + STRINGS


def test_names() -> None:
    btf = Btf(blob())
    assert len(btf) == 4
    found = btf.find("pair", "struct")
    assert found and (found.id, found.size) == (2, 8)
    assert [(m.name, m.bit_offset) for m in btf.members(found)] == [("a", 0), ("b", 32)]
    typedef = btf.find("pair", "typedef")
    assert typedef and (typedef.id, typedef.to) == (4, 1)
    assert btf.find("pai", "struct") is btf.find("", "struct") is btf.find("pair", "enum") is None
    assert [type.name for type in btf.all("int", "enum")] == ["int", "colour"]


def test_enumerators_are_found_without_looking_at_every_enum() -> None:
    btf = Btf(blob())
    found = btf.enumerator("BLUE")
    assert found and (found[0], found[1].name) == (5, "colour")
    assert btf.enumerator("a") is btf.enumerator("GREEN") is None


def test_an_index_serves_the_types_it_was_made_of() -> None:
    made: list[Index] = []

    def build(words: memoryview) -> Index:
        made.append(Index.build(words))
        return made[0]

    assert Btf(blob(), build).find("colour", "enum")
    again = Btf(blob(), lambda words: Index(words, bytes(made[0])))
    found, known = again.find("colour", "enum"), Btf(blob()).find("colour", "enum")
    assert found and known and replace(found, of=again) == replace(known, of=again)
    with pytest.raises(BtfError):
        Index(memoryview(bytes(16)).cast("I"), bytes(made[0]))


def test_a_modules_types_go_on_from_the_kernels() -> None:
    """struct mine {int a; struct pair own;}: `a`, `int` and another `pair` are the base's."""
    strings = b"mine\0own\0"
    types = struct.pack("<3I", len(STRINGS), 4 << 24 | 2, 12)
    types += struct.pack("<6I", name("a"), 1, 0, len(STRINGS) + len("mine "), 6, 32)
    types += struct.pack("<3I", name("pair"), 4 << 24 | 1, 4)
    types += struct.pack("<3I", name("b"), 1, 0)
    header = struct.pack(
        "<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings)
    )  # fmt: skip
    base = Btf(blob())
    btf = Btf(header + types + strings, base=base, module="m")
    mine = btf.find("mine", "struct")
    assert mine and (mine.id, mine.of.module, len(btf)) == (5, "m", 6)
    first, second = btf.members(mine)
    assert [(m.name, btf.type(m.type).name) for m in (first, second)] == [
        ("a", "int"), ("own", "pair"),
    ]  # fmt: skip
    assert btf.type(first.type).of is base and btf.type(second.type).of is btf
    assert btf.own("colour", "enum") is None and btf.find("colour", "enum")
    pair = btf.find("pair", "struct")
    assert pair and (pair.of, pair.size) == (btf, 4) and pair.id == second.type
    assert [m.name for m in btf.members(base.type(2))] == ["a", "b"]

    ctypes = CTypes(lambda: base, modules=lambda: [btf])
    known = ctypes.named("struct", "mine")
    assert isinstance(known, Struct)
    inner = ctypes.fields(known)[1].type
    assert isinstance(inner, Struct) and inner.name == "struct pair {m}"
    assert [field.name for field in ctypes.fields(inner)] == ["b"]
    assert [field.name for field in ctypes.fields(Struct("struct pair", 8))] == ["a", "b"]


@pytest.mark.parametrize("at", range(0, len(blob()), 4))
def test_damage_is_told(at: int) -> None:
    """Whatever word is wrong: an answer or BtfError."""
    data = bytearray(blob())
    data[at : at + 4] = b"\xff\xff\xff\x7f"
    for cut in (data, blob()[:at]):
        try:
            btf = Btf(bytes(cut))
            for number in range(1, len(btf) + 1):
                type = btf.type(number)
                if type.kind == "struct":
                    btf.members(type)
            btf.find("pair", "struct", "typedef")
            btf.enumerator("BLUE")
        except BtfError:
            pass


@pytest.mark.requires("btf")
def test_the_index_is_kept_for_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(str(tmp_path / "cache"))
    btf = kernel_btf(BTF, cache)
    assert btf and (task := btf.find("task_struct", "struct"))
    monkeypatch.setattr(Index, "build", None)  # from here on nothing may pass over the records
    again = kernel_btf(BTF, cache)
    found = again.find("task_struct", "struct") if again else None
    assert again and found and replace(found, of=btf) == task
    assert len(list(again.all("func"))) > 10_000


def test_a_file_that_changed_has_another_index(tmp_path: Path) -> None:
    cache, path = Cache(str(tmp_path / "cache")), tmp_path / "types.btf"
    path.write_bytes(blob())
    first = kernel_btf(str(path), cache)
    assert first and first.find("pair", "typedef")
    path.write_bytes(blob().replace(b"pair", b"twin"))
    second = kernel_btf(str(path), cache)
    assert second and second.find("twin", "typedef") and not second.find("pair", "typedef")
