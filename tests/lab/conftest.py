"""Scripts traced in one process: in the guest a start of the tool takes 20 s, a script one."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest

from bpfscript import driver
from bpfscript.diagnostics import Source
from bpfscript.frontend.typed import Options
from bpfscript.runtime.cache import Cache
from bpfscript.runtime.live_target import LiveTarget
from bpfscript.runtime.session import Session
from bpfscript.runtime.symbols import Symbols
from bpfscript.runtime.text import TextPrinter

Trace = Callable[..., list[str]]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(str(tmp_path_factory.mktemp("made") / "cache"))


@pytest.fixture(scope="session")
def machine(cache: Cache) -> LiveTarget:
    target = LiveTarget(cache=cache)
    assert target.btf and not target.callable_by("none", 0)  # both map it here: no test leaks it
    return target


@pytest.fixture
def trace(machine: LiveTarget) -> Trace:
    """`trace(script, work)`: the lines that are printed when `work()` runs under the script.

    `$1` is the thread that works, and does nothing else. words: `$2`, … pid: like `-p`. without:
    features to do without.
    """
    return partial(trace_on, machine)


@pytest.fixture(scope="session")
def plain(cache: Cache) -> Trace:
    """The same where the kernel's trampolines are denied."""
    target = LiveTarget(without=frozenset({"fentry"}), cache=cache)
    assert target.btf
    return partial(trace_on, target)


def trace_on(
    machine: LiveTarget,
    script: str,
    work: Callable[[], object],
    *words: object,
    pid: int | None = None,
    without: Iterable[str] = (),
) -> list[str]:
    worker = ThreadPoolExecutor(1)
    thread = worker.submit(threading.get_native_id).result()
    options = Options(positional=tuple(map(str, (thread, *words))), pid=pid, unsafe=True)
    artifact = driver.compile(Source("lab.bt", script), machine, options, verify=True).artifact
    out = io.BytesIO()
    features = machine.features.without(frozenset(without))
    with worker, closing(Symbols(artifact.manifest.settings)) as symbols:
        printer = TextPrinter(artifact.manifest, out, sys.stderr, symbols, quiet=True)
        session = Session(artifact, printer, pid=pid, features=features, signals=False)
        with session:
            session.load()
            session.attach()
            session.iterate()
            worker.submit(work).result()
            session.stop()
            session.run()
    return [line for line in out.getvalue().decode().splitlines() if line]
