"""Names of addresses: the kernel's and those of processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property

from bpfscript.manifest import Settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .kallsyms import Kallsyms
    from .user_symbols import Frame, Source, UserSymbols
    from .watcher import Watcher


class Symbols:
    """Looks addresses up; loads and reads nothing until asked. `close` lets go of files."""

    def __init__(self, settings: Settings | None = None, proc: str = "/proc") -> None:
        self._settings, self._proc = settings or Settings(), proc
        self._watcher: Watcher | None = None

    def close(self) -> None:
        if "_users" in self.__dict__:
            self._users.processes.close()

    @contextmanager
    def watch(self) -> Iterator[None]:
        """While in this context, remember what processes map, for when they are gone.

        Raises BpfError where the kernel does not allow it.
        """
        from .watcher import Watcher

        self._watcher = Watcher(self._users.processes)
        try:
            self._users.processes.snapshot_all()
            yield
        finally:
            self.drain()
            self._watcher.close()
            self._watcher = None

    def drain(self) -> None:
        """Take in what processes did meanwhile; without it the kernel's rings run over."""
        if self._watcher:
            self._watcher.drain()

    def kernel(self, address: int) -> tuple[str, int] | None:
        """(name, offset) of kernel code."""
        return self._kernel.find(address)

    def user(self, pid: int, address: int) -> Frame | None:
        """The function of a process that an address is in, or None outside of its code."""
        self.drain()
        return self._users.find(pid, address)

    def source(self, pid: int, address: int) -> Source | None:
        """Where an address of a process lies in the source, if the settings ask and it is known."""
        return self._users.source(pid, address) if self._settings.show_debug_info else None

    def build_id(self, pid: int, address: int) -> tuple[str, int] | None:
        """Build id of the file that an address of a process is in, in hex, and the offset in it."""
        self.drain()
        return self._users.build_id(pid, address)

    @cached_property
    def _kernel(self) -> Kallsyms:
        from .kallsyms import Kallsyms

        return Kallsyms()

    @cached_property
    def _users(self) -> UserSymbols:
        from .user_symbols import UserSymbols

        return UserSymbols(self._settings, self._proc)
