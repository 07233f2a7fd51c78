"""Integers by integers in the order of printing, by native code: for maps of very many entries."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import cast

from bpfscript.pieces import HostCode

from .entries import Entries
from .host_code import address_of

_KEY_SIGN, _VALUE_SIGN = 1 << 7, 1 << 15


class Order:
    """Sorts by value, then by key as a signed integer."""

    def __init__(self, code: HostCode) -> None:
        u64, pointer = ctypes.c_uint64, ctypes.c_void_p
        numbers, places = [u64] * 4, [pointer] * 2
        kind = ctypes.CFUNCTYPE(u64, *places, *numbers, *places, u64)
        self._function = cast(Callable[..., int], kind(code.address))
        self._owner = code.owner

    def __call__(
        self, entries: Entries, signed: tuple[bool, bool], copies: int
    ) -> tuple[Sequence[int], Sequence[int]]:
        """Keys, and values: sums of the first `copies` ones, of 64 bits. signed: of both."""
        step, count = entries.shape.step // 8, len(entries)
        blocks = (
            entries.key_block,
            entries.value_block,
            bytearray(16 * count),
            bytearray(16 * count),
        )
        keys, values, pairs, room = map(address_of, blocks)
        signs = _KEY_SIGN | _VALUE_SIGN * signed[1]
        stride = step * entries.shape.copies
        moved = self._function(keys, values, count, stride, copies, step, pairs, room, signs)
        words = memoryview(blocks[2 + moved])
        key, value = (words.cast("q" if s else "Q") for s in signed)
        return key[::2], value[1::2]
