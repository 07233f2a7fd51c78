"""What is in a map, as the kernel gave it: keys and values in two blocks."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence

from bpfscript.plain import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import overload

Entry = tuple[bytes, list[bytes]]  # key; one value, or one for each possible CPU
Combine = Callable[[bytes, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Shape:
    """Bytes of a key and of a value; from one CPU's value to the next; how many of them."""

    key: int
    value: int
    step: int
    copies: int = 1


class Entries(Sequence[Entry]):
    """A sequence of entries that takes no object for each of them."""

    def __init__(self, keys: bytes | bytearray, values: bytes | bytearray, shape: Shape) -> None:
        self.key_block, self.value_block, self.shape = keys, values, shape
        self._whole = shape.step * shape.copies

    @classmethod
    def of(cls, entries: Iterable[Entry], shape: Shape) -> Entries:
        """What `entries` are, one by one. A value that is missing becomes zeros."""
        keys, values = bytearray(), bytearray()
        whole = shape.step * shape.copies
        for key, copies in entries:
            keys += key
            values += b"".join(v.ljust(shape.step, b"\0") for v in copies).ljust(whole, b"\0")
        return cls(keys, values, shape)

    def with_longer(self, other: Entries, combine: Combine) -> Entries:
        """These and others, whose keys become longer by zeros; of a key in both, `combine` makes
        one value on each CPU."""
        if not other:
            return self
        key, pad = self.shape.key, bytes(max(self.shape.key - other.shape.key, 0))
        if replace(other.shape, key=key) != self.shape:
            size = self.shape.value
            cut = ((k + pad, [v[:size] for v in values]) for k, values in other)
            other, pad = Entries.of(cut, self.shape), b""
        keys = other.key_block
        if pad:
            keys = b"".join(k + pad for (k,) in struct.iter_unpack(f"{other.shape.key}s", keys))
        new, values = (
            dict(Entries(keys, other.value_block, self.shape)),
            bytearray(self.value_block),
        )
        known = enumerate(struct.iter_unpack(f"{self.shape.key}s", self.key_block))
        for at, found in [(i * self._whole, new.pop(k)) for i, (k,) in known if k in new]:
            merged = map(combine, self._split(at), found)
            step = self.shape.step
            values[at : at + self._whole] = b"".join(v.ljust(step, b"\0") for v in merged)
        added = Entries.of(new.items(), self.shape)
        keys = b"".join((self.key_block, added.key_block))
        return Entries(keys, b"".join((values, added.value_block)), self.shape)

    def __len__(self) -> int:
        return len(self.value_block) // self._whole if self._whole else 0

    if TYPE_CHECKING:

        @overload
        def __getitem__(self, index: int) -> Entry: ...
        @overload
        def __getitem__(self, index: slice) -> list[Entry]: ...

    def __getitem__(self, index: int | slice) -> Entry | list[Entry]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        key, start = self.shape.key, index * self._whole
        return bytes(self.key_block[index * key : (index + 1) * key]), self._split(start)

    def _split(self, start: int) -> list[bytes]:
        stops = range(start, start + self._whole, self.shape.step)
        return [bytes(self.value_block[at : at + self.shape.value]) for at in stops]

    def column(self, word: int, signed: bool = False) -> list[list[int]]:
        """The 64-bit word at a place of each value: a list of all for each CPU."""
        words = memoryview(self.value_block).cast("B").cast("q" if signed else "Q")
        step, whole = self.shape.step // 8, self._whole // 8
        return [words[cpu * step + word :: whole].tolist() for cpu in range(self.shape.copies)]

    def unpacked(self, code: str) -> list[object]:
        """What a `struct` code that gives one object takes of each first value."""
        size = struct.calcsize("<" + code)
        if size > self._whole:
            return [struct.unpack_from("<" + code, values[0])[0] for _, values in self]
        row = struct.Struct(f"<{code}{self._whole - size}x")
        return [found for (found,) in row.iter_unpack(self.value_block)]
