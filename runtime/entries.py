"""What is in a map, as the kernel gave it: keys and values in two blocks."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from operator import add

from bpfscript.plain import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, overload

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

    def with_longer(self, other: Entries) -> Entries:
        """These, then others of keys that end in zeros which they do not have."""
        key, pad = self.shape.key, bytes(max(self.shape.key - other.shape.key, 0))
        keys = other.key_block
        if pad:
            keys = b"".join(k + pad for (k,) in struct.iter_unpack(f"{other.shape.key}s", keys))
        return self._then(Entries(keys, other.value_block, replace(other.shape, key=key)))

    def merged(self, other: Entries, combine: Combine) -> Entries:
        """These and a few others; of a key in both, `combine` makes one value on each CPU."""
        new, step = dict(other), self.shape.step
        if both := self._among(set(new)):
            if not isinstance(self.value_block, bytearray):
                self.value_block = bytearray(self.value_block)
            for index in [i for i, (key,) in enumerate(self._keys()) if key in both]:
                key, ours = self[index]
                pairs = map(combine, ours, new.pop(key))
                whole = slice(index * self._whole, (index + 1) * self._whole)
                self.value_block[whole] = b"".join(value.ljust(step, b"\0") for value in pairs)
        return self._then(Entries.of(new.items(), self.shape))

    def _among(self, keys: set[bytes]) -> set[bytes]:
        """Those that are keys here. Of many integers most often none, which is seen at once."""
        if code := {4: "I", 8: "Q"}.get(self.shape.key):
            cast: Any = memoryview(self.key_block).cast("B").cast
            words = cast(code)
            if {int.from_bytes(key, "little") for key in keys}.isdisjoint(words):
                return set()
        return keys.intersection(chain.from_iterable(self._keys()))

    def _keys(self) -> Iterator[tuple[bytes]]:
        return struct.iter_unpack(f"{self.shape.key}s", self.key_block)

    def _then(self, other: Entries) -> Entries:
        self.key_block += other.key_block
        self.value_block += other.value_block
        return self

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

    def totals(self, words: int) -> list[tuple[int, ...]]:
        """The first 64-bit words of each value, summed over CPUs."""
        size = 8 * words
        unpack, zeros = struct.Struct(f"<{words}Q").unpack, bytes(size)
        code = f"{size}s{self.shape.step - size}x" * self.shape.copies
        found: list[tuple[int, ...]] = []
        for copies in struct.iter_unpack(code, self.value_block):
            total, *others = [unpack(c) for c in copies if c != zeros] or [(0,) * words]
            for other in others:
                total = tuple(map(add, total, other))
            found.append(total)
        return found

    def unpacked(self, code: str) -> list[object]:
        """What a `struct` code that gives one object takes of each first value."""
        size = struct.calcsize("<" + code)
        if size > self._whole:
            return [struct.unpack_from("<" + code, values[0])[0] for _, values in self]
        row = struct.Struct(f"<{code}{self._whole - size}x")
        return [found for (found,) in row.iter_unpack(self.value_block)]
