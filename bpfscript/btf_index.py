"""Where the type records of a BTF are, and in which order their names: made by one pass, kept.

uint32 count                 of types, and of entries in each table
uint32 places[count]         by id - 1: where the record is, in words from the first
uint32 by_name[count]        ids, sorted by the offset of the record's name, then by id
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.diagnostics import MachineError

_RECORD = 3  # words of struct btf_type
# words after the record, by BTF_KIND_*: fixed, and for each of its `vlen` parts
_FIXED = {1: 1, 3: 3, 14: 1, 17: 1}  # int, array, var, decl_tag
_EACH = {4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}  # struct, union, enum, func_proto, datasec, enum64


class BtfError(MachineError):
    """The BTF is damaged."""


class _Lengths(dict[int, int]):
    """Words of a record by its `info`, of which a kernel has few different ones."""

    def __missing__(self, info: int) -> int:
        kind = info >> 24 & 31
        self[info] = length = _RECORD + _FIXED.get(kind, 0) + _EACH.get(kind, 0) * (info & 0xFFFF)
        return length


class Index:
    """The index of one BTF. `words`: its type section, as uint32; `data`: what `bytes()` gave."""

    def __init__(self, words: memoryview, data: bytes) -> None:
        table = memoryview(data).cast("I")
        count = table[0]
        if len(table) != 1 + 2 * count or (count and table[count] + _RECORD > len(words)):
            raise BtfError("this index is of another BTF")
        self._words, self._data = words, data
        self.places, self._by_name = table[1 : 1 + count], table[1 + count :]

    @classmethod
    def build(cls, words: memoryview) -> Index:
        """Pass over the records. Raises BtfError if the last one does not end with the section."""
        from array import array

        section = array("I", words.tobytes())  # its elements are faster to reach
        places: list[int] = []
        at, end, lengths, append = 0, len(section) - _RECORD, _Lengths(), places.append
        while at <= end:
            append(at)
            at += lengths[section[at + 1]]
        if at != len(section):
            raise BtfError("BTF type records reach beyond their section")
        names = [section[at] for at in places]
        by_name = [place + 1 for place in sorted(range(len(names)), key=names.__getitem__)]
        return cls(words, array("I", [len(places), *places, *by_name]).tobytes())

    def __bytes__(self) -> bytes:
        """What the index can be made of again, on a machine of the same byte order."""
        return self._data

    def named(self, offset: int) -> Iterator[int]:
        """Ids of the types whose name is the string at `offset`, ascending."""
        from bisect import bisect_left

        by_name, words, places = self._by_name, self._words, self.places
        at = bisect_left(by_name, offset, key=lambda id: words[places[id - 1]])
        while at < len(by_name) and words[places[by_name[at] - 1]] == offset:
            yield by_name[at]
            at += 1

    def at(self, place: int) -> int:
        """Id of the type whose record has, or is followed by, the word at `place`."""
        from bisect import bisect_right

        return bisect_right(self.places, place)
