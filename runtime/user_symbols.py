"""Names of the code of processes, also of those that have ended."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from bpfscript.manifest import Settings
from bpfscript.target import MachineError

from .debug_files import DEBUG_DIRECTORIES
from .demangle import demangle
from .elf_image import ElfImage, image_in, image_of
from .function_table import FunctionTable, function_table
from .mappings import FileId, Mapping, Processes
from .perf_map import PerfMaps

if TYPE_CHECKING:
    from .dwarf import Dwarf


class Frame(NamedTuple):
    """name: "" if only the module is known. offset: from the function's start. module: path."""

    name: str
    offset: int
    module: str = ""


class Source(NamedTuple):
    """Where an address lies in the source: `path:line` of the function, and (name, place) of each
    call inlined into it, the innermost first."""

    place: str
    inlined: tuple[tuple[str, str], ...] = ()


class _Image(NamedTuple):
    """A mapped file: its headers and its functions."""

    elf: ElfImage
    functions: FunctionTable


class UserSymbols:
    """Looks addresses of processes up; reads a file when an address in it is first asked for."""

    def __init__(self, settings: Settings, proc: str = "/proc") -> None:
        self.processes = Processes(proc)
        self._demangle = settings.cpp_demangle
        self._perf_maps = PerfMaps(proc)
        self._debug: dict[FileId, Dwarf | None] = {}
        self._images: dict[FileId, _Image | None] = {}

    def find(self, pid: int, address: int) -> Frame | None:
        """The function that an address is in, or None outside of all mapped code."""
        mapping = self.processes.find(pid, address)
        if mapping is None:
            return None
        image = self._image(pid, mapping)
        if image is None:
            return Frame(*(self._perf_maps.find(pid, address) or ("", 0)), mapping.path)
        inside = image.elf.address(address - mapping.start + mapping.offset)
        found = image.functions.find(inside) if inside is not None else None
        if found is None:
            return Frame("", 0, mapping.path)
        name, offset = found
        return Frame(demangle(name) if self._demangle else name, offset, mapping.path)

    def source(self, pid: int, address: int) -> Source | None:
        """What debug information says of an address, or None."""
        mapping = self.processes.find(pid, address)
        image = self._image(pid, mapping) if mapping else None
        if mapping is None or image is None or not mapping.inode:
            return None
        if mapping.file not in self._debug:
            self._debug[mapping.file] = self._debug_info(pid, mapping)
        inside = image.elf.address(address - mapping.start + mapping.offset)
        debug = self._debug[mapping.file]
        try:
            frames = debug.frames(inside) if debug and inside is not None else []
        except MachineError:  # it is damaged
            return None
        if not frames:
            return None
        *calls, function = frames
        shown = demangle if self._demangle else str
        return Source(function.place, tuple((shown(call.function), call.place) for call in calls))

    def _debug_info(self, pid: int, mapping: Mapping) -> Dwarf | None:
        from .dwarf import debug_info

        fd = self.processes.file(pid, mapping)
        try:
            path = mapping.path.removesuffix(" (deleted)")
            return debug_info(path, DEBUG_DIRECTORIES, f"/proc/self/fd/{fd}")
        except MachineError:
            return None

    def build_id(self, pid: int, address: int) -> tuple[str, int] | None:
        """Build id of the file that an address is in, in hex, and the offset in that file."""
        mapping = self.processes.find(pid, address)
        image = self._image(pid, mapping) if mapping else None
        build_id = image.elf.build_id() if image else None
        if mapping is None or build_id is None:
            return None
        return build_id, address - mapping.start + mapping.offset

    def _image(self, pid: int, mapping: Mapping) -> _Image | None:
        if not mapping.inode:
            return self._vdso if mapping.path == "[vdso]" else None
        if mapping.file not in self._images:
            self._images[mapping.file] = self._load(pid, mapping)
        return self._images[mapping.file]

    def _load(self, pid: int, mapping: Mapping) -> _Image | None:
        fd = self.processes.file(pid, mapping)
        elf = image_of(fd) if fd is not None else None
        return _Image(elf, function_table(elf, mapping.path)) if elf else None

    @cached_property
    def _vdso(self) -> _Image | None:
        """The kernel's own library, the same in every process: read from this one."""
        ours = self.processes.mappings(os.getpid())
        mapping = next((m for m in ours if m.path == "[vdso]"), None)
        if mapping is None:
            return None
        with open("/proc/self/mem", "rb") as memory:
            memory.seek(mapping.start)
            elf = image_in(memory.read(mapping.end - mapping.start))
        return _Image(elf, function_table(elf, "")) if elf else None
