"""Runs iterators: the kernel calls their program for each object while a file is read.

Records leave by the ring. When a quarter of it is full the program asks for a pause, see
passes/legal_iter.py: read(2) gives EAGAIN, the ring is emptied, and reading goes on at the same
object. So none is lost.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from .errors import BpfError
from .fd import Fd
from .sys import AttachType, Cmd, IterCreate, Kernel, TracingLinkCreate

_CHUNK = 1 << 16  # bytes


def open_iterator(program: Fd, kernel: Kernel, name: str) -> Fd:
    """A file of one walk over the objects. Raises BpfError."""
    attr = TracingLinkCreate(prog_fd=program.fileno(), attach_type=AttachType.TRACE_ITER)
    with Fd(kernel.bpf(Cmd.LINK_CREATE, attr, name)) as link:
        return Fd(kernel.bpf(Cmd.ITER_CREATE, IterCreate(link_fd=link.fileno()), name))


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
