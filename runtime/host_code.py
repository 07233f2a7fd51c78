"""Machine code of this process out of a relocatable ELF object, such as `backends.host` makes.

What the object calls and does not have is libc's. Written, then made executable, never both.
Layout: System V ABI, x86-64 supplement.
"""

from __future__ import annotations

import ctypes
import mmap
import struct

from bpfscript.pieces import HostCode
from bpfscript.plain import dataclass

_PROGBITS, _SYMTAB, _RELA = 1, 2, 4
_ALLOC = 2
_UNDEFINED = 0
_ABS64, _PC32, _PLT32 = 1, 2, 4  # R_X86_64_*
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")
_JUMP = b"\xff\x25\0\0\0\0"  # jmp *0(%rip): to the address that follows
_STUB = 16  # bytes of one


@dataclass(slots=True)
class _Section:
    type: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    align: int


class _Object:
    """Sections and symbols. Raises struct.error, IndexError for what is no object."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        (start,) = struct.unpack_from("<Q", data, 0x28)
        (count,) = struct.unpack_from("<H", data, 0x3C)
        rows = [_SECTION.unpack_from(data, start + _SECTION.size * n) for n in range(count)]
        self.sections = [
            _Section(type, flags, offset, size, link, info, align)
            for _, type, flags, _, offset, size, link, info, align, _ in rows
        ]
        table = next(s for s in self.sections if s.type == _SYMTAB)
        names = self.sections[table.link].offset
        self.symbols = [
            (data[names + name : data.index(b"\0", names + name)].decode(), section, value)
            for name, _, _, section, value, _ in _SYMBOL.iter_unpack(self.content(table))
        ]

    def content(self, section: _Section) -> bytes:
        return self.data[section.offset : section.offset + section.size]


def address_of(buffer: bytes | bytearray | memoryview) -> int:
    """Where a buffer lies, also one that is read-only, which ctypes itself does not tell."""
    described = (ctypes.c_void_p * 16)()  # a Py_buffer, which begins with the address
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(buffer), described, 0)
    ctypes.pythonapi.PyBuffer_Release(described)
    return described[0] or 0


def load(data: bytes, entry: str) -> HostCode:
    """The code of an object, at the symbol `entry`.

    Raises ImportError where this process must not make code, or the object asks for what is not
    here: then there is none.
    """
    try:
        return _load(_Object(data), entry)
    except (OSError, ValueError, LookupError, AttributeError, struct.error, StopIteration) as error:
        raise ImportError(f"no native code: {error}") from error


def _load(object: _Object, entry: str) -> HostCode:
    places: dict[int, int] = {}
    size = 0
    for number, section in enumerate(object.sections):
        if section.type == _PROGBITS and section.flags & _ALLOC:
            size = -(-size // section.align) * section.align
            places[number] = size
            size += section.size
    outside = [name for name, section, _ in object.symbols if section == _UNDEFINED and name]
    size = -(-size // _STUB) * _STUB
    stubs = {name: size + _STUB * n for n, name in enumerate(outside)}
    memory = mmap.mmap(-1, size + _STUB * len(stubs), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for number, place in places.items():
        content = object.content(object.sections[number])
        memory[place : place + len(content)] = content
    libc = ctypes.CDLL(None)
    for name, place in stubs.items():
        target = ctypes.cast(getattr(libc, name), ctypes.c_void_p).value or 0
        memory[place : place + 14] = _JUMP + target.to_bytes(8, "little")
    addresses = [
        base + (stubs[name] if name in stubs else places.get(section, 0) + value)
        for name, section, value in object.symbols
    ]
    for section in object.sections:
        if section.type == _RELA and section.info in places:
            for row in _RELOCATION.iter_unpack(object.content(section)):
                _relocate(memory, base, places[section.info], row, addresses)
    if libc.mprotect(ctypes.c_void_p(base), len(memory), mmap.PROT_READ | mmap.PROT_EXEC):
        raise OSError("memory may not be made executable")
    where = next(i for i, (name, *_) in enumerate(object.symbols) if name == entry)
    return HostCode(addresses[where], memory)


def _relocate(
    memory: mmap.mmap, base: int, place: int, row: tuple[int, int, int], addresses: list[int]
) -> None:
    offset, info, addend = row
    kind, at = info & 0xFFFF_FFFF, place + offset
    value = addresses[info >> 32] + addend
    if kind == _ABS64:
        struct.pack_into("<Q", memory, at, value)
    elif kind in (_PC32, _PLT32):
        struct.pack_into("<i", memory, at, value - base - at)
    else:
        raise ValueError(f"relocation of kind {kind}")
