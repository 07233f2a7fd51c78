"""Maps of the interpreter's machine. Results of updates are those of the kernel: 0 or -errno."""

from __future__ import annotations

from errno import E2BIG, EEXIST, EINVAL, ENOENT

from bpfscript.ir.interp_memory import Region
from bpfscript.manifest import PRESENT, MapDef, MapType
from bpfscript.types import String

NOEXIST, EXIST = 1, 2  # BPF_NOEXIST, BPF_EXIST

_ARRAYS = (MapType.ARRAY, MapType.PERCPU_ARRAY)
_LRU = (MapType.LRU_HASH, MapType.LRU_PERCPU_HASH)


class MapStore:
    """One map: key bytes to the value's memory, one for each CPU or only one."""

    def __init__(self, definition: MapDef, cpus: int) -> None:
        self.definition = definition
        self._copies = cpus if definition.per_cpu else 1
        self._values: dict[bytes, list[Region]] = {}
        if definition.kind in _ARRAYS:
            for index in range(definition.max_entries):
                self._values[index.to_bytes(4, "little")] = self._zeros()

    def __len__(self) -> int:
        return len(self._values)

    def entries(self) -> list[bytes]:
        return list(self._values)

    def values(self, key: bytes) -> list[Region]:
        """Memory of an entry on each CPU; empty if there is none."""
        return self._values.get(key, [])

    def lookup(self, key: bytes, cpu: int) -> Region | None:
        regions = self._values.get(key)
        if regions is None:
            return None
        if self.definition.kind in _LRU:
            self._values[key] = self._values.pop(key)
        return regions[cpu % self._copies]

    def update(self, key: bytes, value: bytes, flags: int, cpu: int) -> int:
        kind = self.definition.kind
        there = key in self._values
        if kind in _ARRAYS:
            if not there:
                return -E2BIG
            if flags == NOEXIST:
                return -EEXIST
        elif flags == NOEXIST and there:
            return -EEXIST
        elif flags == EXIST and not there:
            return -ENOENT
        elif not there and len(self._values) >= self.definition.max_entries:
            if kind not in _LRU:
                return -E2BIG
            del self._values[next(iter(self._values))]
        if not there or not (self.definition.per_cpu or kind in _ARRAYS):
            self._values[key] = self._zeros()  # pointers to an old value keep the old value
        self._values[key][cpu % self._copies].data[:] = value
        return 0

    def delete(self, key: bytes) -> int:
        if self.definition.kind in _ARRAYS:
            return -EINVAL
        return 0 if self._values.pop(key, None) else -ENOENT

    def contents(self) -> dict[bytes, tuple[bytes, ...]]:
        """Entries as the script means them: those of a labelled map by label, if they exist."""
        labels = self.definition.labels
        if labels is None:
            return {k: tuple(bytes(r.data) for r in v) for k, v in self._values.items()}
        found = {}
        for label, regions in zip(labels, self._values.values(), strict=False):
            if any(any(r.data[-PRESENT:]) for r in regions):
                key = self._label_key(label)
                found[key] = tuple(bytes(r.data[:-PRESENT]) for r in regions)
        return found

    def _label_key(self, label: str | int) -> bytes:
        type = self.definition.key
        size = type.size if type else 4
        if isinstance(label, str):
            assert isinstance(type, String)
            return label.encode()[:size].ljust(size, b"\0")
        return (label % (1 << 8 * size)).to_bytes(size, "little")

    def _zeros(self) -> list[Region]:
        name, size = self.definition.name, self.definition.value_size
        return [Region(name, bytearray(size)) for _ in range(self._copies)]
