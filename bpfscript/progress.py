"""Says on a terminal what takes long, once it has taken a second."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

AFTER = 1.0  # seconds
_CLEAR = "\r\033[K"


@contextmanager
def progress(what: str) -> Iterator[None]:
    """`what …` on the error stream while the body runs, if that is a terminal; then it is gone."""
    if not sys.stderr.isatty():
        yield
        return
    from threading import Timer  # not needed where nobody watches

    said = False

    def say() -> None:
        nonlocal said
        said = True
        print(f"{what} …", end="", file=sys.stderr, flush=True)

    timer = Timer(AFTER, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if said:
            print(_CLEAR, end="", file=sys.stderr, flush=True)
