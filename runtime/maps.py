"""Maps: made from a `MapDef`, read in batches, cleared."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct

from bpfscript.manifest import Internal, Manifest, MapDef, MapType, in_c
from bpfscript.plain import replace
from bpfscript.types import Int, String

from .entries import Combine, Entries, Entry, Shape
from .errors import BpfError
from .fd import Fd
from .sys import Cmd, Kernel, MapBatch, MapCreate, MapElement, MapFreeze, address, buffer_of

F_NO_PREALLOC = 1 << 0
F_RDONLY_PROG = 1 << 7

# bytes of a map that are allocated at once, or this part of what is free: more is allocated entry
# by entry, which bursts of new keys outrun
_AT_ONCE, _AT_ONCE_PART = 32 << 20, 8
_CHUNK = 1 << 20  # bytes of values asked for in one batch
# bytes of the ring of events: at least, for probes that run seldom, and for others
_RING_LEAST, _RING_SLOW, _RING_FAST = 1 << 18, 1 << 22, 1 << 25
_SELDOM = {"begin", "end", "self", "interval", "test", "bench"}  # kinds of probes
_PRESENCE = 8  # bytes: the uint64 after each value of a map with labels
_HASHES = (MapType.HASH, MapType.PERCPU_HASH)
_UNSUPPORTED = (errno.EINVAL, errno.EOPNOTSUPP, 524)  # 524: the kernel's own ENOTSUPP


class Map:
    """An open map; it owns its descriptor. `definition.max_entries` of a ring are its bytes.

    near: the map that holds entries of this one, too, see `MapDef.within`.
    """

    def __init__(self, fd: Fd, definition: MapDef, cpus: int, kernel: Kernel) -> None:
        self.fd, self.definition, self.kernel = fd, definition, kernel
        self.near: Map | None = None
        self.copies = cpus if definition.per_cpu else 1
        # a per-CPU value takes a multiple of 8 bytes for each possible CPU
        self.step = (
            (definition.value_size + 7) & ~7 if definition.per_cpu else definition.value_size
        )

    def close(self) -> None:
        self.fd.close()

    @property
    def _shape(self) -> Shape:
        return Shape(self.definition.key_size, self.definition.value_size, self.step, self.copies)

    def entries(self) -> Entries:
        """Every entry; of a map with labels, those that were ever written."""
        found = self._own_entries()
        if self.near is None:
            return found
        if not self.near.definition.key_at:
            return found.with_longer(self.near.entries())
        return found.merged(self._in_slots(self.near), self._combine)

    def _in_slots(self, near: Map) -> Entries:
        from .slots import out_of_slots

        return out_of_slots(near.entries(), near.definition, self._shape)

    @property
    def _combine(self) -> Combine:
        from .aggregates import combiner

        return combiner(self.definition.value)

    def _own_entries(self) -> Entries:
        try:
            found = self._batches(Cmd.MAP_LOOKUP_BATCH)  # since 5.6, per-CPU arrays since 5.13
        except BpfError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            found = Entries.of(self._one_by_one(), self._shape)
        if self.definition.labels is None or self.definition.key_at:
            return found
        there = (entry for entry in found if any(any(v[-_PRESENCE:]) for v in entry[1]))
        return Entries.of(there, self._shape)

    def stored_key(self, key: bytes) -> bytes:
        """A key of the script's type as the kernel's map has it: with labels, the slot's index."""
        labels, type = self.definition.labels, self.definition.key
        if labels is None:
            return key
        if isinstance(type, String):
            label: str | int = key.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
        else:
            label = int.from_bytes(key, "little", signed=isinstance(type, Int) and type.signed)
        return (labels.index(label) if label in labels else len(labels)).to_bytes(4, "little")

    def value(self, key: bytes) -> list[bytes] | None:
        """The value of a key, one for each CPU that has its own, or None."""
        own = self._own_value(key)
        if self.near is None:
            return own
        if not self.near.definition.key_at:
            near = self.near._own_value(key)
            return [value[: self.definition.value_size] for value in near] if near else own
        found = dict(self._in_slots(self.near)).get(key)
        return list(map(self._combine, own, found)) if own and found else own or found

    def _own_value(self, key: bytes) -> list[bytes] | None:
        where, out = buffer_of(key), ctypes.create_string_buffer(self.step * self.copies)
        attr = MapElement(map_fd=self.fd.fileno(), key=address(where), value=address(out))
        if not self._try(Cmd.MAP_LOOKUP_ELEM, attr):
            return None
        return self._split(out.raw, 0)

    def update(self, key: bytes, value: bytes) -> None:
        """Set a value; for a per-CPU map, the same one on each CPU."""
        self._write(key, [value] * self.copies)

    def fill(self, values: bytes) -> None:
        """Set the first entries of an array at once (since 5.6)."""
        if count := len(values) // self.definition.value_size:
            keys = buffer_of(struct.pack(f"<{count}I", *range(count)))
            content = buffer_of(values)
            attr = MapBatch(
                keys=address(keys), values=address(content), count=count, map_fd=self.fd.fileno()
            )
            self.kernel.bpf(Cmd.MAP_UPDATE_BATCH, attr, self.definition.name)

    def delete(self, key: bytes) -> bool:
        """Remove an entry; whether there was one."""
        where = buffer_of(key)
        attr = MapElement(map_fd=self.fd.fileno(), key=address(where))
        return self._try(Cmd.MAP_DELETE_ELEM, attr)

    def clear(self) -> None:
        """Remove every entry."""
        if self.near:
            self.near.clear()
        if self.definition.kind in (MapType.ARRAY, MapType.PERCPU_ARRAY):
            for slot in range(self.definition.max_entries):
                self.update(slot.to_bytes(4, "little"), bytes(self.definition.value_size))
            return
        try:
            self._batches(Cmd.MAP_LOOKUP_AND_DELETE_BATCH)
        except BpfError as error:
            if error.errno not in _UNSUPPORTED:
                raise
            for key, _ in self._one_by_one():
                self.delete(key)

    def zero(self) -> None:
        """Make every value zero and keep the entries."""
        if self.near:
            self.near.zero()
        kept = _PRESENCE if self.definition.labels is not None else 0
        if self.definition.key_at:
            kept = self.definition.value_size - self.definition.key_at
        for key, values in self._own_entries():
            size = self.definition.value_size - kept
            self._write(key, [bytes(size) + value[size:] for value in values])

    def freeze(self) -> None:
        """No more changes from user space: the verifier may take its contents for constants."""
        self.kernel.bpf(Cmd.MAP_FREEZE, MapFreeze(map_fd=self.fd.fileno()), self.definition.name)

    def _write(self, key: bytes, values: list[bytes]) -> None:
        where, what = buffer_of(key), buffer_of(b"".join(v.ljust(self.step, b"\0") for v in values))
        attr = MapElement(map_fd=self.fd.fileno(), key=address(where), value=address(what))
        self.kernel.bpf(Cmd.MAP_UPDATE_ELEM, attr, self.definition.name)

    def _try(self, cmd: Cmd, attr: ctypes.Structure) -> bool:
        """Whether the kernel found the element."""
        try:
            self.kernel.bpf(cmd, attr, self.definition.name)
        except BpfError as error:
            if error.errno != errno.ENOENT:
                raise
            return False
        return True

    def _batches(self, cmd: Cmd) -> Entries:
        key_size, size = self.definition.key_size, self.step * self.copies
        found_keys, found_values = bytearray(), bytearray()
        count = max(min(self.definition.max_entries, _CHUNK // size), 16)
        # where to go on: opaque, at most a key or a uint32
        position = ctypes.create_string_buffer(max(key_size, 4))
        keys = ctypes.create_string_buffer(count * key_size)
        values = ctypes.create_string_buffer(count * size)
        started = last = False
        while not last:
            attr = MapBatch(
                in_batch=address(position) if started else 0, out_batch=address(position),
                keys=address(keys), values=address(values), count=count, map_fd=self.fd.fileno(),
            )  # fmt: skip
            try:
                self.kernel.bpf(cmd, attr, self.definition.name)
            except BpfError as error:
                if error.errno == errno.ENOSPC:  # one bucket holds more than `count`
                    count *= 2
                    keys = ctypes.create_string_buffer(count * key_size)
                    values = ctypes.create_string_buffer(count * size)
                    continue
                last = error.errno == errno.ENOENT
                if not last:
                    raise
            found_keys += memoryview(keys)[: attr.count * key_size]
            found_values += memoryview(values)[: attr.count * size]
            started = True
        return Entries(found_keys, found_values, self._shape)

    def _one_by_one(self) -> list[Entry]:
        found: list[Entry] = []
        key, after = None, ctypes.create_string_buffer(self.definition.key_size)
        attr = MapElement(map_fd=self.fd.fileno(), value=address(after))
        while self._try(Cmd.MAP_GET_NEXT_KEY, attr):
            key = buffer_of(after.raw)
            attr.key = address(key)
            if (values := self.value(after.raw)) is not None:
                found.append((after.raw, values))
        return found

    def _split(self, values: bytes, start: int) -> list[bytes]:
        size = self.definition.value_size
        stops = range(start, start + self.step * self.copies, self.step)
        return [values[at : at + size] for at in stops]


def create_map(definition: MapDef, cpus: int, kernel: Kernel, rodata: bytes = b"") -> Map:
    """Make a map. cpus: number of possible ones. rodata: what `.rodata` holds."""
    flags, size = definition.flags, definition.value_size * (cpus if definition.per_cpu else 1)
    if definition.kind in _HASHES and not _at_once(size * definition.max_entries):
        flags |= F_NO_PREALLOC
    if definition.name == Internal.RODATA:
        flags |= F_RDONLY_PROG
    attr = MapCreate(
        map_type=definition.kind, key_size=definition.key_size, value_size=definition.value_size,
        max_entries=definition.max_entries, map_flags=flags, map_name=kernel_name(definition.name),
    )  # fmt: skip
    fd = Fd(kernel.bpf(Cmd.MAP_CREATE, attr, definition.name))
    made = Map(fd, definition, cpus, kernel)
    try:
        if definition.name == Internal.RODATA:
            made.update(bytes(4), rodata.ljust(definition.value_size, b"\0"))
            made.freeze()
        if definition.initial:
            made.update(bytes(4), definition.initial)
    except BpfError:
        made.close()
        raise
    return made


def _at_once(size: int) -> bool:
    return size <= _AT_ONCE or size <= _free() // _AT_ONCE_PART


def _free() -> int:
    """Bytes of memory that nothing has."""
    return os.sysconf("SC_AVPHYS_PAGES") * mmap.PAGESIZE


def sized(definition: MapDef, manifest: Manifest) -> MapDef:
    """The same map, the ring of events as large as this machine and the script want it."""
    if definition.name != Internal.EVENTS:
        return definition
    wanted = manifest.settings.perf_rb_pages * mmap.PAGESIZE
    if not wanted:
        kinds = {place.kind for info in manifest.probes for place in info.attachments}
        most = _RING_SLOW if kinds <= _SELDOM else _RING_FAST
        wanted = max(min(_free() >> 8, most), _RING_LEAST)
    return replace(definition, max_entries=1 << (wanted - 1).bit_length())


def kernel_name(name: str) -> bytes:
    """A name that the kernel takes for an object: 15 of letters, digits, `_` and `.`"""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in in_c(name))
    return plain.encode()[:15]
