"""Runs iterators: the kernel calls their program for each object while a file is read.

Records leave by the ring. When a quarter of it is full the program asks for a pause, see
passes/legal_iter.py: read(2) gives EAGAIN, the ring is emptied, and reading goes on at the same
object. So none is lost.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable

from bpfscript.manifest import Attach

from .errors import BpfError
from .fd import Fd
from .sys import (
    AttachType,
    CgroupIterInfo,
    Cmd,
    IterCreate,
    IterLinkCreate,
    Kernel,
    ObjectPin,
    address,
    buffer_of,
)

_CHUNK = 1 << 16  # bytes
_PARENTS_FIRST = 2  # BPF_CGROUP_ITER_DESCENDANTS_PRE


def open_iterator(program: Fd, kernel: Kernel, place: Attach) -> Fd:
    """A file of one walk over the objects. Raises BpfError."""
    with _link(program, kernel, place) as link:
        return Fd(kernel.bpf(Cmd.ITER_CREATE, IterCreate(link_fd=link.fileno()), place.name))


def pin_iterator(program: Fd, kernel: Kernel, place: Attach) -> None:
    """Leave the iterator in a BPF file system: whoever reads the file walks. Raises BpfError."""
    with _link(program, kernel, place) as link:
        path = buffer_of(os.fsencode(place.symbol) + b"\0")
        attr = ObjectPin(pathname=address(path), bpf_fd=link.fileno())
        kernel.bpf(Cmd.OBJ_PIN, attr, place.symbol)


def _link(program: Fd, kernel: Kernel, place: Attach) -> Fd:
    attr = IterLinkCreate(prog_fd=program.fileno(), attach_type=AttachType.TRACE_ITER)
    everything = CgroupIterInfo(order=_PARENTS_FIRST)
    if place.target == "cgroup":  # from the root of all, which 0 stands for
        attr.info, attr.info_len = ctypes.addressof(everything), ctypes.sizeof(everything)
    return Fd(kernel.bpf(Cmd.LINK_CREATE, attr, place.name))


def walk(file: Fd, paused: Callable[[], bool]) -> None:
    """Let the program see all objects; `paused` empties the ring and says whether to stop."""
    while True:
        try:
            if not os.read(file.fileno(), _CHUNK):
                return
        except OSError as error:
            if error.errno != errno.EAGAIN:
                raise BpfError("read", error.errno or 0, "an iterator") from error
        if paused():
            return
