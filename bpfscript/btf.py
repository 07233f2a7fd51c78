"""Reads BTF, the kernel's description of its types (Documentation/bpf/btf.rst), as far as asked.

The whole is never parsed: a name is found by searching the strings, then by the index, which one
pass over the records makes and which can be kept. Damaged data raises BtfError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cached_property

from bpfscript.btf_index import BtfError as BtfError
from bpfscript.btf_index import Index
from bpfscript.plain import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Kind = Literal[
        "void", "int", "ptr", "array", "struct", "union", "enum", "fwd", "typedef", "volatile",
        "const", "restrict", "func", "func_proto", "var", "datasec", "float", "decl_tag",
        "type_tag", "enum64",
    ]  # fmt: skip

KINDS: tuple[Kind, ...] = (
    "void", "int", "ptr", "array", "struct", "union", "enum", "fwd", "typedef", "volatile", "const",
    "restrict", "func", "func_proto", "var", "datasec", "float", "decl_tag", "type_tag", "enum64",
)  # fmt: skip
"""In the order of BTF_KIND_*."""

_MAGIC = 0xEB9F
_HEADER = struct.Struct("<HBBIIIII")
_RECORD = struct.Struct("<III")
_SIZED = ("int", "struct", "union", "enum", "datasec", "float", "enum64")


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
    of: Btf  # what its record is in: of a module's types, most are the kernel's


class Btf:
    """The types of one BTF blob, such as /sys/kernel/btf/vmlinux.

    data: bytes, or what reads alike: a mapping of the file.
    index: gives the index of a type section, when it is first needed.
    base: what a split BTF, such as a module's, goes on from: its types and its strings come first.
    module: whose types these are; "": the kernel's.
    """

    def __init__(
        self,
        data: bytes,
        index: Callable[[memoryview], Index] = Index.build,
        base: Btf | None = None,
        module: str = "",
    ) -> None:
        try:
            magic, _, _, header, type_off, type_len, str_off, str_len = _HEADER.unpack_from(data)
        except struct.error as error:
            raise BtfError("BTF header cut off") from error
        if magic != _MAGIC:
            raise BtfError("no BTF magic number")
        self._data, self._make_index = data, index
        self.base, self.module = base, module
        self._types = header + type_off
        self._types_end = self._types + type_len
        self._strings = header + str_off
        self._strings_end = self._strings + str_len
        self._first_string = base.strings_end if base else 0
        if max(self._types_end, self._strings_end) > len(data) or type_len % 4:
            raise BtfError("BTF sections reach beyond its end")

    def __bytes__(self) -> bytes:
        """The blob."""
        return bytes(self._data)

    def __len__(self) -> int:
        """The number of types, those of the base among them, void not counted."""
        return self._first + len(self._index.places)

    @cached_property
    def _first(self) -> int:
        """How many types the base has."""
        return len(self.base) if self.base else 0

    @property
    def strings_end(self) -> int:
        """The first offset of a string that is beyond these."""
        length: int = self._strings_end - self._strings
        return self._first_string + length

    def find(self, name: str, *kinds: Kind) -> BtfType | None:
        """The first type of that name and one of the kinds; of the base, if none is here."""
        return self.own(name, *kinds) or (self.base.find(name, *kinds) if self.base else None)

    def own(self, name: str, *kinds: Kind) -> BtfType | None:
        """The same, the base left aside."""
        return next(self.find_all(name, *kinds), None)

    def find_all(self, name: str, *kinds: Kind) -> Iterator[BtfType]:
        """All types of that name and one of the kinds, the base left aside."""
        for offset in self._named(name):
            for index in self._index.named(offset):
                if (type := self.type(self._first + index)).kind in kinds:
                    yield type

    def type(self, number: int) -> BtfType:
        """A type by its number; 0 is void."""
        if number == 0:
            return BtfType(0, "void", "", 0, 0, 0, 0, False, self)
        if self.base and number <= self._first:
            return self.base.type(number)
        places = self._index.places
        if not 0 < number <= self._first + len(places):
            raise BtfError(f"there is no BTF type {number}")
        at = self._types + 4 * places[number - self._first - 1]
        name, info, size = _RECORD.unpack_from(self._data, at)
        which = info >> 24 & 31
        kind: Kind = KINDS[which] if which < len(KINDS) else "void"
        sized = kind in _SIZED
        return BtfType(
            number, kind, self.string(name), size if sized else 0, 0 if sized else size,
            at + _RECORD.size, info & 0xFFFF, bool(info >> 31), self,
        )  # fmt: skip

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

    def enumerator(self, name: str) -> tuple[int, BtfType] | None:
        """(value, its enum) of a constant; of several, that of the first enum here."""
        for offset in self._named(name):
            for place in self._places(offset):
                type = self.type(self._first + self._index.at(place))
                if type.kind in ("enum", "enum64"):
                    value = self.enumerators(type).get(name)
                    if value is not None:
                        return value, type
        return None

    def parameters(self, type: BtfType) -> list[tuple[str, int]]:
        """(name, type) of the parameters of a func_proto."""
        return [(self.string(name), to) for name, to in self._parts(type, "<II")]

    def section(self, type: BtfType) -> list[tuple[int, ...]]:
        """(variable, offset, size) of each variable of a datasec."""
        return list(self._parts(type, "<III"))

    def array(self, type: BtfType) -> tuple[int, int]:
        """(element type, number of elements) of an array."""
        element, _, count = struct.unpack_from("<III", type.of._data, type.offset)
        return element, count

    def integer(self, type: BtfType) -> tuple[int, bool, bool]:
        """(bits, signed, is a bool) of an int."""
        (word,) = struct.unpack_from("<I", type.of._data, type.offset)
        encoding = word >> 24 & 0xF
        return word & 0xFF, bool(encoding & 1), bool(encoding & 4)

    def member_offset(self, name: str, member: str) -> int | None:
        """Byte offset of a direct member of a struct, without any other type being looked at."""
        type = self.find(name, "struct")
        if type is None:
            return None
        return next((m.bit_offset // 8 for m in self.members(type) if m.name == member), None)

    def all(self, *kinds: Kind) -> Iterator[BtfType]:
        """Every type of the kinds, in order. Those of the base are left out."""
        wanted = [KINDS.index(kind) for kind in kinds]
        for number, place in enumerate(self._index.places, self._first + 1):
            if self._words[place + 1] >> 24 & 31 in wanted:
                yield self.type(number)

    def string(self, offset: int) -> str:
        if self.base and offset < self._first_string:
            return self.base.string(offset)
        start = self._strings + offset - self._first_string
        end = self._data.find(b"\0", start, self._strings_end)
        if offset < 0 or end < 0:
            raise BtfError(f"BTF string {offset} is beyond the end")
        return self._data[start:end].decode("utf-8", "replace")

    def _named(self, name: str) -> Iterator[int]:
        """Offsets of the string."""
        if self.base:
            yield from self.base._named(name)
        wanted = b"\0" + name.encode("utf-8", "surrogateescape") + b"\0"
        at = self._data.find(wanted, self._strings, self._strings_end)
        if self.base and self._data[self._strings : self._strings + len(wanted) - 1] == wanted[1:]:
            yield self._first_string  # no NUL comes before the strings of a split BTF
        while name and at >= 0:
            yield at + 1 - self._strings + self._first_string
            at = self._data.find(wanted, at + 1, self._strings_end)

    def _places(self, word: int) -> Iterator[int]:
        """Where a word stands in the records, in words from the first."""
        wanted = struct.pack("<I", word)
        at = self._data.find(wanted, self._types, self._types_end)
        while at >= 0:
            if (at - self._types) % 4 == 0:
                yield (at - self._types) // 4
            at = self._data.find(wanted, at + 1, self._types_end)

    @cached_property
    def _words(self) -> memoryview:
        """The type section, as uint32."""
        return memoryview(self._data)[self._types : self._types_end].cast("I")

    @cached_property
    def _index(self) -> Index:
        return self._make_index(self._words)

    def _parts(self, type: BtfType, format: str) -> Iterator[tuple[int, ...]]:
        size, of = struct.calcsize(format) * type.vlen, type.of
        if type.offset + size > of._types_end:
            raise BtfError(f"{type.name} reaches beyond the BTF types")
        return struct.iter_unpack(format, of._data[type.offset : type.offset + size])
