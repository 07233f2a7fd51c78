"""Writes BTF: types of maps and functions, and the strings that the line table points to.

Layout: Documentation/bpf/btf.rst. Maps follow libbpf's convention: a variable in `.maps` whose
struct says in types what the map is, a number n as a pointer to an array of n ints.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from bpfscript import types
from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import MapDef, MapType

MAGIC, VERSION, HEADER = 0xEB9F, 1, 24
_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM = 1, 2, 3, 4, 5, 6
_TYPEDEF, _FUNC, _FUNC_PROTO, _VAR, _DATASEC, _ENUM64 = 8, 12, 13, 14, 15, 19
_FLAG = 1 << 7  # kind_flag, in the byte of the kind
_SIGNED, _CHAR, _BOOL = 1, 2, 4  # encoding of an INT
STATIC, GLOBAL = 0, 1  # linkage of FUNC and VAR

Member = tuple[str, int, int]  # name, type id, offset in bytes


class Writer:
    """Hands out ids of types and offsets of strings, equal ones once. Both are 0 for nothing."""

    def __init__(self) -> None:
        self.strings: dict[str, int] = {}
        self._text = bytearray()
        self._types: dict[bytes, int] = {}
        self.string("")

    def string(self, text: str) -> int:
        """Offset of a string. It ends at its first NUL, for NUL ends it there."""
        found = self.strings.get(text)
        if found is None:
            found = len(self._text)
            if (shown := text.partition("\0")[0]) != text:
                found = self.string(shown)
            else:
                self._text += text.encode("utf-8", "replace") + b"\0"
            self.strings[text] = found
        return found

    def data(self) -> bytes:
        body = b"".join(self._types)
        return (
            struct.pack(
                "<HBBIIIII", MAGIC, VERSION, 0, HEADER, 0, len(body), len(body), len(self._text)
            )
            + body
            + self._text
        )

    def _add(
        self, kind: int, name: str, size_or_type: int, count: int = 0, more: bytes = b""
    ) -> int:
        row = struct.pack("<III", self.string(name), kind << 24 | count, size_or_type) + more
        return self._types.setdefault(row, len(self._types) + 1)

    def integer(self, name: str, size: int, encoding: int = 0) -> int:
        return self._add(_INT, name, size, more=struct.pack("<I", encoding << 24 | 8 * size))

    def pointer(self, to: int = 0) -> int:
        return self._add(_PTR, "", to)

    def array(self, of: int, count: int) -> int:
        return self._add(_ARRAY, "", 0, more=struct.pack("<III", of, self.u32(), count))

    def struct(self, size: int, members: Iterable[Member]) -> int:
        rows = [struct.pack("<III", self.string(n), t, 8 * offset) for n, t, offset in members]
        return self._add(_STRUCT, "", size, len(rows), b"".join(rows))

    def composite(
        self, union: bool, name: str, size: int, members: Sequence[tuple[str, int, int, int]]
    ) -> int:
        """A struct or union of (name, type id, offset in bits, bits of a bitfield or 0)."""
        flag = _FLAG * any(bits for *_, bits in members)
        rows = [
            struct.pack("<III", self.string(n), t, bits << 24 | offset)
            for n, t, offset, bits in members
        ]
        kind = (_UNION if union else _STRUCT) | flag
        return self._add(kind, name, size, len(rows), b"".join(rows))

    def enum(self, name: str, size: int, signed: bool, values: Sequence[tuple[str, int]]) -> int:
        """An enum with those constants."""
        kind, form = (_ENUM64, "<IQ") if size == 8 else (_ENUM, "<II")
        mask = (1 << (64 if size == 8 else 32)) - 1
        rows = [struct.pack(form, self.string(n), value & mask) for n, value in values]
        return self._add(kind | _FLAG * signed, name, size, len(rows), b"".join(rows))

    def typedef(self, name: str, to: int) -> int:
        return self._add(_TYPEDEF, name, to)

    def variable(self, name: str, type: int) -> int:
        return self._add(_VAR, name, type, more=struct.pack("<I", GLOBAL))

    def section(self, name: str, variables: Sequence[tuple[int, int, int]]) -> int:
        """A DATASEC of (variable id, offset, size), which lie one after the other."""
        rows = b"".join(struct.pack("<III", *v) for v in variables)
        size = variables[-1][1] + variables[-1][2]
        return self._add(_DATASEC, name, size, len(variables), rows)

    def function(self, name: str, params: Sequence[tuple[str, int]], linkage: int) -> int:
        """A FUNC that gives an int64."""
        rows = b"".join(struct.pack("<II", self.string(n), t) for n, t in params)
        proto = self._add(_FUNC_PROTO, "", self.of(types.INT64), len(params), rows)
        return self._add(_FUNC, name, proto, linkage)

    def u32(self) -> int:
        return self.integer("uint32", 4)

    def u64(self) -> int:
        return self.integer("uint64", 8)

    def blob(self, size: int) -> int:
        return self.array(self.integer("uint8", 1), size)

    def of(self, type: types.Type) -> int:
        """A type of the language as it lies in memory."""
        match type:
            case types.Int(bits, signed):
                return self.integer(
                    f"{'' if signed else 'u'}int{bits}", type.size, _SIGNED * signed
                )
            case types.Bool():
                return self.integer("bool", 1, _BOOL)
            case types.String(size):
                return self.array(self.integer("char", 1, _CHAR), size)
            case types.Buffer(size):
                return self.struct(
                    size, (("length", self.u32(), 0), ("data", self.blob(size - 4), 4))
                )
            case types.Pointer():
                return self.pointer()
            case types.Array(of, count):
                return self.array(self.of(of), count)
            case types.Tuple(of):
                return self.fields(type.size, [f"_{n}" for n in range(len(of))], of, type.offsets)
            case types.Record(names, of):
                return self.fields(type.size, names, of, type.offsets)
            case types.Stack(limit=limit):
                frames = self.array(self.u64(), limit)
                return self.struct(type.size, (("pid", self.u64(), 0), ("frames", frames, 8)))
            case types.Symbol("user"):
                return self.struct(16, (("address", self.u64(), 0), ("pid", self.u64(), 8)))
            case types.Symbol() | types.Username() | types.CgroupPath():
                return self.u64()
            case types.Timestamp():
                return self.of(types.INT64)
            case types.Inet():
                return self.struct(20, (("family", self.u32(), 0), ("address", self.blob(16), 4)))
            case types.Aggregate():
                return self.aggregate(type)
        return self.blob(type.size)

    def fields(
        self, size: int, names: Sequence[str], of: Sequence[types.Type], offsets: Sequence[int]
    ) -> int:
        ids = [self.of(t) for t in of]
        return self.struct(size, zip(names, ids, offsets, strict=True))

    def aggregate(self, type: types.Aggregate) -> int:
        value = self.of(types.INT64 if type.signed else types.UINT64)
        match type.name:
            case "count" | "sum":
                return value
            case "min" | "max":
                return self.struct(16, (("value", value, 0), ("is_set", self.u64(), 8)))
            case "avg" | "stats":
                return self.struct(16, (("total", value, 0), ("count", self.u64(), 8)))
            case "hist" | "lhist":
                return self.array(self.u64(), type.size // 8)
            case "tseries":
                names = ("epoch", "value", "count")
                slot = self.struct(24, [(n, self.u64(), 8 * i) for i, n in enumerate(names)])
                return self.array(slot, type.size // 24)

    def sized(self, type: types.Type | None, size: int) -> int:
        """A type of exactly `size` bytes: the given one, padded if need be, or else bytes."""
        if type is None or not 0 < type.size <= size:
            return self.u32() if size == 4 else self.u64() if size == 8 else self.blob(size)
        known = self.of(type)
        if type.size == size:
            return known
        rest = self.blob(size - type.size)
        return self.struct(size, (("value", known, 0), ("more", rest, type.size)))

    def map(self, symbol: str, definition: MapDef) -> tuple[int, int]:
        """The variable of a map, and the bytes it takes in `.maps`."""
        kind = definition.kind
        members = [
            ("type", self.number(kind)),
            ("max_entries", self.number(definition.max_entries)),
        ]
        if definition.flags:
            members.append(("map_flags", self.number(definition.flags)))
        if kind != MapType.RINGBUF:
            array = kind in (MapType.ARRAY, MapType.PERCPU_ARRAY)
            key = self.u32() if array else self.sized(definition.key, definition.key_size)
            value = self.sized(definition.value, definition.value_size)
            members += [("key", self.pointer(key)), ("value", self.pointer(value))]
        placed = [(name, id, 8 * n) for n, (name, id) in enumerate(members)]
        size = 8 * len(members)
        return self.variable(symbol, self.struct(size, placed)), size

    def number(self, value: int) -> int:
        return self.pointer(self.array(self.of(types.INT32), value))


def find_string(data: bytes, text: str) -> int:
    """Offset of a string in BTF that `Writer` made."""
    length, _, _, strings, _ = struct.unpack_from("<IIIII", data, 4)
    start: int = length + strings
    if text == "":
        return 0
    found = data.find(b"\0" + text.encode() + b"\0", start)
    if found < 0:
        raise CompilerBug(f"BTF has no string {text!r}")
    return found + 1 - start
