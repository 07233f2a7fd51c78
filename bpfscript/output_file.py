"""Files that the command writes: -o, and those that are complete or absent."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from bpfscript.target import MachineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


def open_output(path: str) -> BinaryIO:
    """Open the file of -o, empty. Raises MachineError.

    In a directory that everybody may write to, like /tmp, what others left there is refused: a link
    that leads away, a file or pipe that is theirs. So do fs.protected_symlinks and
    fs.protected_regular of the kernel (Documentation/admin-guide/sysctl/fs.rst) where they are on.
    """
    try:
        shared = _shared(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_NOFOLLOW if shared else 0)
        if shared and os.path.islink(path) and os.lstat(path).st_uid == os.geteuid():
            flags &= ~os.O_NOFOLLOW
        fd = os.open(path, flags, 0o666)
        status = os.fstat(fd)
        if shared and status.st_uid not in (os.geteuid(), 0):
            os.close(fd)
            raise MachineError(
                f'Failed to open output file: "{path}": it belongs to another user',
                "choose a name in a directory that only you may write to",
            )
        if stat.S_ISREG(status.st_mode):
            os.ftruncate(fd, 0)
        return open(fd, "wb")
    except OSError as error:
        raise MachineError(f'Failed to open output file: "{path}": {error.strerror}') from error


def _shared(path: str) -> bool:
    """Whether the file's directory is one where all may make files."""
    return bool(os.stat(os.path.dirname(path) or ".").st_mode & stat.S_IWOTH)


def write_whole(path: str, data: bytes, mode: int = 0o666) -> None:
    """A file that is complete or absent, or whatever else stands there. Raises MachineError."""
    with whole_file(path, mode) as file:
        file.write(data)


@contextmanager
def whole_file(path: str, mode: int = 0o666) -> Iterator[BinaryIO]:
    """The same to write in pieces: it is there when the block ends well. Raises MachineError."""
    partial = f"{path}.{os.getpid()}.tmp"
    try:
        if os.path.exists(path) and not os.path.isfile(path):  # a device, a pipe
            with open(path, "wb") as device:
                yield device
            return
        with open(partial, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            try:
                yield file
                file.flush()
                os.replace(partial, path)
            except BaseException:
                os.unlink(partial)
                raise
    except OSError as error:
        raise MachineError(f"cannot write {path}: {error.strerror}") from error
