"""`Fd`, the owner of a descriptor."""

from __future__ import annotations

import os
from types import TracebackType


class Fd:
    """Owns a descriptor: closes it once. Usable as a context manager and wherever fileno() is."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        if number < 0:
            raise ValueError(f"not a descriptor: {number}")
        self._number = number

    def fileno(self) -> int:
        """The number, which this object keeps owning. Raises ValueError once it is closed."""
        if self._number < 0:
            raise ValueError("descriptor used after close")
        return self._number

    def detach(self) -> int:
        """Hand the number out: from now on the caller owns it."""
        number, self._number = self.fileno(), -1
        return number

    def close(self) -> None:
        """Close it; again does nothing."""
        if self._number >= 0:
            os.close(self.detach())

    @property
    def closed(self) -> bool:
        return self._number < 0

    def __enter__(self) -> Fd:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Fd({'closed' if self.closed else self._number})"
