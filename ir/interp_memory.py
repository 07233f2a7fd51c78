"""Memory of the interpreter's machine: regions with bounds, and pointers into them."""

from __future__ import annotations

from itertools import count
from typing import Literal

from bpfscript.plain import dataclass, field

Fault = Literal["bounds", "undefined", "null", "read-only", "space", "budget", "unmodelled"]

_BASES = count(0xFFFF_C000_0000_0000, 1 << 20)


class Trap(Exception):
    """The program did what the kernel's verifier must refuse, or used up its instructions."""

    def __init__(self, fault: Fault, message: str) -> None:
        self.fault: Fault = fault
        super().__init__(f"{fault}: {message}")


@dataclass(eq=False, slots=True)
class Region:
    """Bytes that belong together. `defined` holds a flag for each byte; None: all are defined."""

    name: str
    data: bytearray
    writable: bool = True
    defined: bytearray | None = None
    base: int = field(default_factory=_BASES.__next__)  # what the pointer is as an integer


@dataclass(frozen=True, slots=True)
class Address:
    """A pointer into direct memory; region None is the null pointer."""

    region: Region | None
    offset: int = 0


NULL = Address(None)


def undefined(name: str, size: int) -> Region:
    """Writable memory that nothing has written to yet."""
    return Region(name, bytearray(size), defined=bytearray(size))


def constant(name: str, data: bytes) -> Address:
    """Pointer to memory that nothing may write to."""
    return Address(Region(name, bytearray(data), writable=False))


def read(address: Address, offset: int, size: int) -> bytes:
    """Raises Trap unless all bytes are inside one region and defined."""
    region, start = _range(address, offset, size)
    if region.defined is not None and not all(region.defined[start : start + size]):
        raise Trap("undefined", f"{size} bytes at {region.name} + {start}")
    return bytes(region.data[start : start + size])


def write(address: Address, offset: int, data: bytes) -> None:
    """Raises Trap unless all bytes are inside one writable region."""
    region, start = _range(address, offset, len(data))
    if not region.writable:
        raise Trap("read-only", f"{len(data)} bytes to {region.name} + {start}")
    region.data[start : start + len(data)] = data
    if region.defined is not None:
        region.defined[start : start + len(data)] = b"\1" * len(data)


def _range(address: Address, offset: int, size: int) -> tuple[Region, int]:
    region, start = address.region, address.offset + offset
    if region is None:
        raise Trap("null", f"{size} bytes at null + {start}")
    if size < 0 or start < 0 or start + size > len(region.data):
        place = f"{region.name} + {start}"
        raise Trap("bounds", f"{size} bytes at {place}, which has {len(region.data)}")
    return region, start
