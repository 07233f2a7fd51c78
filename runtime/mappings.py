"""Which file lies where in a process: of live processes and of those that are gone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import NamedTuple

from .elf_image import open_regular

_REREAD = 0.1  # seconds before an address that no mapping covers makes us look again
_KEPT = 8192  # processes remembered


FileId = tuple[tuple[int, int], int]  # device, inode


class Mapping(NamedTuple):
    """Addresses [start, end) show the file from `offset` on. device: (major, minor)."""

    start: int
    end: int
    offset: int
    device: tuple[int, int]
    inode: int
    path: str

    @property
    def file(self) -> FileId:
        """What tells files apart; inode 0: there is none."""
        return self.device, self.inode


class Process:
    """Executable mappings of one process, the newest last."""

    def __init__(self, mappings: list[Mapping]) -> None:
        self.mappings = mappings
        self.read_at = -_REREAD

    def find(self, address: int) -> Mapping | None:
        for mapping in reversed(self.mappings):
            if mapping.start <= address < mapping.end:
                return mapping
        return None


class Processes:
    """Mappings by pid and files by inode, as /proc and a `Watcher` tell of them.

    A file stays open from the time its mapping is first seen, so that its symbols can still be
    read when it has been deleted.
    """

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._processes: dict[int, Process] = {}
        self._files: dict[FileId, int] = {}

    def close(self) -> None:
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()

    def find(self, pid: int, address: int) -> Mapping | None:
        """The mapping an address is in. Processes are read again when they have grown."""
        process = self._processes.get(pid) or self._keep(pid, Process([]))
        found = process.find(address)
        if found is None and time.monotonic() - process.read_at >= _REREAD:
            self.snapshot(pid)
            found = self._processes[pid].find(address)
        return found

    def snapshot(self, pid: int) -> None:
        """Take what /proc says of a process, if it still lives."""
        process = self._processes.get(pid) or self._keep(pid, Process([]))
        process.read_at = time.monotonic()
        if mappings := self.mappings(pid):
            process.mappings = mappings

    def snapshot_all(self) -> None:
        """Take what /proc says of all processes: those that live now may end before we ask."""
        for entry in os.scandir(self._proc):
            if entry.name.isdigit():
                self.snapshot(int(entry.name))

    def mappings(self, pid: int) -> list[Mapping]:
        """The executable mappings of a process that lives."""
        return list(_read(f"{self._proc}/{pid}/maps"))

    def file(self, pid: int, mapping: Mapping) -> int | None:
        """A descriptor of the mapped file, owned by us, or None if it cannot be had any more."""
        fd = self._files.get(mapping.file)
        if fd is None and mapping.inode:
            fd = self._open(pid, mapping)
            if fd is not None:
                self._files[mapping.file] = fd
        return fd

    def _open(self, pid: int, mapping: Mapping) -> int | None:
        process, path = f"{self._proc}/{pid}", mapping.path.removesuffix(" (deleted)")
        exact = f"{process}/map_files/{mapping.start:x}-{mapping.end:x}"
        for place in (f"{process}/root{path}", exact, path):
            fd = open_regular(place)
            if fd is None:
                continue
            if os.fstat(fd).st_ino == mapping.inode:  # st_dev differs from maps' on btrfs
                return fd
            os.close(fd)
        return None

    # What a watcher sees

    def mapped(self, pid: int, mapping: Mapping) -> None:
        process = self._processes.get(pid)
        if process is None:
            self.snapshot(pid)
            process = self._processes[pid]
        process.mappings = [*process.mappings, mapping]  # forks share the list
        self.file(pid, mapping)

    def executed(self, pid: int) -> None:
        self._keep(pid, Process([]))

    def forked(self, child: int, parent: int) -> None:
        if parent not in self._processes:
            self.snapshot(parent)
        self._keep(child, Process(self._processes[parent].mappings))

    def _keep(self, pid: int, process: Process) -> Process:
        self._processes.pop(pid, None)  # the oldest come first
        if len(self._processes) >= _KEPT:
            del self._processes[next(iter(self._processes))]
        self._processes[pid] = process
        return process


def _read(path: str) -> Iterator[Mapping]:
    """Executable mappings, from the text of /proc/PID/maps."""
    try:
        with open(path, "rb") as file:
            lines = file.read().rstrip(b"\n").split(b"\n")
    except OSError:
        return
    for line in lines:
        span, *fields = line.split(None, 5) or [b""]
        if len(fields) < 4 or fields[0][2:3] != b"x":
            continue
        start, end = span.split(b"-")
        major, minor = fields[2].split(b":")
        name = os.fsdecode(fields[4]) if len(fields) > 4 else ""
        yield Mapping(
            int(start, 16), int(end, 16), int(fields[1], 16),
            (int(major, 16), int(minor, 16)), int(fields[3]), name,
        )  # fmt: skip
