"""Numbers that have a name on this machine: users, cgroups, addresses, times."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import cache


@cache
def user_name(uid: int) -> str:
    """Login name; empty for a user without one."""
    import pwd  # slow where the user database is remote: only when asked

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return ""


def hardware_address(raw: bytes) -> str:
    """mac: `AA:BB:CC:DD:EE:FF`"""
    return raw.hex(":").upper()


def internet_address(raw: bytes) -> str:
    """inet: uint32 family, then the address."""
    import socket

    if int.from_bytes(raw[:4], "little") == socket.AF_INET6:
        return socket.inet_ntop(socket.AF_INET6, raw[4:20])
    return socket.inet_ntop(socket.AF_INET, raw[4:8])


# Times

_FRACTION = re.compile(r"%([%flk])")
_DIGITS = {"f": 6, "l": 3, "k": 9}


@cache
def boot() -> int:
    """Wall time of the boot, ns."""
    return time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def timestamp(template: str, mode: str) -> Callable[[int], str]:
    """strftime(3) of a time in ns, in local time. Besides, `%f` is its microseconds, `%l` its
    milliseconds and `%k` its nanoseconds below the second."""
    offset = boot() if mode == "boot" else 0

    def show(ns: int) -> str:
        seconds, below = divmod(ns + offset, 1_000_000_000)

        def fraction(found: re.Match[str]) -> str:
            return "%%" if found[1] == "%" else f"{below:09}"[: _DIGITS[found[1]]]

        return local_time(_FRACTION.sub(fraction, template), seconds)

    return show


def local_time(template: str, seconds: int | None = None) -> str:
    """strftime(3) of seconds since 1970, or of now."""
    return time.strftime(template, time.localtime(seconds))


# Cgroups

_REREAD = 1.0  # seconds that must pass before an unknown id makes us look again


class _Cgroups:
    """Paths of cgroups by id, which is the directory's inode, in every hierarchy."""

    def __init__(self, mounts: str = "/proc/self/mounts") -> None:
        self._mounts = mounts
        self._paths: dict[str, dict[int, str]] = {}
        self._read_at = -_REREAD

    def path(self, number: int, pattern: str) -> str:
        found = self._find(number, pattern)
        if not found and time.monotonic() - self._read_at >= _REREAD:
            self._read()
            found = self._find(number, pattern)
        return ",".join(found)

    def _find(self, number: int, pattern: str) -> list[str]:
        return [
            f"{name}:{paths[number]}"
            for name, paths in self._paths.items()
            if number in paths and (not pattern or fnmatchcase(name, pattern))
        ]

    def _read(self) -> None:
        self._read_at = time.monotonic()
        hierarchies: dict[str, str] = {}
        with open(self._mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                _, where, kind, *_ = line.split(" ")
                if kind in ("cgroup", "cgroup2"):
                    name = "unified" if kind == "cgroup2" else os.path.basename(where)
                    hierarchies.setdefault(name, where)
        ordered = sorted(hierarchies, key=lambda name: (name != "unified", name))
        self._paths = {name: _directories(hierarchies[name]) for name in ordered}


def _directories(top: str) -> dict[int, str]:
    """Inode → path below `top`, for each directory of a file system."""
    try:
        found = {os.stat(top).st_ino: "/"}
    except OSError:
        return {}
    pending = [top]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:  # it went away
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found[entry.inode()] = entry.path[len(top) :]
                pending.append(entry.path)
    return found


_cgroups = _Cgroups()


def cgroup_path(pattern: str) -> Callable[[int], str]:
    """`hierarchy:/path`s of a cgroup id, v2 first; only hierarchies that match the glob, if any."""
    return lambda number: _cgroups.path(number, pattern)
