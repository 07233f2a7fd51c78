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
from typing import Any, NamedTuple

from bpfscript.manifest import Manifest
from bpfscript.runtime import names
from bpfscript.runtime.aggregates import merger
from bpfscript.runtime.symbols import Symbols
from bpfscript.runtime.values import (
    Shape,
    average,
    buffer_bytes,
    code_of,
    field_of,
    mean_of,
    parts_of,
)
from bpfscript.types import (
    Aggregate,
    Array,
    Bool,
    Buffer,
    CgroupPath,
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
        return Decoder(code_of(t), self._decode(t))

    def _decode(self, t: Type) -> Decode:
        match t:
            case Int():
                return self._integer(t)
            case Bool():
                return bool
            case Pointer():
                return int
            case String():
                return _text
            case Buffer():
                return buffer_bytes
            case Array():
                decode = self._decode(t.of)
                unpack = struct.Struct("<" + code_of(t.of) * t.count).unpack
                return lambda raw: tuple(map(decode, unpack(raw)))
            case Tuple():
                parts = self._parts(t.of, t.offsets)
                return lambda raw: tuple(parts(raw))
            case Record():
                parts, keys = self._parts(t.of, t.offsets), t.names
                return lambda raw: Fields(dict(zip(keys, parts(raw), strict=True)))
            case Struct():
                fields = self._manifest.structs.get(t.name, ())
                takers = [
                    (field.name, field_of(field, self._decode(field.type))) for field in fields
                ]
                return lambda raw: Fields({name: take(raw) for name, take in takers})
            case Stack():
                return self._stack(t)
            case Symbol("kernel"):
                return self._frames.kernel
            case Symbol():
                return self._user_symbol
            case Aggregate("avg"):
                return mean_of(t, lambda count, mean, total: mean)
            case Aggregate("stats"):
                return mean_of(t, Stats)
            case Aggregate():
                return int
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

    def _parts(self, of: Sequence[Type], offsets: Sequence[int]) -> Callable[[bytes], list[Any]]:
        return parts_of(offsets, [self.of(t) for t in of])

    def _stack(self, t: Stack) -> Decode:
        unpack = struct.Struct(f"<{1 + t.limit}Q").unpack
        frames, kind = self._frames, t.kind

        def decode(raw: bytes) -> stacks.Stack:
            pid, *addresses = unpack(raw)
            if kind == "kernel":
                found = [frames.kernel(address) for address in addresses if address]
                return stacks.Stack.of(found, kind, 0)
            return stacks.Stack.of([frames.user(pid, a) for a in addresses if a], kind, pid)

        return decode

    def _user_symbol(self, raw: bytes) -> stacks.Frame:
        address, pid = struct.unpack("<QQ", raw)
        return self._frames.user(pid, address)


def _word(t: Type) -> Decode:
    match t:
        case Username():
            return names.user_name
        case Timestamp():
            return names.timestamp(t.format, t.mode)
        case Mac():
            return names.hardware_address
        case Inet():
            return _address
        case CgroupPath():
            return names.cgroup_path(t.filter)
    return lambda _: None


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
