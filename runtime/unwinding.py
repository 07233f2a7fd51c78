"""Fills the tables that stacks are unwound by, see `bpfscript.unwind_tables`, from live processes.

A file that several processes map, or one in several places, has its rows once. What a process maps
later is not there. Cost: that of reading the call frame information of each file once.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable
from contextlib import closing

from bpfscript.manifest import MapDef
from bpfscript.plain import replace
from bpfscript.target import MachineError
from bpfscript.unwind_tables import PLACE, PLACES, PROCESSES, RANGE, ROWS, RULE, RULES

from .call_frames import NONE, Row, Rule, rows
from .elf_image import ElfImage, image_in, image_of
from .mappings import Mapping, Processes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .maps import Map

_X86_64 = 62  # EM_X86_64
_VDSO = "[vdso]"
Range = tuple[int, int]  # first, count


class Tables:
    """Contents of the maps, for the processes given. Raises MachineError if one is not there."""

    def __init__(self, pids: Iterable[int]) -> None:
        self.processes: dict[int, Range] = {}
        self._places: list[bytes] = []
        self._rows: list[int] = []
        self._rules: dict[Rule, int] = {NONE: 0}
        self._images: dict[object, tuple[ElfImage, Range] | None] = {}
        with closing(Processes()) as processes:
            for pid in pids:
                self.processes[pid] = self._process(processes, pid)
        self.arrays = {
            PLACES: b"".join(self._places),
            ROWS: array("Q", self._rows).tobytes(),
            RULES: b"".join(RULE.pack(*rule) for rule in self._rules),
        }

    def sized(self, definition: MapDef) -> MapDef:
        """A map with room for what goes into it."""
        if definition.name == PROCESSES:
            return replace(definition, max_entries=max(len(self.processes), 1))
        if definition.name in self.arrays:
            count = len(self.arrays[definition.name]) // definition.value_size
            return replace(definition, max_entries=max(count, 1))
        return definition

    def fill(self, maps: dict[str, Map]) -> None:
        for name, content in self.arrays.items():
            maps[name].fill(content)
        for pid, places in self.processes.items():
            maps[PROCESSES].update(pid.to_bytes(4, "little"), RANGE.pack(*places))

    def _process(self, processes: Processes, pid: int) -> Range:
        if not os.path.exists(f"/proc/{pid}"):
            raise MachineError(f"dw_ustack: there is no process {pid}")
        first, end = len(self._places), 0
        for mapping in processes.mappings(pid):
            image, bias = self._image(processes, pid, mapping), None
            if image:
                bias = _bias(image[0], mapping)
            if mapping.start != end:
                self._place(end)
            end = mapping.end
            if image and bias is not None:
                self._place(mapping.start, bias, image[1])
            else:
                self._place(mapping.start)
        self._place(end)
        return first, len(self._places) - first

    def _place(self, start: int, bias: int = 0, rows: Range = (0, 0)) -> None:
        self._places.append(PLACE.pack(start, bias % (1 << 64), *rows))

    def _image(
        self, processes: Processes, pid: int, mapping: Mapping
    ) -> tuple[ElfImage, Range] | None:
        """A mapped file and where its rows are."""
        key = (pid, _VDSO) if mapping.path == _VDSO else mapping.file if mapping.inode else None
        if key not in self._images:
            image = None
            if key and mapping.path == _VDSO:
                image = _in_memory(pid, mapping)
            elif key and (fd := processes.file(pid, mapping)) is not None:
                image = image_of(fd)
            known = image is not None and image.machine == _X86_64
            self._images[key] = (image, self._read(image)) if image and known else None
        return self._images[key]

    def _read(self, image: ElfImage) -> Range:
        first = len(self._rows)
        self._rows.append(0)
        for address, rule in _rows(image):
            if 0 <= address < 1 << 32:
                number = self._rules.setdefault(rule, len(self._rules))
                self._rows.append(address << 32 | number)
        return first, len(self._rows) - first


def _rows(image: ElfImage) -> list[Row]:
    """From .eh_frame, which is in memory at run time, else from .debug_frame."""
    for name in (b".eh_frame", b".debug_frame"):
        for section in image.sections:
            if section.name == name:
                content = image.read(section.offset, section.size)
                if found := rows(content, section.address, name == b".debug_frame"):
                    return found
    return []


def _bias(image: ElfImage, mapping: Mapping) -> int | None:
    """What addresses in a process have over those in the file; None if no code is mapped."""
    size = mapping.end - mapping.start
    for segment in image.segments:
        begins, ends = max(segment.offset, mapping.offset), segment.offset + segment.size
        if segment.runs and begins < min(ends, mapping.offset + size):
            return mapping.start - mapping.offset + segment.offset - segment.address
    return None


def _in_memory(pid: int, mapping: Mapping) -> ElfImage | None:
    try:
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            memory.seek(mapping.start)
            return image_in(memory.read(mapping.end - mapping.start))
    except OSError:
        return None
