"""The output stream: text in, bytes out, in the three buffering modes."""

from __future__ import annotations

import os

from bpfscript.target import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from bpfscript.words import Buffering

_LIMIT = 1 << 16  # characters kept at most


class OutputClosed(Exception):
    """Nobody reads our output any more: the tool ends quietly, as if SIGPIPE had killed it."""


class Sink:
    """Collects text. `none` writes each piece at once, `line` at the end of each batch of events,
    `full` when much has come together.

    Bytes that are not UTF-8 travel in text as lone surrogates (PEP 383) and leave as they came.
    """

    def __init__(self, stream: BinaryIO, buffering: Buffering = "line") -> None:
        self._stream = stream
        self._buffering = buffering
        self._pieces: list[str] = []
        self._size = 0

    def write(self, text: str) -> None:
        """Raises OutputClosed, or MachineError for a full disk and the like."""
        self._pieces.append(text)
        self._size += len(text)
        if self._size > _LIMIT or self._buffering == "none":
            self.flush()

    def write_bytes(self, data: memoryview) -> None:
        """The same for much that is bytes already; not kept."""
        self.flush()
        self._put(data)

    def batch_end(self) -> None:
        """The events at hand are handled: what should be seen by now leaves."""
        if self._buffering != "full":
            self.flush()

    def flush(self) -> None:
        if not self._pieces:
            return
        data = "".join(self._pieces).encode("utf-8", "surrogateescape")
        self._pieces.clear()
        self._size = 0
        self._put(data)

    def _put(self, data: bytes | memoryview) -> None:
        try:
            self._stream.write(data)
            self._stream.flush()
        except BrokenPipeError:
            raise OutputClosed from None
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise MachineError(f"failed to write output: {reason}") from None
