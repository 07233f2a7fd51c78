"""What TRACING programs are tied to when they are loaded: a function, by its number in a BTF.

The kernel's own BTF has the functions of `vmlinux` and of iterators; that of a loaded program has
the program's. Found by name here, so that an object also runs under another kernel.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING

from bpfscript.manifest import Attach
from bpfscript.plain import dataclass
from bpfscript.target import MachineError

from .cache import Cache
from .errors import AttachError, BpfError, FeatureMissing
from .fd import Fd
from .kernel_btf import BTF, kernel_btf
from .sys import BtfInfo, Cmd, Kernel, ObjectById, ObjectInfo, ProgInfo, address

if TYPE_CHECKING:
    from bpfscript.btf import Btf

_FUNC_INFO = 8  # bytes of struct bpf_func_info {insn_off, type_id}


@dataclass(frozen=True, slots=True)
class Tie:
    """What BPF_PROG_LOAD takes: `number` of the function; the program's descriptor, or 0."""

    number: int
    program: int = 0


class KernelTypes:
    """Finds functions by name. Owns the descriptors of programs until it is closed."""

    def __init__(self, kernel: Kernel, cache: Cache) -> None:
        self.kernel, self._cache, self._stack = kernel, cache, ExitStack()

    def close(self) -> None:
        self._stack.close()

    @cached_property
    def _btf(self) -> Btf | None:
        try:
            return kernel_btf(BTF, self._cache)
        except MachineError:  # it is damaged
            return None

    def function(self, name: str) -> int | None:
        """Number of a function of the kernel, or None."""
        found = self._btf.find(name, "func") if self._btf else None
        return found.id if found else None

    def kfunc(self, name: str) -> int:
        """Number of a function that programs call. Raises FeatureMissing."""
        number = self.function(name)
        if number is None:
            raise FeatureMissing(f"kernel function {name}", "a kernel whose BTF lists it")
        return number

    def tie(self, place: Attach) -> Tie:
        """What a program for a place is tied to. Raises AttachError, and BpfError."""
        if place.target.startswith("bpf:"):
            return self._program(place)
        name = place.target.rpartition(":")[2]
        number = self.function(f"bpf_iter_{name}" if place.kind == "iter" else name)
        if number is None:
            raise AttachError(place.name, "the kernel's BTF does not have it")
        return Tie(number)

    def _program(self, place: Attach) -> Tie:
        _, id, _ = place.target.split(":")
        program = self._stack.enter_context(_open(self.kernel, Cmd.PROG_GET_FD_BY_ID, int(id)))
        info, first = ProgInfo(), ctypes.create_string_buffer(_FUNC_INFO)
        info.nr_func_info, info.func_info_rec_size = 1, _FUNC_INFO
        info.func_info = address(first)
        _describe(self.kernel, program, info)
        number: int = struct.unpack_from("<I", first, 4)[0]
        if not number:
            raise AttachError(place.name, "the program has no BTF")
        return Tie(number, program.fileno())


def typed_programs(kernel: Kernel) -> list[tuple[int, str]]:
    """(id, name) of the programs that are loaded and describe their functions, by id."""
    found = []
    for id in _ids(kernel):
        try:
            with _open(kernel, Cmd.PROG_GET_FD_BY_ID, id) as program:
                info, first = ProgInfo(), ctypes.create_string_buffer(_FUNC_INFO)
                info.nr_func_info, info.func_info_rec_size = 1, _FUNC_INFO
                info.func_info = address(first)
                _describe(kernel, program, info)
                if info.btf_id:
                    number = struct.unpack_from("<I", first, 4)[0]
                    found.append((id, _name(kernel, info.btf_id, number)))
        except BpfError:  # it may be gone by now
            continue
    return found


def _name(kernel: Kernel, btf: int, number: int) -> str:
    """Name of a type: programs have no more than 15 letters of theirs in other places."""
    from bpfscript.btf import Btf

    with _open(kernel, Cmd.BTF_GET_FD_BY_ID, btf) as fd:
        info = BtfInfo()
        _describe(kernel, fd, info)
        data = ctypes.create_string_buffer(info.btf_size)
        info = BtfInfo(btf=address(data), btf_size=len(data))
        _describe(kernel, fd, info)
    return Btf(data.raw).type(number).name


def _ids(kernel: Kernel) -> Iterator[int]:
    attr = ObjectById()
    while True:
        try:
            kernel.bpf(Cmd.PROG_GET_NEXT_ID, attr)
        except BpfError:  # there is no other
            return
        yield attr.next_id
        attr.id = attr.next_id


def _open(kernel: Kernel, cmd: Cmd, id: int) -> Fd:
    return Fd(kernel.bpf(cmd, ObjectById(id=id)))


def _describe(kernel: Kernel, fd: Fd, info: ctypes.Structure) -> None:
    attr = ObjectInfo(bpf_fd=fd.fileno(), info_len=ctypes.sizeof(info), info=ctypes.addressof(info))
    kernel.bpf(Cmd.OBJ_GET_INFO_BY_FD, attr)
