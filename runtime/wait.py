"""Sleeping until something happens: a descriptor, a signal, another thread's word, time."""

from __future__ import annotations

import os
import select
import signal
from contextlib import ExitStack
from types import FrameType

_STOP = (signal.SIGINT, signal.SIGTERM)
_TRIGGER = signal.SIGUSR1


class Waiter:
    """Owns a pipe that wakes it and, if asked to, the handlers of the process's signals.

    stopping: SIGINT or SIGTERM came, or stop() was called. triggers: SIGUSR1s not yet acted on.
    """

    def __init__(self, signals: bool) -> None:
        """signals: catch them; only the main thread may."""
        self.stopping, self.triggers = False, 0
        self._signals = signals
        # poll(2), not epoll: it asks for a ring's level each time, so no wake-up can be missed
        self._poll = select.poll()
        with ExitStack() as stack:
            self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
            stack.callback(os.close, self._woken)
            stack.callback(os.close, self._wake)
            self.add(self._woken)
            if signals:
                self._catch(stack)
            self._stack = stack.pop_all()

    def add(self, number: int) -> None:
        """Wake up when this descriptor can be read; it has to stay open."""
        self._poll.register(number, select.POLLIN)

    def wait(self, seconds: float) -> set[int]:
        """Descriptors that can be read; at most `seconds` later, then perhaps none."""
        if self.stopping:
            return set()
        ready = {number for number, _ in self._poll.poll(max(seconds, 0.0) * 1000)}
        if self._woken in ready:
            os.read(self._woken, 512)
        return ready

    def stop(self) -> None:
        """Wake it up for good, from any thread."""
        self.stopping = True
        os.write(self._wake, b"s")

    def default_stop(self) -> None:
        """From now on SIGINT and SIGTERM end the process at once."""
        if self._signals:
            for number in _STOP:
                signal.signal(number, signal.SIG_DFL)

    def close(self) -> None:
        """Give the signals back."""
        self._stack.close()

    def _catch(self, stack: ExitStack) -> None:
        old_wake = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        stack.callback(signal.set_wakeup_fd, old_wake)
        for number in (*_STOP, _TRIGGER):
            stack.callback(signal.signal, number, signal.signal(number, self._on_signal))

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if number == _TRIGGER:
            self.triggers += 1
        else:
            self.stopping = True
