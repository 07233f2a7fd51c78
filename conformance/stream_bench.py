"""How fast output flows, beside upstream in the same run. Asserts nothing.

    python -m conformance.stream_bench [RUNS]

Wants a quiet machine; the median of RUNS (3) counts. Traced is a dd of ours that writes single
bytes. CPU time is the tool's own, that of a run without events taken off.
"""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bpfscript.host_objects import HostObjects
from bpfscript.manifest import Event, Manifest
from bpfscript.runtime.cache import Cache
from bpfscript.runtime.ringbuf import RingBuffer
from bpfscript.runtime.symbols import Symbols
from bpfscript.runtime.text import TextPrinter
from bpfscript.types import Int

from .bench import OURS, UPSTREAM
from .large_library import STACKS, build

MANY, PILE = 1_000_000, 150_000
PROBE = 'tracepoint:syscalls:sys_enter_write /comm == "dd"/'
SHOW = PROBE + ' { printf("%d %s %d\\n", pid, comm, args.count); }'
ROOMY = "config = { perf_rb_pages = 8192 } "
MAPS = {
    "map, 1,000,000 counts": ("@[@n] = count();", 1_000_000),
    "map, 10,000 histograms": ("@[@n % 10000] = hist(@n);", 100_000),
}
Numbers = tuple[float, ...]


def dd(count: int) -> None:
    subprocess.run(
        ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", f"count={count}", "status=none"], check=True
    )


@contextmanager
def tracing(tool: str, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], list[float]]]:
    """The tool, attached, output to a large pipe. Its CPU seconds are in the list afterwards."""
    process = subprocess.Popen([tool, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 1 << 20)
    spent: list[float] = []
    try:
        stream = process.stdout if "json" in words else process.stderr
        while (line := stream.readline()) and b"ttached" not in line:
            pass
        yield process, spent
    finally:
        os.kill(process.pid, signal.SIGCONT)
        os.kill(process.pid, signal.SIGINT)
        process.stdout.read()
        process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        spent.append(usage.ru_utime + usage.ru_stime)


def received(process: subprocess.Popen[bytes], wanted: int, quiet: float = 1.0) -> int:
    """Lines that come until there are so many, or none for a while."""
    assert process.stdout
    os.set_blocking(process.stdout.fileno(), False)
    lines, last = 0, time.monotonic()
    while lines < wanted and time.monotonic() - last < quiet:
        try:
            data = os.read(process.stdout.fileno(), 1 << 20)
        except BlockingIOError:
            time.sleep(0.0005)
            continue
        lines, last = lines + data.count(b"\n"), time.monotonic()
    os.set_blocking(process.stdout.fileno(), True)
    return lines


def stream(tool: str) -> Numbers:
    """Percent of a million events that are lost; µs of CPU time for one that is printed."""
    spent = []
    for count in (1, MANY):
        with tracing(tool, "-e", SHOW) as (process, seconds):
            writer = threading.Thread(target=dd, args=(count,))
            writer.start()
            lines = received(process, count)
            writer.join()
        spent.append(seconds[0])
    return 100 * max(1 - lines / MANY, 0), (spent[1] - spent[0]) / lines * 1e6


def drain(tool: str, *words: str) -> Numbers:
    """Events a second out of a pile, in thousands."""
    with tracing(tool, *words, "-e", ROOMY + SHOW) as (process, _):
        os.kill(process.pid, signal.SIGSTOP)
        dd(PILE)
        start = time.perf_counter()
        os.kill(process.pid, signal.SIGCONT)
        lines = received(process, PILE)
        return (lines / (time.perf_counter() - start) / 1e3,)


def dump(tool: str, action: str, count: int) -> Numbers:
    """Seconds from the end of tracing to the last line of the map."""
    limit = "config = { max_map_keys = 1100000 } "
    script = f"{limit}{PROBE} {{ @n++; {action} }} end {{ clear(@n); }}"
    with tracing(tool, "-e", script) as (process, _):
        dd(count)
        time.sleep(0.2)
        start = time.perf_counter()
        os.kill(process.pid, signal.SIGINT)
        assert process.stdout and process.stderr
        threading.Thread(target=process.stderr.read).start()  # or a full pipe stops the tool
        process.stdout.read()
        return (time.perf_counter() - start,)


def stacks(tool: str, program: Path, library: Path) -> Numbers:
    """Wall and CPU seconds of a run that shows many stacks of one large file."""
    script = f"uprobe:{library}:leaf {{ @[ustack] = count(); }}"
    words = [tool, "-e", "config = { max_map_keys = 20000 } " + script, "-c", str(program)]
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    return time.perf_counter() - start, usage.ru_utime + usage.ru_stime


Rows = tuple[tuple[str, str], ...]  # name and unit of each


def rows(names: Rows, measure: Callable[[str], Numbers], runs: int) -> None:
    """Both tools in turn, the median of each, the ratio of ours to upstream's."""
    seen: dict[str, list[Numbers]] = {str(UPSTREAM): [], str(OURS): []}
    for _ in range(runs):
        for tool, results in seen.items():
            results.append(measure(tool))
    for which, (name, unit) in enumerate(names):
        theirs, ours = (median(numbers[which] for numbers in of) for of in seen.values())
        ratio = f"{ours / theirs:>9.2f}" if theirs else f"{'-':>9}"
        print(f"{name:<28}{theirs:>12.2f}{ours:>12.2f} {unit:<10}{ratio}", flush=True)


class _Nowhere:
    """Takes output."""

    def write(self, data: bytes) -> int:
        return len(data)

    def flush(self) -> None: ...

    def isatty(self) -> bool:
        return False


def figure(number: int = 100_000) -> None:
    """Events a second by the number of integers that a printf shows, Python and native."""
    print(f"\n{'arguments of printf':<28}{'Python':>12}{'native':>12} k events/s")
    for arguments in (0, 1, 2, 4, 8, 16):
        fields, offsets = (Int(64, True),) * arguments, tuple(range(8, 8 + 8 * arguments, 8))
        text = " ".join(["%d"] * arguments) + "\n"
        event = Event("printf", fields, offsets, 8 + 8 * arguments, text)
        nowhere: object = _Nowhere()
        printer = TextPrinter(Manifest(events=[event]), nowhere, sys.stderr, Symbols())  # type: ignore[arg-type]
        record = struct.pack(f"<II{1 + arguments}q", event.size, 0, 0, *range(arguments))
        native = printer.native(HostObjects(Cache(None)).made)
        assert native
        by_python, by_native = _ring(record * number), _ring(record * number)
        start = time.perf_counter()
        for run in by_python.runs(by_python.produced):
            printer.run(event, run)
        middle = time.perf_counter()
        native(by_native, by_native.produced, printer.shown)
        rates = [number / s / 1e3 for s in (middle - start, time.perf_counter() - middle)]
        print(f"{arguments:<28}{rates[0]:>12.0f}{rates[1]:>12.0f}", flush=True)


def _ring(block: bytes) -> RingBuffer:
    size = 1 << (len(block) - 1).bit_length()
    producer = bytearray(struct.pack("<Q", len(block)).ljust(4096, b"\0") + block)
    return RingBuffer(bytearray(4096), producer.ljust(4096 + size, b"\0"), size, 4096)


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    print(f"{'':<28}{'upstream':>12}{'bpfscript':>12}{'':11}{'ratio':>9}")
    rows((("lost of 1,000,000 printf", "%"), ("CPU time of one printf", "µs")), stream, runs)
    rows((("drain, text", "k/s"),), drain, runs)
    rows((("drain, JSON", "k/s"),), lambda tool: drain(tool, "-f", "json"), runs)
    for name, (action, count) in MAPS.items():
        rows(((name, "s"),), lambda tool, a=action, c=count: dump(tool, a, c), runs)  # type: ignore[misc]
    with TemporaryDirectory() as directory:
        made = build(Path(directory))
        names = (f"{STACKS:,} stacks of 143 MB", "s"), ("    its CPU time", "s")
        rows(names, lambda tool: stacks(tool, *made), runs)
    figure()


if __name__ == "__main__":
    main()
