"""`Fd`, the owner of a descriptor."""

from __future__ import annotations

import os
import resource
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


def raise_limits(descriptors: int) -> None:
    """Allow for that many and, before 5.11, for locked memory, as far as we may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < descriptors:
        wanted = descriptors if hard == resource.RLIM_INFINITY else min(descriptors, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(wanted, soft), hard))
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)
    except (OSError, ValueError):
        pass
