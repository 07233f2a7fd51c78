"""The files that `import` reads; the live side of `frontend.typed.Importer`."""

from __future__ import annotations

import os
import stat

from bpfscript.target import MachineError

from .cache import identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal


class ImportFiles:
    def kind(self, path: str) -> Literal["file", "directory"] | None:
        try:
            mode = os.stat(path).st_mode
        except (OSError, ValueError):  # ValueError: a NUL in the path
            return None
        if stat.S_ISDIR(mode):
            return "directory"
        return "file" if stat.S_ISREG(mode) else None

    def writable_by_all(self, path: str) -> bool:
        inside = (path, os.path.dirname(path) or ".")
        return any(os.stat(place).st_mode & stat.S_IWOTH for place in inside)

    def names(self, path: str) -> list[str]:
        try:
            return sorted(os.listdir(path))
        except OSError as error:
            raise MachineError(f"failed to read directory '{path}': {error.strerror}") from error

    def text(self, path: str) -> str:
        return self.data(path).decode("utf-8", "surrogateescape")

    def unwatched(self, path: str) -> None:
        """It has no witness: what is compiled of such a file is not kept."""

    def identity(self, path: str) -> str:
        try:
            return identity(path)
        except OSError as error:
            return f"{path} {error.errno}"

    def compiler(self) -> str:
        from .c_compiler import find

        path = find()
        return path and self.identity(path)

    def compiled(
        self, path: str, include_dirs: tuple[str, ...]
    ) -> tuple[bytes, str, tuple[str, ...]]:
        from .c_compiler import compile

        return compile(path, include_dirs)

    def data(self, path: str) -> bytes:
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            raise MachineError(f"failed to open file '{path}': {error.strerror}") from error
