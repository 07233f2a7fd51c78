"""Pieces of the runtime: descriptors, ring, maps, linking of code, messages."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import (
    Attach,
    CodeFunction,
    Internal,
    Line,
    Manifest,
    MapDef,
    MapType,
    ProbeInfo,
    Relocation,
    Settings,
)
from bpfscript.runtime.errors import BpfError, VerifierRefused
from bpfscript.runtime.fd import Fd
from bpfscript.runtime.maps import Map, create_map, kernel_name, sized
from bpfscript.runtime.programs import link, no_kfunc
from bpfscript.runtime.ringbuf import RingBuffer
from bpfscript.runtime.sys import Cmd, Kernel, cpus
from bpfscript.target import MachineError
from bpfscript.types import UINT64


def test_fd_closes_once_and_hands_over() -> None:
    number = os.open("/dev/null", os.O_RDONLY)
    with Fd(number) as fd:
        assert fd.fileno() == number
        assert fd.detach() == number
        with pytest.raises(ValueError, match="after close"):
            fd.fileno()
    os.close(number)  # still ours: leaving the context did not close it
    with pytest.raises(ValueError, match="not a descriptor"):
        Fd(-1)


class Ring:
    """The kernel's side of a ring of 64 bytes."""

    size, page = 64, 8

    def __init__(self, start: int = 0) -> None:
        self.consumer, self.producer = bytearray(8), bytearray(8 + 2 * self.size)
        for side in (self.consumer, self.producer):
            struct.pack_into("=Q", side, 0, start)
        self.position = start
        self.ring = RingBuffer(self.consumer, self.producer, self.size, page=self.page)

    def put(self, data: bytes, flags: int = 0) -> None:
        record = struct.pack("=II", len(data) | flags, 0) + data
        for i, byte in enumerate(record):
            at = (self.position + i) % self.size
            self.producer[8 + at] = self.producer[8 + at + self.size] = byte
        self.position += (len(record) + 7) & ~7
        struct.pack_into("=Q", self.producer, 0, self.position)

    @property
    def consumed(self) -> int:
        return int(struct.unpack("=Q", self.consumer)[0])

    def read(self) -> list[bytes]:
        return [bytes(record) for record in self.ring.records()]


def test_ring_wraps_around() -> None:
    ring = Ring(start=48)
    ring.put(b"across the end")
    ring.put(b"x")
    assert ring.read() == [b"across the end", b"x"]
    assert ring.consumed == ring.position == 48 + 24 + 16
    assert ring.read() == []


def test_ring_skips_discarded_and_waits_for_busy_records() -> None:
    ring = Ring()
    ring.put(b"gone", flags=1 << 30)
    ring.put(b"here")
    ring.put(b"later", flags=1 << 31)
    assert ring.read() == [b"here"]
    assert ring.consumed == 32
    struct.pack_into("=I", ring.producer, 8 + 32, 5)
    assert ring.read() == [b"later"]


def test_ring_keeps_its_place_when_the_reader_stops() -> None:
    ring = Ring()
    ring.put(b"one")
    ring.put(b"two")
    for record in ring.ring.records():
        assert bytes(record) == b"one"
        break
    assert ring.read() == [b"two"]
    ring.ring.close()


def test_ring_sizes() -> None:
    ring = MapDef(Internal.EVENTS, MapType.RINGBUF, None, None, 0, 0, 1 << 18)
    asked = Manifest(settings=Settings(perf_rb_pages=3))
    assert sized(ring, asked).max_entries == 4 * os.sysconf("SC_PAGESIZE")
    often = ProbeInfo("p", (Attach("tracepoint", "t"),), ("t",))
    seldom = ProbeInfo("b", (Attach("begin", "b"),), ("b",))
    sizes = [sized(ring, Manifest(probes)).max_entries for probes in ([seldom], [seldom, often])]
    assert 1 << 18 <= sizes[0] <= sizes[1] <= 1 << 25
    assert all(size & (size - 1) == 0 for size in sizes)
    control = MapDef(Internal.CONTROL, MapType.RINGBUF, None, None, 0, 0, 1 << 16)
    assert sized(control, asked) is control


def test_names_for_the_kernel() -> None:
    assert kernel_name("@calls[π]_and_more") == b"_calls____and_m"


class NoBatch(Kernel):
    """A kernel before 5.6."""

    def bpf(self, cmd: Cmd, attr: object, what: str = "") -> int:
        if cmd in (Cmd.MAP_LOOKUP_BATCH, Cmd.MAP_LOOKUP_AND_DELETE_BATCH):
            raise BpfError(cmd.name, errno.EINVAL)
        return super().bpf(cmd, attr, what)  # type: ignore[arg-type]


def make(kind: MapType, kernel: Kernel, entries: int = 5000, size: int = 8) -> Map:
    plain = kind in (MapType.ARRAY, MapType.PERCPU_ARRAY)
    definition = MapDef("@m", kind, UINT64, UINT64, 4 if plain else 8, size, entries)
    return create_map(definition, len(cpus("possible")), kernel)


@pytest.mark.kernel
@pytest.mark.parametrize("kernel", [Kernel(), NoBatch()], ids=["batch", "one by one"])
@pytest.mark.parametrize(
    "kind", [MapType.HASH, MapType.PERCPU_HASH, MapType.LRU_HASH, MapType.LRU_PERCPU_HASH]
)
def test_hash_maps(kind: MapType, kernel: Kernel) -> None:
    opened = make(kind, kernel, size=12)
    assert list(opened.entries()) == []
    wanted = {struct.pack("<Q", i): struct.pack("<QI", i * i, i) for i in range(3000)}
    for key, value in wanted.items():
        opened.update(key, value)
    copies = len(cpus("possible")) if opened.definition.per_cpu else 1
    assert dict(opened.entries()) == {k: [v] * copies for k, v in wanted.items()}
    first = struct.pack("<Q", 1)
    assert opened.delete(first) and not opened.delete(first) and opened.value(first) is None
    opened.zero()
    assert {v for _, values in opened.entries() for v in values} == {bytes(12)}
    opened.clear()
    assert list(opened.entries()) == []
    opened.close()


@pytest.mark.kernel
@pytest.mark.parametrize("kernel", [Kernel(), NoBatch()], ids=["batch", "one by one"])
@pytest.mark.parametrize("kind", [MapType.ARRAY, MapType.PERCPU_ARRAY])
def test_label_arrays_hold_only_what_was_written(kind: MapType, kernel: Kernel) -> None:
    definition = MapDef("@l", kind, UINT64, UINT64, 4, 16, 40, labels=tuple(map(str, range(40))))
    opened = create_map(definition, len(cpus("possible")), kernel)
    slot = struct.pack("<I", 33)
    opened.update(slot, struct.pack("<QQ", 5, 1))
    copies = opened.copies
    assert list(opened.entries()) == [(slot, [struct.pack("<QQ", 5, 1)] * copies)]
    opened.zero()
    assert list(opened.entries()) == [(slot, [struct.pack("<QQ", 0, 1)] * copies)]
    opened.clear()
    assert list(opened.entries()) == []
    opened.close()


@pytest.mark.kernel
def test_rodata_is_filled_and_frozen() -> None:
    definition = MapDef(".rodata", MapType.ARRAY, None, None, 4, 16, 1)
    opened = create_map(definition, 1, Kernel(), b"hello")
    assert opened.value(bytes(4)) == [b"hello".ljust(16, b"\0")]
    with pytest.raises(BpfError) as caught:
        opened.update(bytes(4), bytes(16))
    assert caught.value.errno == errno.EPERM and "root" not in str(caught.value)
    opened.close()


def slots(count: int) -> bytes:
    return bytes([0x18, 0x01, 0, 0, 0, 0, 0, 0]) * count


def test_linking_patches_addresses() -> None:
    main = CodeFunction(
        "main",
        slots(6),
        (
            Relocation(0, "map", "@m"),
            Relocation(2, "map_value", ".rodata", 40),
            Relocation(4, "call", "helper"),
            Relocation(5, "callback", "helper"),
        ),
        (Line(0, 3, 5, 1, 2), Line(4, 4, 2000, 1, 9)),
        type_id=7,
    )
    helper = CodeFunction("helper", slots(1), (), (Line(0, 9, 1),), type_id=8)
    linked = link([main, helper], {"@m": 11, ".rodata": 12}, no_kfunc)
    words = [struct.unpack("<BBhi", linked.code[i : i + 8]) for i in range(0, len(linked.code), 8)]
    assert [(registers, imm) for _, registers, _, imm in words] == [
        (0x11, 11), (1, 0), (0x21, 12), (1, 40), (0x11, 1), (0x41, 0), (1, 0),
    ]  # fmt: skip
    assert struct.unpack("<4I", linked.functions) == (0, 7, 6, 8)
    assert struct.unpack("<12I", linked.lines) == (
        0, 1, 2, 3 << 10 | 5, 4, 1, 9, 4 << 10 | 1023, 6, 0, 0, 9 << 10 | 1,
    )  # fmt: skip
    with pytest.raises(CompilerBug, match="'@m', which is not there"):
        link([main, helper], {}, no_kfunc)


LOG = """0: R1=ctx() R10=fp0
; @x = *arg0 @ script.bt:12
0: (79) r0 = *(u64 *)(r3 +0)
R3 !read_ok
processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0
"""


def test_a_refusal_tells_the_line() -> None:
    error = VerifierRefused("p", LOG, errno.EACCES)
    assert isinstance(error, MachineError) and isinstance(error, CompilerBug)
    assert (error.reason, error.line) == ("R3 !read_ok", 12)
    assert str(error) == (
        "bug of bpfscript: the kernel's verifier refused p, line 12: R3 !read_ok (4 lines omitted)"
    )
    assert VerifierRefused("p", "", errno.EACCES).reason == "Permission denied"


@pytest.mark.parametrize(
    ("number", "reason", "gave_up"),
    [
        (errno.E2BIG, "BPF program is too large. Processed 1000001 insn", True),
        (errno.EFAULT, "The sequence of 8193 jumps is too complex.", True),
        (errno.ENOMEM, "", True),
        (errno.EACCES, "R3 !read_ok", False),
        (errno.EFAULT, "", False),
    ],
)
def test_who_gives_up_has_found_no_fault(number: int, reason: str, gave_up: bool) -> None:
    assert VerifierRefused("p", reason, number).gave_up == gave_up
