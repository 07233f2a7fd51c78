"""A script in the kernel, for Python."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from types import MappingProxyType, TracebackType

from bpfscript.manifest import Artifact
from bpfscript.runtime import session as runtime
from bpfscript.runtime.process import Child
from bpfscript.runtime.symbols import Symbols

from .events import Collector, Event
from .maps import MapView, views
from .queue import Events, Queue
from .values import Decoders

KEPT = 100_000
"""How many events a session keeps for who has not asked for them yet."""


class Session:
    """What `load` and `trace` give; a context manager, left when tracing is to end.

    A thread of its own reads the kernel, so that maps change and events are there while the caller
    does other things. Every method may be called from any thread. What goes wrong in that thread,
    a callback's exception for instance, ends tracing and is raised by the next of `events`, `wait`,
    `stop` and `close` that comes to its end. A process that is forked off has a share in what the
    kernel holds until it calls `close`, execs or ends; only the first one traces.

    artifact    what runs
    maps        the script's maps by name, `@` included
    warnings    what there is to say about attaching, in words
    exit_code   the script's exit(), else 0
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        pid: int | None = None,
        command: Sequence[str] | None = None,
        on_event: Callable[[Event], None] | None = None,
        keep: int = KEPT,
    ) -> None:
        self.artifact = artifact
        self.maps: Mapping[str, MapView] = MappingProxyType({})
        self.warnings: list[str] = []
        self._queue = Queue(keep)
        self._lock = threading.RLock()  # of symbols, and of what the kernel's maps are open for
        self._failure: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        self._process = os.getpid()
        with ExitStack() as stack:
            symbols = stack.enter_context(closing(Symbols(artifact.manifest.settings)))
            if artifact.manifest.shows_user_code:
                stack.enter_context(symbols.watch())
            decoders = Decoders(artifact.manifest, symbols)
            printer = Collector(
                artifact.manifest, symbols, decoders, self._lock, on_event or self._queue.put
            )
            child = Child.start(" ".join(command)) if command else None
            self._run = runtime.Session(
                artifact, printer, pid=pid, child=child, signals=False, print_maps=False,
                warn=self.warnings.append,
            )  # fmt: skip
            stack.enter_context(self._run)
            self._run.load()
            self.maps = MappingProxyType(views(self._run.maps, decoders, self._lock))
            self._stack = stack.pop_all()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        try:
            self.close()
        except Exception:
            if error is None:  # else it would hide what ended the block
                raise

    def attach(self) -> int:
        """Start tracing; how many probes are attached. `begin` probes run first.

        Raises AttachError, and KernelError if no probe can be attached, ValueError if the session
        was attached before.
        """
        if self._thread:
            raise ValueError("the session was attached before")
        attached = self._run.attach()
        self._thread = threading.Thread(target=self._trace, name="bpfscript", daemon=True)
        self._thread.start()
        return attached

    def events(self, timeout: float | None = None) -> Events:
        """The events that nobody has taken yet, then those that come, each once.

        Ends once the script has ended and all are taken, or after `timeout` seconds without one.
        Not for sessions with a callback, whose events go there.
        """
        self._raise()
        return Events(self._queue, timeout)

    def __iter__(self) -> Events:
        return self.events()

    def __aiter__(self) -> Events:
        return self.events()

    def wait(self, timeout: float | None = None) -> bool:
        """Until exit(), or the end of the command; False after `timeout` seconds."""
        if self._thread is None:
            raise ValueError("the session is not attached")
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        self._raise()
        return True

    def stop(self) -> None:
        """Let go of all probes, run `end` probes, and read what is left. Maps stay readable.

        A callback may call it: then tracing ends soon after the callback has returned.
        """
        if not self._thread:
            return
        if self._thread.is_alive():
            self._run.stop()
        if self._thread is not threading.current_thread():
            self._thread.join()
            self._raise()

    def close(self) -> None:
        """Stop, keep what is in the maps, and let go of all that the kernel holds for us.

        Raises ValueError if a callback calls it, which may only stop the session.
        """
        if self._thread is threading.current_thread():
            raise ValueError("a session cannot be closed by its own callback")
        if self._closed:
            return
        if os.getpid() != self._process:  # nobody traces here, and locks may be held for ever
            self._closed = True
            self._stack.close()
            return
        try:
            self.stop()
        finally:
            self._closed = True
            with self._lock:
                for view in self.maps.values():
                    view.close()
            self._stack.close()
            self._queue.close()

    @property
    def ended(self) -> bool:
        """Whether tracing is over."""
        return self._thread is not None and not self._thread.is_alive()

    @property
    def lost(self) -> int:
        """How many events are lost: the kernel had no room, or nobody took them in time."""
        return self._run.records.lost + self._queue.dropped

    @property
    def exit_code(self) -> int:
        return self._run.records.exit_code

    def _trace(self) -> None:
        try:
            self._run.run()
        except BaseException as error:
            # its frames hold records, which would keep the ring's memory
            traceback.clear_frames(error.__traceback__)
            self._failure = error
        finally:
            self._queue.close()

    def _raise(self) -> None:
        if self.ended and self._failure:
            failure, self._failure = self._failure, None
            raise failure
