"""How events become text, as plain data: what native code that shows events is made from."""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.plain import dataclass


@dataclass(frozen=True, slots=True)
class Padding:
    """At least `width` bytes. left: what fills up comes after the text."""

    width: int = 0
    left: bool = False
    fill: str = " "


@dataclass(frozen=True, slots=True)
class Literal:
    """Text that is always there."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Number:
    """An integer of `size` bytes at `offset` of the record, taken for one of `bits`.

    extend: widen it with its sign, where it has fewer bits. signed: a sign shows, with plus also
    that of numbers from 0 on. prefix: before all numbers but 0, with `always` before that, too.
    """

    offset: int
    size: int
    bits: int
    extend: bool
    signed: bool
    base: int = 10  # or 8, 16
    plus: bool = False
    upper: bool = False
    prefix: bytes = b""
    always: bool = False
    padding: Padding = Padding()


@dataclass(frozen=True, slots=True)
class Text:
    """A string that ends at a zero byte or, cut off, after `size` bytes: then the trailer follows.
    table: each byte becomes what `Plan.table` has for it. exact: the padding counts what is shown,
    so only bytes that stay as they are will do."""

    offset: int
    size: int
    trailer: bytes
    table: bool
    exact: bool = False
    padding: Padding = Padding()


@dataclass(frozen=True, slots=True)
class Choice:
    """One of two texts, by whether the byte at `offset` is zero."""

    offset: int
    zero: bytes
    other: bytes
    padding: Padding = Padding()


Piece = Literal | Number | Text | Choice


@dataclass(frozen=True, slots=True)
class Shown:
    """An event: its number, the size of its records, its text. A record with a byte that the table
    has nothing for is left to others."""

    event: int
    size: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Events that native code may show. table: for each byte what stands for it, b"" for nothing;
    at most 7 bytes."""

    events: tuple[Shown, ...]
    table: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class HostCode:
    """A function in this process's memory, for as long as `owner` lives.

    uint64 order(keys, values, count, stride, copies, step, pairs, room, signs): writes `count`
    pairs of a 64-bit key and the sum of `copies` words, in the order of sums, then of keys. Words
    of one entry are `step` words apart, entries `stride` words. signs: bit 7 for keys that are
    signed, 15 for sums. Returns 0 if `pairs` has them, 1 if `room` of the same size does.

    uint64 drain(data, mask, position, stop, out, end, result): shows the records of a ring with
    `data` mapped twice from `position` up to `stop` in [out, end). result: uint64 position reached,
    uint64 end of the text. Returns 0 if it stopped at `stop` or at a record that is not complete,
    1 if the next record is not for it, 2 if the room may not do for another one.
    """

    address: int
    owner: object


MakeNative = Callable[[Plan], HostCode | None]
"""None: not now."""

MakeOrder = Callable[[], HostCode]
"""Raises ImportError where there can be no native code."""
