"""BPF memory → Python values.

Int, Pointer     int; of an enum, a `Constant`         Stack       stacks.Stack
Bool             bool                                  Symbol      stacks.Frame
String           str, other bytes as PEP 383 has them  Inet        ipaddress.IPv4Address, …6Address
Buffer           bytes                                 Mac         str, `AA:BB:…`
Array, Tuple     tuple                                 Username, CgroupPath, Timestamp   str
Struct, Record   `Fields`                              Aggregate   see `aggregate`

All of them are hashable, so all of them may be keys.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import call
from typing import Any, NamedTuple

from bpfscript.manifest import Manifest
from bpfscript.runtime import names
from bpfscript.runtime.aggregates import merger
from bpfscript.runtime.symbols import Symbols
from bpfscript.runtime.values import Shape, average, buffer_bytes, integer_code, layout
from bpfscript.types import (
    Aggregate,
    Array,
    Bool,
    Buffer,
    CgroupPath,
    Field,
    Inet,
    Int,
    Mac,
    Pointer,
    Record,
    Stack,
    String,
    Struct,
    Symbol,
    Timestamp,
    Tuple,
    Type,
    Username,
)

from . import stacks
from .distributions import Stats, histogram

Decode = Callable[[Any], Any]


class Constant(int):
    """An integer of an enum; `name` is "" for a value that the enum does not name."""

    name: str

    @classmethod
    def of(cls, value: int, name: str) -> Constant:
        made = cls(value)
        made.name = name
        return made

    def __repr__(self) -> str:
        return f"<{self.name}: {int(self)}>" if self.name else super().__repr__()


class Fields(Mapping[str, Any]):
    """A struct or record: `fields.pid`, `fields["pid"]`."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __getattr__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"there is no field {name!r}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(tuple(self._values.items()))

    def __repr__(self) -> str:
        return f"Fields({', '.join(f'{n}={v!r}' for n, v in self._values.items())})"


class Decoder(NamedTuple):
    """code: of the `struct` module, yields exactly one object, from which `decode` makes ours."""

    code: str
    decode: Decode


class Decoders:
    """Makes decoders of types."""

    def __init__(self, manifest: Manifest, symbols: Symbols) -> None:
        self._manifest = manifest
        self._frames = stacks.Frames(symbols)

    def of(self, t: Type) -> Decoder:
        match t:
            case Int():
                return Decoder(integer_code(t.size, t.signed), self._integer(t))
            case Bool():
                return Decoder("B", bool)
            case Pointer():
                return Decoder("Q", int)
            case String():
                return Decoder(f"{t.size}s", _text)
            case Buffer():
                return Decoder(f"{t.size}s", buffer_bytes)
            case Array():
                return self._array(t)
            case Tuple():
                return Decoder(f"{t.size}s", self._parts(t.of, t.offsets))
            case Record():
                parts, keys = self._parts(t.of, t.offsets), t.names
                return Decoder(
                    f"{t.size}s", lambda raw: Fields(dict(zip(keys, parts(raw), strict=True)))
                )
            case Struct():
                return self._struct(t)
            case Stack():
                return self._stack(t)
            case Symbol("kernel"):
                return Decoder("Q", self._frames.kernel)
            case Symbol():
                return Decoder("16s", self._user_symbol)
            case Aggregate():
                return self._read_aggregate(t)
        return _word(t)

    def aggregate(self, t: Type) -> tuple[Callable[[list[bytes]], Any], Decode]:
        """What merges the values of all CPUs, and what makes a Python value of the result.

        count, sum, min, max, avg: int. stats: Stats. hist, lhist: Histogram. tseries: the dict of
        epochs, of which `distributions.series` makes a Series. Others: as `of` says.
        """
        code, decode = self.of(t)
        merge = merger(t, Shape(code, str))
        if not isinstance(t, Aggregate):
            return merge, decode
        match t.name:
            case "avg":
                return merge, lambda value: average(*value)
            case "stats":
                return merge, lambda value: Stats(value[1], average(*value), value[0])
            case "hist" | "lhist":
                return merge, lambda counts: histogram(t, counts)
        return merge, lambda value: value

    def _integer(self, t: Int) -> Decode:
        if not t.enum:
            return int
        constants = self._manifest.enums.get(t.enum, {})
        return lambda value: Constant.of(value, constants.get(value, ""))

    def _array(self, t: Array) -> Decoder:
        inner = self.of(t.of)
        unpack = struct.Struct("<" + inner.code * t.count).unpack
        return Decoder(f"{t.size}s", lambda raw: tuple(map(inner.decode, unpack(raw))))

    def _parts(self, of: Sequence[Type], offsets: Sequence[int]) -> Callable[[bytes], Any]:
        decoders = [self.of(t) for t in of]
        unpack = layout([(o, d.code) for o, d in zip(offsets, decoders, strict=True)]).unpack_from
        decodes = [d.decode for d in decoders]
        return lambda raw: tuple(map(call, decodes, unpack(raw)))

    def _struct(self, t: Struct) -> Decoder:
        fields = self._manifest.structs.get(t.name, ())
        takers = [(field.name, self._field(field)) for field in fields]
        return Decoder(f"{t.size}s", lambda raw: Fields({name: take(raw) for name, take in takers}))

    def _field(self, field: Field) -> Callable[[bytes], Any]:
        code, decode = self.of(field.type)
        if not field.bits:
            unpack, offset = struct.Struct("<" + code).unpack_from, field.offset
            return lambda raw: decode(unpack(raw, offset)[0])
        span = slice(field.offset, field.offset + (field.bit_offset + field.bits + 7) // 8)
        mask, shift = (1 << field.bits) - 1, field.bit_offset
        sign = 1 << (field.bits - 1) if isinstance(field.type, Int) and field.type.signed else 0

        def bits(raw: bytes) -> Any:
            value = int.from_bytes(raw[span], "little") >> shift & mask
            return decode((value ^ sign) - sign)

        return bits

    def _stack(self, t: Stack) -> Decoder:
        unpack = struct.Struct(f"<{1 + t.limit}Q").unpack
        frames, kind = self._frames, t.kind

        def decode(raw: bytes) -> stacks.Stack:
            pid, *addresses = unpack(raw)
            if kind == "kernel":
                found = [frames.kernel(address) for address in addresses if address]
                return stacks.Stack.of(found, kind, 0)
            return stacks.Stack.of([frames.user(pid, a) for a in addresses if a], kind, pid)

        return Decoder(f"{t.size}s", decode)

    def _user_symbol(self, raw: bytes) -> stacks.Frame:
        address, pid = struct.unpack("<QQ", raw)
        return self._frames.user(pid, address)

    def _read_aggregate(self, t: Aggregate) -> Decoder:
        """An aggregate that was read as a value: only stats are more than a number."""
        code = integer_code(8, t.signed)
        if t.name not in ("avg", "stats"):
            return Decoder(code, int)
        unpack = struct.Struct(f"<{code}Q").unpack

        def decode(raw: bytes) -> Any:
            total, count = unpack(raw)
            mean = average(total, count)
            return mean if t.name == "avg" else Stats(count, mean, total)

        return Decoder("16s", decode)


def _word(t: Type) -> Decoder:
    match t:
        case Username():
            return Decoder("Q", names.user_name)
        case Timestamp():
            return Decoder("q", names.timestamp(t.format, t.mode))
        case Mac():
            return Decoder("6s", lambda raw: raw.hex(":").upper())
        case Inet():
            return Decoder("20s", _address)
        case CgroupPath():
            return Decoder("Q", names.cgroup_path(t.filter))
    return Decoder("0s", lambda _: None)


def _text(raw: bytes) -> str:
    return raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _address(raw: bytes) -> Any:
    from ipaddress import ip_address

    return ip_address(names.internet_address(raw))


class NoKey(Exception):
    """Nothing of this type can be a key of the map."""


def encode(t: Type, value: Any) -> bytes | None:
    """A key as it lies in memory; None if only a search finds it. Raises NoKey."""
    match t:
        case Int() | Pointer() | Bool():
            return _encode_integer(t, value)
        case String():
            if not isinstance(value, str):
                raise NoKey
            raw = value.encode("utf-8", "surrogateescape")
            if len(raw) > t.size or b"\0" in raw:
                raise NoKey
            return raw.ljust(t.size, b"\0")
        case Tuple():
            if not isinstance(value, tuple) or len(value) != len(t.of):
                raise NoKey
            out = bytearray(t.size)
            for offset, of, part in zip(t.offsets, t.of, value, strict=True):
                if (raw_part := encode(of, part)) is None:
                    return None
                out[offset : offset + of.size] = raw_part
            return bytes(out)
    return None


def _encode_integer(t: Type, value: Any) -> bytes:
    if not isinstance(value, int):
        raise NoKey
    signed = isinstance(t, Int) and t.signed
    try:
        return int(value).to_bytes(t.size, "little", signed=signed)
    except OverflowError:
        raise NoKey from None
