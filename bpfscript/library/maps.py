"""Maps as mappings."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from bpfscript.manifest import MapDef
from bpfscript.runtime.entries import Entry
from bpfscript.runtime.maps import Map
from bpfscript.runtime.tables import sorter
from bpfscript.types import Aggregate, Type

from .distributions import series
from .values import Decoders, NoKey, encode

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class Contents:
    """Decodes what one map holds. The key of a map without keys (`@x`) is None."""

    def __init__(self, definition: MapDef, decoders: Decoders) -> None:
        assert definition.value
        self.definition = definition
        self._merge, self._decode = decoders.aggregate(definition.value)
        self._key = _key_decoder(definition, decoders)
        self._sort = sorter(definition.key, definition.value, definition.labels)

    def decoded(self, entries: Sequence[Entry], top: int = 0) -> dict[Any, Any]:
        """In the order in which the tool prints them; only the last `top` unless that is 0."""
        merged = [(key, self._merge(values)) for key, values in entries]
        newest = max((e for _, found in merged for e in found), default=0) if self.timed else 0
        self._sort(merged)
        return {self._key(key): self._finish(value, newest) for key, value in merged[-top:]}

    def value(self, values: list[bytes]) -> Any:
        """One value; of a time series, with its own last point as the last one."""
        merged = self._merge(values)
        return self._finish(merged, max(merged, default=0) if self.timed else 0)

    @property
    def timed(self) -> bool:
        t = self.definition.value
        return isinstance(t, Aggregate) and t.name == "tseries"

    def _finish(self, merged: Any, newest: int) -> Any:
        t = self.definition.value
        if self.timed:
            assert isinstance(t, Aggregate)
            return series(t, merged, newest)
        return self._decode(merged)


def _key_decoder(definition: MapDef, decoders: Decoders) -> Callable[[bytes], Any]:
    if definition.key is None:
        return lambda key: None
    if (labels := definition.labels) is not None:
        return lambda key: labels[int.from_bytes(key[:4], "little")]
    code, decode = decoders.of(definition.key)
    unpack = struct.Struct("<" + code).unpack_from
    return lambda key: decode(unpack(key)[0])


class MapView(Mapping[Any, Any]):
    """A map of a script: live as long as the session is open, then as it was in the end.

    A map without keys (`@x = count()`) has the one key None, and `value`. Entries come in the
    order in which the tool prints them. Reading is safe from any thread; each iteration sees the
    map as it is at its start.
    """

    def __init__(
        self, opened: Map, contents: Contents, lock: AbstractContextManager[object]
    ) -> None:
        self._map, self._contents, self._lock = opened, contents, lock
        self._kept: dict[Any, Any] | None = None

    @property
    def name(self) -> str:
        """With its `@`."""
        return self._contents.definition.name

    @property
    def key_type(self) -> Type | None:
        """None for a map without keys."""
        return self._contents.definition.key

    @property
    def value_type(self) -> Type:
        found = self._contents.definition.value
        assert found
        return found

    @property
    def value(self) -> Any:
        """The value of a map without keys; None if it was never set.

        Raises TypeError for maps with keys.
        """
        if self.key_type is not None:
            raise TypeError(f"{self.name} has keys")
        return self.get(None)

    def snapshot(self) -> dict[Any, Any]:
        """All of it, now."""
        with self._lock:
            if self._kept is not None:
                return dict(self._kept)
            return self._contents.decoded(self._map.entries())

    def __getitem__(self, key: Any) -> Any:
        with self._lock:
            if self._kept is not None:
                return self._kept[key]
            raw = self._raw(key)
            if raw is None:
                return self.snapshot()[key]
            values = self._map.value(raw)
            if values is None or not self._present(values):
                raise KeyError(key)
            return self._contents.value(values)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.snapshot())

    def __len__(self) -> int:
        return len(self.snapshot())

    def items(self) -> Any:
        return self.snapshot().items()

    def values(self) -> Any:
        return self.snapshot().values()

    def clear(self) -> None:
        """Remove every entry. Raises ValueError once the session is closed."""
        with self._lock:
            if self._kept is not None:
                raise ValueError("the session is closed")
            self._map.clear()

    def __repr__(self) -> str:
        return f"{self.name}: {self.snapshot()!r}"

    def to_pandas(self) -> pandas.DataFrame:
        """A row an entry; keys and what histograms hold in columns. Needs pandas."""
        from .frames import pandas_frame, rows_of

        return pandas_frame(rows_of(self))

    def to_polars(self) -> polars.DataFrame:
        """A row an entry; keys and what histograms hold in columns. Needs polars."""
        from .frames import polars_frame, rows_of

        return polars_frame(rows_of(self))

    def to_arrow(self) -> pyarrow.Table:
        """A row an entry; keys and what histograms hold in columns. Needs pyarrow."""
        from .frames import arrow_table, rows_of

        return arrow_table(rows_of(self))

    def _repr_html_(self) -> str:
        from .html import of_map

        return of_map(self)

    def close(self) -> None:
        """Keep what there is: the kernel's map goes away."""
        with self._lock:
            if self._kept is None:
                self._kept = self.snapshot()

    def _raw(self, key: Any) -> bytes | None:
        """A key as the kernel has it; None where only a search finds it."""
        definition = self._contents.definition
        if definition.key is None:
            if key is not None:
                raise KeyError(key)
            return bytes(definition.key_size)
        if definition.labels is not None:
            if key not in definition.labels:
                raise KeyError(key)
            return definition.labels.index(key).to_bytes(4, "little")
        try:
            return encode(definition.key, key)
        except NoKey:
            raise KeyError(key) from None

    def _present(self, values: list[bytes]) -> bool:
        labelled = self._contents.definition.labels is not None
        return not labelled or any(any(value[-8:]) for value in values)


def views(
    opened: Mapping[str, Map], decoders: Decoders, lock: AbstractContextManager[object]
) -> dict[str, MapView]:
    """The script's own maps, by name."""
    return {
        name: MapView(found, Contents(found.definition, decoders), lock)
        for name, found in sorted(opened.items())
        if name.startswith("@") and found.definition.value
    }
