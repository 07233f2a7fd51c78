"""Reads BTF, the kernel's description of its types (Documentation/bpf/btf.rst), as far as asked.

The whole is never parsed: a name is found by searching the strings and then the type records for
it, types by number through an index of record offsets that one pass over the record headers makes
when it is first needed. Damaged data raises BtfError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Kind = Literal[
    "void", "int", "ptr", "array", "struct", "union", "enum", "fwd", "typedef", "volatile", "const",
    "restrict", "func", "func_proto", "var", "datasec", "float", "decl_tag", "type_tag", "enum64",
]  # fmt: skip
KINDS: tuple[Kind, ...] = Kind.__args__  # type: ignore[attr-defined]  # in the order of BTF_KIND_*

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_RECORD = struct.Struct("<III")
# Bytes after the record: fixed, and for each of its `vlen` parts.
_FIXED = {"int": 4, "array": 12, "var": 4, "decl_tag": 4}
_EACH = {"struct": 12, "union": 12, "enum": 8, "func_proto": 8, "datasec": 12, "enum64": 12}


class BtfError(Exception):
    """The BTF is damaged."""


@dataclass(frozen=True, slots=True)
class BtfMember:
    """Member of a struct or union; `bits` is 0 unless it is a bitfield. Offsets in bits."""

    name: str
    type: int
    bit_offset: int
    bits: int


@dataclass(frozen=True, slots=True)
class BtfType:
    """One type record. `size`: bytes, of kinds that have one; `to`: the type it refers to."""

    id: int
    kind: Kind
    name: str
    size: int
    to: int
    offset: int  # of what follows the record
    vlen: int
    flag: bool


class Btf:
    """The types of one BTF blob, such as /sys/kernel/btf/vmlinux."""

    def __init__(self, data: bytes) -> None:
        try:
            magic, _, _, header, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
        except struct.error as error:
            raise BtfError("BTF header cut off") from error
        if magic != _MAGIC:
            raise BtfError("no BTF magic number")
        self._data = data
        self._types = header + type_off
        self._types_end = self._types + type_len
        self._strings = header + str_off
        self._strings_end = self._strings + str_len
        if max(self._types_end, self._strings_end) > len(data):
            raise BtfError("BTF sections reach beyond its end")

    def find(self, name: str, *kinds: Kind) -> BtfType | None:
        """The first type of that name and one of the kinds. Costs no index."""
        for offset in self._named(name):
            for at in self._places(struct.pack("<I", offset)):
                kind, vlen, _ = self._info(at)
                if kind in kinds and self._is_record(at, kind, vlen):
                    return self._record(at, 0)
        return None

    def type(self, number: int) -> BtfType:
        """A type by its number; 0 is void."""
        if number == 0:
            return BtfType(0, "void", "", 0, 0, 0, 0, False)
        if not 0 < number <= len(self._index):
            raise BtfError(f"there is no BTF type {number}")
        return self._record(self._index[number - 1], number)

    def number(self, type: BtfType) -> int:
        """Number of a type that `find` gave."""
        from bisect import bisect_left

        at = type.offset - _RECORD.size
        place = bisect_left(self._index, at)
        if place == len(self._index) or self._index[place] != at:
            raise BtfError(f"{type.name} is not a BTF record")
        return place + 1

    def members(self, type: BtfType) -> list[BtfMember]:
        """Members of a struct or union, in order."""
        found = []
        for name, member, offset in self._parts(type, "<III"):
            bits = offset >> 24 if type.flag else 0
            found.append(
                BtfMember(
                    self.string(name), member, offset & 0xFFFFFF if type.flag else offset, bits
                )
            )
        return found

    def enumerators(self, type: BtfType) -> dict[str, int]:
        """Constants of an enum."""
        found = {}
        for name, *value in self._parts(type, "<II" if type.kind == "enum" else "<III"):
            number = value[0] if len(value) == 1 else value[0] | value[1] << 32
            bits = 32 if len(value) == 1 else 64
            if type.flag and number >> (bits - 1):
                number -= 1 << bits
            found[self.string(name)] = number
        return found

    def parameters(self, type: BtfType) -> list[tuple[str, int]]:
        """(name, type) of the parameters of a func_proto."""
        return [(self.string(name), to) for name, to in self._parts(type, "<II")]

    def array(self, type: BtfType) -> tuple[int, int]:
        """(element type, number of elements) of an array."""
        element, _, count = struct.unpack_from("<III", self._data, type.offset)
        return element, count

    def integer(self, type: BtfType) -> tuple[int, bool, bool]:
        """(bits, signed, is a bool) of an int."""
        (word,) = struct.unpack_from("<I", self._data, type.offset)
        encoding = word >> 24 & 0xF
        return word & 0xFF, bool(encoding & 1), bool(encoding & 4)

    def member_offset(self, name: str, member: str) -> int | None:
        """Byte offset of a direct member of a struct, without any other type being looked at."""
        type = self.find(name, "struct")
        if type is None:
            return None
        return next((m.bit_offset // 8 for m in self.members(type) if m.name == member), None)

    def all(self, *kinds: Kind) -> Iterator[BtfType]:
        """Every type of the kinds, in order."""
        for number, at in enumerate(self._index, 1):
            if self._info(at)[0] in kinds:
                yield self._record(at, number)

    def string(self, offset: int) -> str:
        start = self._strings + offset
        end = self._data.find(b"\0", start, self._strings_end)
        if offset < 0 or end < 0:
            raise BtfError(f"BTF string {offset} is beyond the end")
        return self._data[start:end].decode("utf-8", "replace")

    def _named(self, name: str) -> Iterator[int]:
        """Offsets of the string, also as the tail of a longer one: strings may be shared."""
        wanted = name.encode() + b"\0"
        at = self._data.find(wanted, self._strings, self._strings_end)
        while at >= 0:
            if self._data[at - 1] == 0:
                yield at - self._strings
            at = self._data.find(wanted, at + 1, self._strings_end)

    def _places(self, word: bytes) -> Iterator[int]:
        at = self._data.find(word, self._types, self._types_end)
        while at >= 0:
            if (at - self._types) % 4 == 0 and at + _RECORD.size <= self._types_end:
                yield at
            at = self._data.find(word, at + 1, self._types_end)

    def _is_record(self, at: int, kind: Kind, vlen: int) -> bool:
        """Tell a record from a part of one that looks like it: the index knows."""
        if kind in ("struct", "union") and self._plausible(at, vlen):
            return True
        from bisect import bisect_left

        place = bisect_left(self._index, at)
        return place < len(self._index) and self._index[place] == at

    def _plausible(self, at: int, vlen: int) -> bool:
        """Whether every member of what may be a struct lies inside it and has a possible name."""
        size = struct.unpack_from("<I", self._data, at + 8)[0]
        end = at + _RECORD.size + 12 * vlen
        if end > self._types_end or not 0 < size < 1 << 24:
            return False
        words = struct.unpack_from(f"<{3 * vlen}I", self._data, at + _RECORD.size)
        names_end = self._strings_end - self._strings
        return vlen > 0 and all(
            words[i] < names_end
            and words[i + 1] < 1 << 24
            and (words[i + 2] & 0xFFFFFF) <= 8 * size
            for i in range(0, len(words), 3)
        )

    @cached_property
    def _index(self) -> list[int]:
        """Offset in the data of each type record, by number - 1."""
        words = memoryview(self._data)[self._types : self._types_end].cast("I")
        fixed = [3 + _FIXED.get(kind, 0) // 4 for kind in KINDS] + [3] * (32 - len(KINDS))
        each = [_EACH.get(kind, 0) // 4 for kind in KINDS] + [0] * (32 - len(KINDS))
        index: list[int] = []
        at, end, base = 0, len(words), self._types
        append = index.append
        while at + 3 <= end:
            append(base + 4 * at)
            info = words[at + 1]
            kind = info >> 24 & 31
            at += fixed[kind] + each[kind] * (info & 0xFFFF)
        if at != end:
            raise BtfError("BTF type records reach beyond their section")
        return index

    def _info(self, at: int) -> tuple[Kind, int, bool]:
        (info,) = struct.unpack_from("<I", self._data, at + 4)
        kind = info >> 24 & 31
        return (KINDS[kind] if kind < len(KINDS) else "void"), info & 0xFFFF, bool(info >> 31)

    def _record(self, at: int, number: int) -> BtfType:
        name, _, size = _RECORD.unpack_from(self._data, at)
        kind, vlen, flag = self._info(at)
        sized = kind in ("int", "struct", "union", "enum", "datasec", "float", "enum64")
        return BtfType(
            number, kind, self.string(name), size if sized else 0, 0 if sized else size,
            at + _RECORD.size, vlen, flag,
        )  # fmt: skip

    def _parts(self, type: BtfType, format: str) -> Iterator[tuple[int, ...]]:
        size = struct.calcsize(format) * type.vlen
        if type.offset + size > self._types_end:
            raise BtfError(f"{type.name} reaches beyond the BTF types")
        return struct.iter_unpack(format, self._data[type.offset : type.offset + size])
