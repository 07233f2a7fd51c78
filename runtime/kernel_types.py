"""What TRACING programs are tied to when they are loaded: a function, by its number in a BTF.

The kernel's own BTF has the functions of `vmlinux` and most iterators, that of a module and that of
a loaded program have theirs. Found by name here, so that an object also runs under another kernel.
"""

from __future__ import annotations

import ctypes
import errno
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property

from bpfscript.manifest import Attach
from bpfscript.plain import dataclass
from bpfscript.target import MachineError

from .cache import Cache
from .errors import AttachError, BpfError, FeatureMissing
from .fd import Fd
from .kernel_btf import BTF, kernel_btf, module_btf
from .sys import BtfInfo, Cmd, Kernel, ObjectById, ProgInfo, address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.btf import Btf

KERNEL = "vmlinux"  # what the kernel itself is called where modules have names
_FEW = 100  # functions that are searched for one by one
_NAME = 64  # bytes that a module's name may have, MODULE_NAME_LEN
_FUNC_INFO = 8  # bytes of struct bpf_func_info {insn_off, type_id}


@dataclass(frozen=True, slots=True)
class Tie:
    """What BPF_PROG_LOAD takes: `number` of a function; `of`: descriptor of the program, or of the
    module's BTF, that has it, or 0."""

    number: int
    of: int = 0


class KernelTypes:
    """Finds functions by name. Owns descriptors of programs and BTFs until it is closed."""

    def __init__(self, kernel: Kernel, cache: Cache) -> None:
        self.kernel, self._cache, self._stack = kernel, cache, ExitStack()
        self._asked = 0
        self._modules: dict[str, Fd] = {}

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
        if self._btf is None:
            return None
        self._asked += 1
        if self._asked > _FEW:
            return self._functions.get(name)
        found = self._btf.find(name, "func")
        return found.id if found else None

    def typedef(self, name: str) -> int | None:
        """Number of a typedef of the kernel, or None."""
        found = self._btf.find(name, "typedef") if self._btf else None
        return found.id if found else None

    @cached_property
    def _functions(self) -> dict[str, int]:
        """All of the kernel's, by name, which takes as long as to search for some hundred."""
        types = list(self._btf.all("func")) if self._btf else []
        return {type.name: type.id for type in reversed(types)}

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
        module, _, name = place.target.rpartition(":")
        name = f"bpf_iter_{name}" if place.kind == "iter" else name
        if module not in ("", KERNEL):
            return self._of_module(place, module, name)
        number = self.function(name)
        if number is None:
            raise AttachError(place.name, "the kernel's BTF does not have it")
        return Tie(number)

    def _of_module(self, place: Attach, module: str, name: str) -> Tie:
        btf = module_btf(module, self._btf, self._cache) if self._btf else None
        found = btf.own(name, "func") if btf else None
        if found is None:
            raise AttachError(place.name, f"the module's BTF does not have it: {module}")
        if module not in self._modules:
            self._modules[module] = self._stack.enter_context(_opened_btf(self.kernel, module))
        return Tie(found.id, self._modules[module].fileno())

    def _program(self, place: Attach) -> Tie:
        _, id, _ = place.target.split(":")
        program = self._stack.enter_context(_open(self.kernel, Cmd.PROG_GET_FD_BY_ID, int(id)))
        info, first = ProgInfo(), ctypes.create_string_buffer(_FUNC_INFO)
        info.nr_func_info, info.func_info_rec_size = 1, _FUNC_INFO
        info.func_info = address(first)
        self.kernel.describe(program.fileno(), info)
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
                kernel.describe(program.fileno(), info)
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
        kernel.describe(fd.fileno(), info)
        data = ctypes.create_string_buffer(info.btf_size)
        info = BtfInfo(btf=address(data), btf_size=len(data))
        kernel.describe(fd.fileno(), info)
    return Btf(data.raw).type(number).name


def _opened_btf(kernel: Kernel, module: str) -> Fd:
    """A module's BTF. Raises BpfError if it is gone."""
    wanted = module.encode() + b"\0"
    for id in _ids(kernel, Cmd.BTF_GET_NEXT_ID):
        fd = _open(kernel, Cmd.BTF_GET_FD_BY_ID, id)
        name = ctypes.create_string_buffer(_NAME)
        info = BtfInfo(name=address(name), name_len=len(name))
        kernel.describe(fd.fileno(), info)
        if info.kernel_btf and name.raw.startswith(wanted):
            return fd
        fd.close()
    raise BpfError("BTF_GET_NEXT_ID", errno.ENOENT, module)


def _ids(kernel: Kernel, cmd: Cmd = Cmd.PROG_GET_NEXT_ID) -> Iterator[int]:
    attr = ObjectById()
    while True:
        try:
            kernel.bpf(cmd, attr)
        except BpfError:  # there is no other
            return
        yield attr.next_id
        attr.id = attr.next_id


def _open(kernel: Kernel, cmd: Cmd, id: int) -> Fd:
    return Fd(kernel.bpf(cmd, ObjectById(id=id)))
