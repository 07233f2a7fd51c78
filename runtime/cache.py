"""What was made once and may be used again: entries in a directory that only its owner can reach.

BPFSCRIPT_CACHE names the directory; `off` or nothing: there is none. Otherwise root has
/var/cache/bpfscript, others $XDG_CACHE_HOME/bpfscript or ~/.cache/bpfscript. Nothing in it is
needed: what cannot be read, is damaged or has another key counts as missing, what cannot be written
is not kept.

    char magic[8]; uint32 crc32 of all that follows; uint32 size of the key; key; data
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from zlib import crc32

from .fd import Fd

_MAGIC = b"bpfs\x00\x01\r\n"
_LIMIT = 32 << 20  # bytes of all entries
_LOOK_EVERY = 16  # entries written between looks at the limit, on average
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Refused(Exception):
    """Others than its owner may reach into the directory."""


class Cache:
    """The entries of a directory, made if need be. path None: nothing is found or kept."""

    def __init__(self, path: str | None) -> None:
        self._path = path

    def refusal(self) -> str | None:
        """Why the directory is not used although it is there."""
        try:
            with self._open():
                return None
        except Refused as error:
            return str(error)
        except OSError:
            return None

    def _open(self) -> Fd:
        """The directory; questions go to its descriptor. Raises Refused, OSError."""
        if self._path is None:
            raise FileNotFoundError
        try:
            directory = os.open(self._path, _DIRECTORY)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            os.mkdir(self._path, 0o700)
            directory = os.open(self._path, _DIRECTORY)
        except NotADirectoryError as error:  # what O_NOFOLLOW says of a link, too
            raise Refused(f"{self._path} is not a directory") from error
        opened = Fd(directory)
        if why := _unsafe(os.fstat(directory)):
            opened.close()
            raise Refused(f"{self._path} {why}")
        return opened

    def get(self, kind: str, key: bytes) -> bytes | None:
        """The data last kept for a key."""
        try:
            with self._open() as directory:
                file = os.open(_name(kind, key), _READ, dir_fd=directory.fileno())
            with open(file, "rb", buffering=0) as stream:
                found = os.fstat(file)
                if not stat.S_ISREG(found.st_mode) or _unsafe(found) or found.st_size > _LIMIT:
                    return None
                os.utime(file)  # what was used last is removed last
                return _data(stream.readall(), key)
        except (OSError, Refused):
            return None

    def put(self, kind: str, key: bytes, data: bytes) -> None:
        """Keep data: whole or not at all."""
        size = len(key).to_bytes(4, "little")
        sum = crc32(data, crc32(key, crc32(size)))
        try:
            with self._open() as directory:
                content = b"".join((_MAGIC, sum.to_bytes(4, "little"), size, key, data))
                _write(directory.fileno(), _name(kind, key), content)
                if sum % _LOOK_EVERY == 0:
                    trim(directory.fileno())
        except (OSError, Refused):
            pass  # not kept


def trim(directory: int, limit: int = _LIMIT) -> None:
    """Remove the entries that were not used for longest, until `limit` bytes are left."""
    found = []
    for name in os.listdir(directory):
        of = os.stat(name, dir_fd=directory, follow_symlinks=False)
        found.append((of.st_mtime_ns, of.st_size, name))
    total = sum(size for _, size, _ in found)
    for _, size, name in sorted(found):
        if total <= limit:
            break
        os.unlink(name, dir_fd=directory)
        total -= size


def _write(directory: int, name: str, content: bytes) -> None:
    partial = f"{name}.{os.getpid()}.{os.urandom(4).hex()}"
    file = os.open(partial, _WRITE, 0o600, dir_fd=directory)
    try:
        with open(file, "wb") as stream:
            stream.write(content)
        os.rename(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        os.unlink(partial, dir_fd=directory)
        raise


def place(environment: Mapping[str, str]) -> str | None:
    """Where the cache of this user is; None: it was turned off, or the user has no place."""
    if (given := environment.get("BPFSCRIPT_CACHE")) is not None:
        return None if given in ("", "off") else os.path.abspath(given)
    if os.geteuid() == 0:
        return "/var/cache/bpfscript"
    base = environment.get("XDG_CACHE_HOME", "")
    if not base.startswith("/"):  # relative ones are to be ignored, says their specification
        home = environment.get("HOME", "")
        if not home.startswith("/"):
            return None
        base = f"{home}/.cache"
    return f"{base}/bpfscript"


def identity(path: str) -> str:
    """What tells a file from its other versions. Raises OSError."""
    of = os.stat(path)
    return f"{path} {of.st_dev} {of.st_ino} {of.st_size} {of.st_mtime_ns} {of.st_ctime_ns}"


def kernel_identity() -> str:
    """What tells this build of a kernel from others: what uname says, and its build id."""
    told = os.uname()
    try:
        with open("/sys/kernel/notes", "rb") as file:
            notes = file.read(4096).hex()
    except OSError:
        notes = ""
    return f"{told.sysname} {told.release} {told.version} {told.machine} {notes}"


def _unsafe(of: os.stat_result) -> str:
    """Why others than this user could have written it, or ""."""
    if of.st_uid != os.geteuid():
        return f"belongs to user {of.st_uid}"
    if of.st_mode & 0o077:
        return f"is open to others (mode {of.st_mode & 0o777:o})"
    return ""


def _name(kind: str, key: bytes) -> str:
    return f"{kind}-{crc32(key):08x}"


def _data(content: bytes, key: bytes) -> bytes | None:
    """Data of an entry, or None if it is damaged or of another key."""
    start = len(_MAGIC) + 8
    told = int.from_bytes(content[start - 4 : start], "little")
    if not content.startswith(_MAGIC) or content[start : start + told] != key:
        return None
    whole = int.from_bytes(content[start - 8 : start - 4], "little") == crc32(content[start - 4 :])
    return content[start + told :] if whole else None
