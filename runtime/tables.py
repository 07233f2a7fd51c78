"""Maps made ready to print: entries merged over CPUs, ordered, labelled (LANGUAGE §7.3)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

from bpfscript.types import Aggregate, Bool, Int, Pointer, String, Tuple, Type

from .aggregates import merge_all
from .entries import Entries, Entry
from .entries import Shape as EntryShape
from .values import Show, Values, average, integer_code, layout, quotient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.pieces import MakeOrder


MANY = 1 << 17  # entries from which on it pays to make native code


class Row(NamedTuple):
    """label: the key as text, None in a scalar map. value: as `aggregates.merger` makes it."""

    label: str | None
    value: Any


class Table:
    """How one map is read. The first three are those of its definition.

    texts: shows keys. values: shows what they stand for. make_order: see `pieces`; None without
    native code.
    """

    def __init__(
        self,
        key_type: Type | None,
        value_type: Type,
        labels: Sequence[str | int] | None,
        texts: Values,
        values: Values,
        make_order: MakeOrder | None = None,
    ) -> None:
        self.value_type, self.keyed = value_type, key_type is not None
        self._key_type = key_type
        self._labels, self._texts, self._values = labels, texts, values
        self._make_order = make_order
        self._shape = values.shape(value_type)
        self._merge = merge_all(value_type, self._shape)
        self._key = self._labeller(key_type)
        self._key_order = _key_order(key_type, labels)
        self._value_order = _value_order(value_type)

    def columns(
        self, entries: Sequence[Entry], top: int = 0
    ) -> tuple[Sequence[object], Sequence[Any]]:
        """Labels, as `str` shows them, and values, in the order of printing; only the last `top`
        ones unless it is 0."""
        if not entries:
            return [], []
        if not isinstance(entries, Entries):
            entries = Entries.of(entries, self._entry_shape(entries))
        if self._make_order and len(entries) >= MANY and (found := self._ordered(entries, top)):
            return found
        values = self._merge(entries)
        if not self.keyed:
            return [None] * len(values), values
        ranks, keys, show = self._keys(entries)
        order = sorted(range(len(keys)), key=ranks.__getitem__)
        if self._value_order:
            by = values if self._value_order is int else list(map(self._value_order, values))
            order.sort(key=by.__getitem__)
        order = order[-top:]
        if len(order) == 1:  # of which itemgetter gives no tuple
            return [show(keys[order[0]])], [values[order[0]]]
        pick = itemgetter(*order)
        labels = pick(keys)
        return labels if show is str else list(map(show, labels)), pick(values)

    def _ordered(self, entries: Entries, top: int) -> tuple[Sequence[object], Sequence[Any]] | None:
        """The same columns by native code, if both are 64-bit integers and it can be had."""
        key, value = self._key_type, self.value_type
        sums = isinstance(value, Aggregate) and value.name in ("count", "sum")
        if (
            not (isinstance(key, Int) and key.size == entries.shape.key == 8)
            or not (sums or (isinstance(value, Int) and value.size == 8))
            or self._labels is not None
        ):
            return None
        from .order import Order

        assert self._make_order and isinstance(value, Int | Aggregate)
        try:
            order = Order(self._make_order())
        except ImportError:
            return None  # where the compiler is not installed, Python does it
        copies = entries.shape.copies if sums else 1
        keys, values = order(entries, (key.signed, value.signed), copies)
        show = self._texts.shape(key).show
        labels = keys[-top:]
        return labels if show is str else list(map(show, labels)), values[-top:]

    def _keys(self, entries: Entries) -> tuple[list[Any], list[Any], Callable[[Any], str | None]]:
        """What keys are sorted by, keys as objects, and what shows these."""
        t, block, size = self._key_type, entries.key_block, entries.shape.key
        if isinstance(t, Int) and self._labels is None and t.size == size:
            shape = self._texts.shape(t)
            ranks = _integers(block, integer_code(size, True))
            return ranks, ranks if t.signed else _integers(block, shape.code), shape.show
        keys = [key for (key,) in struct.iter_unpack(f"{size}s", block)]
        return list(map(self._key_order, keys)), keys, self._key

    def rows(self, entries: Sequence[Entry], top: int = 0) -> list[Row]:
        """The same as rows."""
        labels, values = self.columns(entries, top)
        texts = map(str, labels) if self.keyed else (None for _ in labels)
        return list(map(Row, texts, values))

    def _entry_shape(self, entries: Sequence[Entry]) -> EntryShape:
        """Of entries that were put together one by one."""
        size = max(len(value) for _, values in entries for value in values)
        copies = max(len(values) for _, values in entries)
        return EntryShape(len(entries[0][0]), size, -(-size // 8) * 8, copies)

    def shower(self, divisor: int) -> Show:
        """Shows the values of rows, but not those of histograms and time series."""
        t, show = self.value_type, self._shape.show
        if isinstance(t, Int) and divisor > 1:
            return lambda value: show(quotient(value, divisor))
        if not isinstance(t, Aggregate):
            return show
        number, stats = self._values.integer(Int(64, t.signed)), self._values.stats
        if t.name not in ("avg", "stats"):
            return number if divisor == 1 else lambda value: number(quotient(value, divisor))

        def mean(value: tuple[int, int]) -> str:
            total, count = value
            shown = quotient(average(total, count), divisor)
            return number(shown) if t.name == "avg" else stats(number, count, shown, total)

        return mean

    def _labeller(self, t: Type | None) -> Callable[[bytes], str | None]:
        if t is None:
            return lambda key: None
        if self._labels is not None:
            labels = self._labels
            name = self._texts.integer(t) if isinstance(t, Int) else str
            return lambda key: name(labels[int.from_bytes(key[:4], "little")])
        shape = self._texts.shape(t)
        unpack = struct.Struct("<" + shape.code).unpack_from
        if isinstance(t, Tuple):
            return lambda key: shape.show(unpack(key)[0])[1:-1]
        return lambda key: shape.show(unpack(key)[0])


def _integers(block: bytes | bytearray, code: Any) -> list[int]:
    found: list[int] = memoryview(block).cast("B").cast(code).tolist()
    return found


def sorter(
    key: Type | None, value: Type, labels: Sequence[str | int] | None
) -> Callable[[list[tuple[bytes, Any]]], None]:
    """What puts (key, merged value) pairs into the order of printing."""
    by_key, by_value = _key_order(key, labels), _value_order(value)

    def sort(merged: list[tuple[bytes, Any]]) -> None:
        if key is not None:
            merged.sort(key=lambda entry: by_key(entry[0]))
            if by_value:
                merged.sort(key=lambda entry: by_value(entry[1]))

    return sort


def _value_order(t: Type) -> Callable[[Any], int] | None:
    """What the values are sorted by, or None if the keys decide."""
    if isinstance(t, Int):
        return int
    if not isinstance(t, Aggregate):
        return None
    match t.name:
        case "count" | "sum":
            return int
        case "min" | "max":
            return lambda value: value & 0xFFFF_FFFF_FFFF_FFFF
        case "avg" | "stats":
            return lambda value: average(*value)
        case "hist" | "lhist":
            return sum
        case "tseries":
            return None


def _key_order(t: Type | None, labels: Sequence[str | int] | None) -> Callable[[bytes], Any]:
    """Integers as signed ones, even if they are not; strings and the rest by their bytes."""
    if labels is not None:
        by_key = _key_order(t, None)
        size = t.size if t else 0
        stored = [
            label.encode("utf-8", "surrogateescape")
            if isinstance(label, str)
            else (label & ((1 << 8 * size) - 1)).to_bytes(size, "little")
            for label in labels
        ]
        return lambda key: by_key(stored[int.from_bytes(key[:4], "little")])
    match t:
        case Int() | Bool() | Pointer():
            unpack = struct.Struct("<" + integer_code(t.size, True)).unpack_from
            return lambda key: unpack(key)[0]
        case Tuple():
            parts = [_key_order(part, None) for part in t.of]
            spans = [(o, f"{part.size}s") for o, part in zip(t.offsets, t.of, strict=True)]
            split = layout(spans).unpack_from
            return lambda key: [f(raw) for f, raw in zip(parts, split(key), strict=True)]
        case String():
            return lambda key: key.split(b"\0", 1)[0]
    return bytes
