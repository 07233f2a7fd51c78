"""The stream of events: runs of equal records, shown by Python or, once it is hot, by native code.

Native code comes from outside, as a function that gives what was kept of an earlier run, at once,
or makes it: compiling takes a while and happens in a thread, during which Python goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from .ringbuf import RingBuffer, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

HOT = 50_000  # events in one second, or waiting at once, from which on native code pays
WARM = 1_000  # events from which on native code is used if there is some
_SECOND = 1.0


class Drain(Protocol):
    """Native code that shows records."""

    def __call__(self, ring: RingBuffer, stop: int, write: Callable[[memoryview], None]) -> bool:
        """Show records up to the position `stop`, in order, and give their space back; whether all
        are shown. If not, the next one is not for native code."""


MakeDrain = Callable[[bool], Drain | None]
"""Gives native code, for True only what needs no compiler; None where there is none."""


class Stream:
    """Reads the ring of events.

    act: takes each run. write: takes native code's output. native: makes that code, or None where
    no event can be shown by it.
    """

    def __init__(
        self,
        ring: RingBuffer,
        act: Callable[[Run], None],
        write: Callable[[memoryview], None],
        native: MakeDrain | None,
    ) -> None:
        self.ring, self._act, self._write = ring, act, write
        self._make = native
        self._drain: Drain | None = None
        self._asked = False  # for what was kept
        self._failure: Exception | None = None
        self._since, self._seen = time.monotonic(), 0
        self.busy = False  # the last look found so much that there will be more soon

    def flow(self, stop: int, until: Callable[[], bool]) -> bool:
        """Act on records before the position `stop`; whether there is none left."""
        if self._failure:
            raise self._failure
        start = self.ring.consumed
        while self.ring.consumed < stop and not until():
            if self._drain:
                if self._drain(self.ring, stop, self._write):
                    break
                self._by_python(stop, until, 1)
            elif not self._by_python(stop, until, 4096):
                break
        self.busy = self.ring.consumed - start > self.ring.size >> 10
        return self.ring.consumed >= stop

    def skip(self, stop: int) -> None:
        """Let records go by unseen."""
        for _ in self.ring.runs(stop):
            pass

    def _by_python(self, stop: int, until: Callable[[], bool], most: int) -> int:
        """How many records it got through: once native code is there, it may take over."""
        number = 0
        for run in self.ring.runs(stop, most):
            self._act(run)
            number += run.number
            self._seen += run.number
            if self._make:
                much = max(self._seen, (stop - self.ring.consumed) // run.stride)
                if much > WARM and not self._asked:
                    self._warm(self._make)
                elif much > HOT:
                    self._heat()
            if until() or most == 1 or self._drain:
                break
        return number

    def _warm(self, make: MakeDrain) -> None:
        self._asked = True
        try:
            self._drain = make(True)
        except ImportError:
            self._make = None
        if self._drain:
            self._make = None

    def _heat(self) -> None:
        """Have native code made if so many events took less than a second."""
        now = time.monotonic()
        hot = self._seen <= HOT or now - self._since < _SECOND
        self._since, self._seen = now, 0
        if hot and self._make:
            from threading import Thread

            make, self._make = self._make, None
            Thread(target=self._swap, args=(make,)).start()

    def _swap(self, make: MakeDrain) -> None:
        try:
            self._drain = make(False)
        except ImportError:
            pass  # where the compiler is not installed, Python goes on
        except Exception as error:
            self._failure = error  # a bug, told by the thread that asked
