"""Reads tracefs (Documentation/trace/ftrace.rst): tracepoints, formats, traceable functions."""

from __future__ import annotations

import os
from functools import cached_property

from bpfscript.target import MachineError, matches

ROOTS = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
MOUNT_HINT = "mount -t tracefs none /sys/kernel/tracing"
SYSTEM_CALLS = "syscalls"  # the category that has no tracepoints of its own


class Tracefs:
    """A mounted tracefs. All raise MachineError where there is none or it may not be read."""

    def __init__(self, root: str | None = None) -> None:
        self._given = root

    @cached_property
    def root(self) -> str:
        for root in (self._given,) if self._given else ROOTS:
            try:
                if "events" in os.listdir(root):
                    return root
            except PermissionError as error:
                raise MachineError(f"{root} may not be read", "run it as root") from error
            except OSError:
                continue
        raise MachineError("tracefs is not mounted", MOUNT_HINT)

    @cached_property
    def all_events(self) -> tuple[tuple[str, str], ...]:
        """(category, event) of every tracepoint, sorted."""
        found = []
        for line in self._read("available_events").splitlines():
            category, _, event = line.partition(":")
            found.append((category, event))
        return tuple(sorted(found))

    def events(self, category: str, event: str) -> list[tuple[str, str]]:
        """(category, event) of the tracepoints that match, sorted."""
        if "*" not in category + event:
            there = _plain(category, event) and os.path.isfile(self._format(category, event))
            return [(category, event)] if there else []
        if "*" not in category:
            names = self._directories(f"/{category}") if _plain(category) else []
            return [(category, name) for name in names if matches(event, name)]
        return [e for e in self.all_events if matches(category, e[0]) and matches(event, e[1])]

    @cached_property
    def dynamic_events(self) -> frozenset[tuple[str, str]]:
        """(category, event) of kprobe, uprobe, synthetic, … events: `p:GROUP/EVENT …`, a line each.

        Synthetic events have no letter in front, and the group `synthetic`.
        """
        try:
            lines = self._read("dynamic_events").splitlines()
        except MachineError:  # a kernel without them
            return frozenset()
        found = set()
        for line in lines:
            letter, colon, name = line.split(" ")[0].partition(":")
            group, _, event = name.rpartition("/") if colon else ("synthetic", "", letter)
            found.add((group, event.split(";")[0].split("\t")[0]))
        return frozenset(found)

    def categories(self) -> list[str]:
        """Names of the categories, sorted."""
        return self._directories("")

    def _directories(self, path: str) -> list[str]:
        try:
            with os.scandir(f"{self.root}/events{path}") as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except FileNotFoundError:
            return []

    def format(self, category: str, event: str) -> str | None:
        """Text of an event's `format` file, or None if there is no such event."""
        if not _plain(category, event):
            return None
        try:
            with open(self._format(category, event)) as file:
                return file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise MachineError(f"{error.filename}: {error.strerror}") from error

    @cached_property
    def functions(self) -> tuple[tuple[str, str], ...]:
        """(module, name) of the functions that ftrace can attach to; module is "" for vmlinux."""
        return parse_functions(self._read("available_filter_functions"))

    def _format(self, category: str, event: str) -> str:
        return f"{self.root}/events/{category}/{event}/format"

    def _read(self, name: str) -> str:
        path = f"{self.root}/{name}"
        try:
            with open(path) as file:
                return file.read()
        except OSError as error:
            raise MachineError(f"{path}: {error.strerror}") from error


def parse_functions(text: str) -> tuple[tuple[str, str], ...]:
    """(module, name) of lines such as `vfs_read` and `ext4_sync_fs [ext4]`."""
    found = []
    for line in text.splitlines():
        name, _, module = line.partition(" ")
        found.append((module.strip("\t []"), name.strip()))
    return tuple(found)


def _plain(*names: str) -> bool:
    """Whether names from a script are names of files, and not ways to other places."""
    return all(name and "/" not in name and name not in (".", "..") for name in names)
