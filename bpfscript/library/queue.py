"""Events on their way from the thread that reads the kernel to those that want them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

    from .events import Event


class Queue:
    """Keeps `limit` events; what comes when it is full pushes out the oldest, and is counted."""

    def __init__(self, limit: int) -> None:
        self.dropped = 0
        self._limit = limit
        self._events: deque[Event] = deque()
        self._changed = threading.Condition()
        self._sleepers: list[tuple[AbstractEventLoop, Future[None]]] = []
        self._closed = False

    def put(self, event: Event) -> None:
        with self._changed:
            if len(self._events) >= self._limit:
                self._events.popleft()
                self.dropped += 1
            self._events.append(event)
            self._wake()

    def close(self) -> None:
        """Nothing follows; what is there can still be taken."""
        with self._changed:
            self._closed = True
            self._wake()

    def take(self, timeout: float | None) -> Event | None:
        """The next event; None if none comes within `timeout` seconds, or at all."""
        end = None if timeout is None else time.monotonic() + timeout
        with self._changed:
            while not self._events and not self._closed:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            return self._events.popleft() if self._events else None

    async def take_async(self, timeout: float | None) -> Event | None:
        """`take` for a coroutine."""
        import asyncio

        loop = asyncio.get_running_loop()
        end = None if timeout is None else loop.time() + timeout
        while True:
            with self._changed:
                if self._events:
                    return self._events.popleft()
                if self._closed:
                    return None
                future: Future[None] = loop.create_future()
                self._sleepers.append((loop, future))
            try:
                await asyncio.wait_for(future, None if end is None else end - loop.time())
            except TimeoutError:
                return None

    def _wake(self) -> None:
        self._changed.notify_all()
        for loop, future in self._sleepers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(_finish, future)
        self._sleepers.clear()


def _finish(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Events(Iterator["Event"], AsyncIterator["Event"]):
    """The events of a session from here on, for `for` and `async for`; each is handed out once.

    Ends when the session has ended, or when no event comes for `timeout` seconds.
    """

    def __init__(self, queue: Queue, timeout: float | None) -> None:
        self._queue, self._timeout = queue, timeout

    def __iter__(self) -> Events:
        return self

    def __next__(self) -> Event:
        event = self._queue.take(self._timeout)
        if event is None:
            raise StopIteration
        return event

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        event = await self._queue.take_async(self._timeout)
        if event is None:
            raise StopAsyncIteration
        return event
