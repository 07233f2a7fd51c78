"""The pytest fixture `bpf`: what does this code ask of the kernel?

def test_reads_its_file_once(bpf):
    with bpf('tracepoint:syscalls:sys_enter_openat { @[str(args.filename)] = count(); }') as seen:
        load_settings("settings.toml")
    assert seen.maps["@"]["settings.toml"] == 1
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bpfscript.library.session import Session

    Trace = Callable[..., Session]


@pytest.fixture
def bpf() -> Iterator[Trace]:
    """`bpf(script, *parameters, pid=…)`: a session that is tracing, for a `with` block.

    pid: the process that the script is limited to, by default the one that runs the test; None: no
    limit. Other keywords are those of `bpfscript.trace`. Sessions that a test leaves open are
    closed after it. Where the kernel or the lack of rights does not let us trace, the test fails
    with that error.
    """
    import bpfscript

    with ExitStack() as stack:

        def trace(script: str, *parameters: object, **keywords: object) -> Session:
            keywords.setdefault("pid", os.getpid())
            session = bpfscript.trace(script, *parameters, **keywords)  # type: ignore[arg-type]
            stack.callback(session.close)
            return session

        yield trace
