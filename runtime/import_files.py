"""The files that `import` reads; the live side of `frontend.typed.Importer`."""

from __future__ import annotations

import os
import stat

from bpfscript.target import MachineError

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
        try:
            with open(path, "rb") as file:
                return file.read().decode("utf-8", "surrogateescape")
        except OSError as error:
            raise MachineError(f"failed to open file '{path}': {error.strerror}") from error
