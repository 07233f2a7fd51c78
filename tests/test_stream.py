"""Many events at once: the same text as one by one, in order, none lost in silence."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from output_support import Output

from bpfscript.host_objects import HostObjects
from bpfscript.manifest import Event, Manifest, Settings
from bpfscript.pieces import Literal, Number, Plan, Shown
from bpfscript.runtime.cache import Cache
from bpfscript.runtime.host_code import load
from bpfscript.runtime.native import NativeDrain
from bpfscript.runtime.ringbuf import RingBuffer, Run
from bpfscript.runtime.stream import HOT, Drain, MakeDrain, Stream
from bpfscript.types import Bool, Int, Pointer, String, Type

NUMBERS = [Int(bits, signed) for bits in (8, 16, 32, 64) for signed in (True, False)]
EDGES = st.sampled_from([0, 1, 9, 10, 99, 100, 127, 128, 255, 256, 10**9, 2**31, 2**32 - 1, 2**63])
VALUES = st.one_of(EDGES, EDGES.map(lambda v: -v % 2**64), st.integers(0, 2**64 - 1))
BYTES = st.one_of(
    st.sampled_from(
        [b"", b"dd", b"a\0b", b"\x1b[1m", b'"\\', b"\xff", "é\x85".encode(), b"x" * 16]
    ),
    st.binary(max_size=20),
)
LITERALS = st.sampled_from(["", " ", "%%", "\n", '"', "\\", "é", "\x07", "a,"])


@st.composite
def conversions(draw: st.DrawFn) -> tuple[str, Type]:
    """A conversion with flags, width and length, and the type that it shows."""
    width = draw(st.sampled_from(["", "1", "5", "20", "33"]))
    left = draw(st.sampled_from(["", "-"]))
    if draw(st.booleans()):
        kind = draw(st.sampled_from("diuoxXpc"))
        flags = left + ("+" if kind in "di" and draw(st.booleans()) else "")
        flags += "#" if kind in "oxX" and draw(st.booleans()) else ""
        flags += draw(st.sampled_from(["", "0"]))
        length = draw(st.sampled_from(["", "hh", "h", "l", "ll", "z"])) if kind not in "pc" else ""
        return f"%{flags}{width}{length}{kind}", draw(st.sampled_from(NUMBERS))
    types: list[Type] = [*NUMBERS, Bool(), Pointer(Int(8, False)), String(16), String(1), String(5)]
    plus = draw(st.sampled_from(["", "+"]))
    return f"%{left}{plus}{width}s", draw(st.sampled_from(types))


@st.composite
def events(draw: st.DrawFn) -> tuple[Event, list[bytes]]:
    """A printf and records of it."""
    chosen = draw(st.lists(conversions(), min_size=1, max_size=5))
    text = draw(LITERALS) + "".join(c + draw(LITERALS) for c, _ in chosen)
    types = tuple(t for _, t in chosen)
    offsets = [8]
    for t in types:
        offsets.append(-(-(offsets[-1] + t.size) // 8) * 8)
    event = Event("printf", types, tuple(offsets[:-1]), offsets[-1], text)
    records = []
    for _ in range(draw(st.integers(2, 6))):
        record = bytearray(event.size)
        for (_, t), offset in zip(chosen, offsets, strict=False):
            size = t.size
            raw = draw(BYTES) if isinstance(t, String) else draw(VALUES).to_bytes(8, "little")
            raw = bytes([raw[0] & 1]) if isinstance(t, Bool) else raw
            record[offset : offset + size] = raw[:size].ljust(size, b"\0")
        records.append(bytes(record))
    return event, records


def run_of(records: list[bytes]) -> Run:
    """Records as they lie in a ring."""
    block = b"".join(struct.pack("<II", len(r), 0) + r for r in records)
    return Run(memoryview(block), len(records), len(records[0]) + 8)


@given(events(), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_many_are_shown_as_each_alone(
    made: tuple[Event, list[bytes]], json: bool, terminal: bool
) -> None:
    event, records = made
    manifest = Manifest(events=[event], settings=Settings(str_trunc_trailer=".."))
    together, alone = (Output(manifest, json=json, terminal=terminal) for _ in range(2))
    together.printer.run(event, run_of(records))
    for record in records:
        alone.printer.event(event, memoryview(record))
    assert together.text == alone.text


class Ring(RingBuffer):
    """A ring that holds these records."""

    def __init__(self, records: list[bytes]) -> None:
        block = run_of(records).block
        producer = bytearray(struct.pack("<Q", len(block)).ljust(4096, b"\0") + block)
        size = max(1 << (len(block) - 1).bit_length(), 4096)
        super().__init__(bytearray(4096), producer.ljust(4096 + size, b"\0"), size, 4096)


def natively(output: Output, event: Event, records: list[bytes]) -> int:
    """Show records by native code and, those that it leaves, by Python; how many it left."""
    drain, ring, left = output.printer.native(HostObjects(Cache(None)).made), Ring(records), 0
    while drain and not drain(ring, ring.produced, output.printer.shown):
        for run in ring.runs(ring.produced, 1):
            output.printer.run(event, run)
            left += 1
            break
    if drain is None:
        output.printer.run(event, run_of(records))
    return left if drain else len(records)


@given(events(), st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_native_code_shows_the_same(
    made: tuple[Event, list[bytes]], json: bool, terminal: bool
) -> None:
    event, records = made
    manifest = Manifest(events=[event], settings=Settings(str_trunc_trailer=".."))
    together, alone = (Output(manifest, json=json, terminal=terminal) for _ in range(2))
    natively(together, event, records)
    for record in records:
        alone.printer.event(event, memoryview(record))
    assert together.text == alone.text


def traced(script: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bpfscript.cli", *words, "-e", script],
        capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": os.getcwd()},
    )  # fmt: skip


@pytest.mark.kernel
def test_what_steers_keeps_its_order() -> None:
    done = traced(
        'begin { @ = 1; printf("a\\n"); print(@); printf("b\\n"); clear(@); print(@);'
        ' printf("c\\n"); @ = 2; print(@); exit(); } end { printf("e\\n"); }',
        "-q",
    )
    # a map is read when its turn comes: by then the script has written 2 to it
    lines = [line for line in done.stdout.split("\n") if line]
    assert lines == ["a", "@: 2", "b", "@: 0", "c", "@: 0", "e"]


FLOOD = """config = { perf_rb_pages = 1 }
begin { @ = 1; for ($i : 0..5000) { printf("%d\\n", $i); if ($i == 100) { print(@) } } exit(); }
end { printf("end\\n"); }"""


@pytest.mark.kernel
def test_a_flood_loses_nothing_that_steers_and_what_is_lost_is_counted() -> None:
    done = traced(FLOOD, "-q")
    numbers = [int(line) for line in done.stdout.splitlines() if line.isdigit()]
    assert done.returncode == 0
    assert "end" in done.stdout and all(a < b for a, b in pairwise(numbers))
    assert f"begin lost {5000 - len(numbers)} events" in done.stderr
    assert f"Total lost event count: {5000 - len(numbers)}" in done.stderr


def hot_stream(make: MakeDrain) -> tuple[list[int], list[bytes]]:
    """A stream so full that it asks for native code: records that Python got, text of native."""
    record = struct.pack("<QQ", 0, 7)
    seen: list[int] = []
    texts: list[bytes] = []
    ring = Ring([record] * (HOT + 5000))
    stream = Stream(
        ring, lambda run: seen.append(run.number), lambda t: texts.append(bytes(t)), make
    )
    while not stream.flow(ring.produced, lambda: False):
        pass
    return seen, texts


def test_native_code_takes_over_where_python_was() -> None:
    def everything(ring: RingBuffer, stop: int, write: Callable[[memoryview], None]) -> bool:
        write(memoryview(str((stop - ring.consumed) // 24).encode()))
        ring.consumed = stop
        return True

    seen, texts = hot_stream(lambda kept: None if kept else everything)
    assert sum(seen) + sum(map(int, texts)) == HOT + 5000
    seen, texts = hot_stream(lambda kept: everything if kept else None)
    assert sum(seen) + sum(map(int, texts)) == HOT + 5000 and len(texts) == 1


def test_without_a_compiler_python_goes_on() -> None:
    def missing(kept: bool) -> Drain:
        raise ImportError("llvmlite")

    seen, texts = hot_stream(missing)
    assert sum(seen) == HOT + 5000 and not texts


def test_native_code_is_kept(tmp_path: Path) -> None:
    plan = Plan((Shown(0, 16, (Number(8, 8, 64, True, True), Literal(b"\n"))),))
    objects = HostObjects(Cache(str(tmp_path / "cache")))
    assert objects.kept(plan) is None
    objects.made(plan)
    code = objects.kept(plan)
    assert code
    ring, texts = Ring([struct.pack("<Qq", 0, n) for n in (-5, 0, 2**63 - 1)]), list[bytes]()
    drain = NativeDrain(code)
    assert drain(ring, ring.produced, lambda text: texts.append(bytes(text)))
    assert texts == [b"-5\n0\n9223372036854775807\n"]


@pytest.mark.parametrize("data", [b"", b"\x7fELF", bytes(64), b"\x7fELF" + bytes(200)])
def test_what_is_no_object_is_no_native_code(data: bytes) -> None:
    with pytest.raises(ImportError, match="no native code"):
        load(data, "drain")
