"""The way into the kernel: one struct per command and one object, `Kernel`, that tests replace.

Layouts are those of union bpf_attr (include/uapi/linux/bpf.h) and struct perf_event_attr
(include/uapi/linux/perf_event.h). The kernel takes shorter structs than its own.
"""

from __future__ import annotations

import ctypes
import errno
import os
from enum import IntEnum
from itertools import takewhile

from .errors import BpfError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Annotated, Any, TypeVar

    U32 = Annotated[int, "u32"]
    U64 = Annotated[int, "u64"]
    Name = Annotated[bytes, "name"]
    _Struct = TypeVar("_Struct", bound=type[ctypes.Structure])


_FIELDS: dict[str, Any] = {
    "U32": ctypes.c_uint32,
    "U64": ctypes.c_uint64,
    "Name": ctypes.c_char * 16,
}


def _layout(cls: _Struct) -> _Struct:
    """Make the annotations of a class its C layout."""
    cls._fields_ = [(name, _FIELDS[kind]) for name, kind in cls.__annotations__.items()]
    return cls


class Cmd(IntEnum):
    """enum bpf_cmd"""

    MAP_CREATE = 0
    MAP_LOOKUP_ELEM = 1
    MAP_UPDATE_ELEM = 2
    MAP_DELETE_ELEM = 3
    MAP_GET_NEXT_KEY = 4
    PROG_LOAD = 5
    OBJ_PIN = 6
    PROG_TEST_RUN = 10
    PROG_GET_NEXT_ID = 11
    PROG_GET_FD_BY_ID = 13
    OBJ_GET_INFO_BY_FD = 15
    RAW_TRACEPOINT_OPEN = 17
    BTF_LOAD = 18
    BTF_GET_FD_BY_ID = 19
    BTF_GET_NEXT_ID = 23
    MAP_FREEZE = 22
    MAP_LOOKUP_BATCH = 24
    MAP_LOOKUP_AND_DELETE_BATCH = 25
    MAP_UPDATE_BATCH = 26
    LINK_CREATE = 28
    ENABLE_STATS = 32
    ITER_CREATE = 33


class AttachType(IntEnum):
    """enum bpf_attach_type"""

    NONE = 0
    TRACE_RAW_TP = 23
    TRACE_FENTRY = 24
    TRACE_FEXIT = 25
    TRACE_ITER = 28
    PERF_EVENT = 41
    KPROBE_MULTI = 42
    UPROBE_MULTI = 48
    KPROBE_SESSION = 56


class PerfType(IntEnum):
    """enum perf_type_id; dynamic ones are in /sys/bus/event_source/devices"""

    HARDWARE = 0
    SOFTWARE = 1
    TRACEPOINT = 2
    BREAKPOINT = 5


@_layout
class MapCreate(ctypes.Structure):
    map_type: U32
    key_size: U32
    value_size: U32
    max_entries: U32
    map_flags: U32
    inner_map_fd: U32
    numa_node: U32
    map_name: Name


@_layout
class MapElement(ctypes.Structure):
    map_fd: U32
    key: U64
    value: U64  # or next_key
    flags: U64


@_layout
class MapBatch(ctypes.Structure):
    in_batch: U64
    out_batch: U64
    keys: U64
    values: U64
    count: U32
    map_fd: U32
    elem_flags: U64
    flags: U64


@_layout
class MapFreeze(ctypes.Structure):
    map_fd: U32


@_layout
class EnableStats(ctypes.Structure):
    type: U32  # 0: BPF_STATS_RUN_TIME


@_layout
class BtfLoad(ctypes.Structure):
    btf: U64
    btf_log_buf: U64
    btf_size: U32
    btf_log_size: U32
    btf_log_level: U32


@_layout
class ProgLoad(ctypes.Structure):
    prog_type: U32
    insn_cnt: U32
    insns: U64
    license: U64
    log_level: U32
    log_size: U32
    log_buf: U64
    kern_version: U32
    prog_flags: U32
    prog_name: Name
    prog_ifindex: U32
    expected_attach_type: U32
    prog_btf_fd: U32
    func_info_rec_size: U32
    func_info: U64
    func_info_cnt: U32
    line_info_rec_size: U32
    line_info: U64
    line_info_cnt: U32
    attach_btf_id: U32
    attach_prog_fd: U32  # or attach_btf_obj_fd


@_layout
class ProgTestRun(ctypes.Structure):
    prog_fd: U32
    retval: U32
    data_size_in: U32
    data_size_out: U32
    data_in: U64
    data_out: U64
    repeat: U32
    duration: U32
    ctx_size_in: U32
    ctx_size_out: U32
    ctx_in: U64
    ctx_out: U64
    flags: U32
    cpu: U32
    batch_size: U32


@_layout
class RawTracepointOpen(ctypes.Structure):
    name: U64
    prog_fd: U32
    padding: U32
    cookie: U64  # since 6.10; older kernels take 0 only


@_layout
class PerfLinkCreate(ctypes.Structure):
    prog_fd: U32
    target_fd: U32
    attach_type: U32
    flags: U32
    bpf_cookie: U64


@_layout
class TracingLinkCreate(ctypes.Structure):
    prog_fd: U32
    target_fd: U32
    attach_type: U32
    flags: U32
    target_btf_id: U32
    padding: U32
    cookie: U64  # since 5.19


@_layout
class IterLinkCreate(ctypes.Structure):
    prog_fd: U32
    target_fd: U32
    attach_type: U32
    flags: U32
    info: U64  # union bpf_iter_link_info
    info_len: U32


@_layout
class CgroupIterInfo(ctypes.Structure):
    order: U32
    cgroup_fd: U32
    cgroup_id: U64


@_layout
class IterCreate(ctypes.Structure):
    link_fd: U32
    flags: U32


@_layout
class ObjectPin(ctypes.Structure):
    pathname: U64
    bpf_fd: U32
    file_flags: U32


@_layout
class ObjectById(ctypes.Structure):
    id: U32
    next_id: U32
    open_flags: U32


@_layout
class ObjectInfo(ctypes.Structure):
    bpf_fd: U32
    info_len: U32
    info: U64


@_layout
class ProgInfo(ctypes.Structure):
    """struct bpf_prog_info up to nr_func_info."""

    type: U32
    id: U32
    tag: U64
    jited_prog_len: U32
    xlated_prog_len: U32
    jited_prog_insns: U64
    xlated_prog_insns: U64
    load_time: U64
    created_by_uid: U32
    nr_map_ids: U32
    map_ids: U64
    name: Name
    ifindex: U32
    gpl_compatible: U32
    netns_dev: U64
    netns_ino: U64
    nr_jited_ksyms: U32
    nr_jited_func_lens: U32
    jited_ksyms: U64
    jited_func_lens: U64
    btf_id: U32
    func_info_rec_size: U32
    func_info: U64
    nr_func_info: U32
    nr_line_info: U32


@_layout
class BtfInfo(ctypes.Structure):
    btf: U64
    btf_size: U32
    id: U32
    name: U64
    name_len: U32
    kernel_btf: U32


@_layout
class UprobeMultiCreate(ctypes.Structure):
    prog_fd: U32
    target_fd: U32
    attach_type: U32
    flags: U32
    path: U64
    offsets: U64
    ref_ctr_offsets: U64
    cookies: U64
    cnt: U32
    multi_flags: U32  # 1: at return
    pid: U32


@_layout
class KprobeMultiCreate(ctypes.Structure):
    prog_fd: U32
    target_fd: U32
    attach_type: U32
    flags: U32
    multi_flags: U32  # 1: at return
    cnt: U32
    syms: U64
    addrs: U64
    cookies: U64


@_layout
class PerfEventAttr(ctypes.Structure):
    """The first 72 bytes, PERF_ATTR_SIZE_VER1."""

    type: U32
    size: U32
    config: U64
    sample_period: U64  # or sample_freq
    sample_type: U64
    read_format: U64
    flags: U64  # PERF_*
    wakeup_events: U32
    bp_type: U32
    config1: U64  # kprobe_func, uprobe_path, bp_addr
    config2: U64  # probe_offset, bp_len


PERF_DISABLED = 1 << 0
PERF_INHERIT = 1 << 1
PERF_FREQ = 1 << 10
PERF_INHERIT_THREAD = 1 << 35  # only threads, not forked processes; since 5.13

PERF_IOC_ENABLE = 0x2400
PERF_IOC_DISABLE = 0x2401
PERF_IOC_SET_BPF = 0x40042408

_PERF_FLAG_FD_CLOEXEC = 8
_BPF, _PERF_EVENT_OPEN = (321, 298) if os.uname().machine == "x86_64" else (280, 241)
_libc = ctypes.CDLL(None, use_errno=True)


class Kernel:
    """The system calls of tracing. Every method raises BpfError; a test overrides them."""

    def bpf(self, cmd: Cmd, attr: ctypes.Structure, what: str = "") -> int:
        """bpf(2): what it returns, often a descriptor. `what`: the object, for the message."""
        return self._call(
            f"BPF_{cmd.name}", what, _BPF, cmd, ctypes.byref(attr),
            ctypes.sizeof(attr),
        )  # fmt: skip

    def describe(self, fd: int, info: ctypes.Structure) -> None:
        """BPF_OBJ_GET_INFO_BY_FD: fill `info` in, ProgInfo for a program, BtfInfo for BTF."""
        attr = ObjectInfo(bpf_fd=fd, info_len=ctypes.sizeof(info), info=ctypes.addressof(info))
        self.bpf(Cmd.OBJ_GET_INFO_BY_FD, attr)

    def perf_event_open(self, attr: PerfEventAttr, pid: int, cpu: int) -> int:
        """perf_event_open(2): a descriptor. pid or cpu -1: all of them."""
        attr.size = ctypes.sizeof(attr)
        return self._call(
            "perf_event_open", "", _PERF_EVENT_OPEN, ctypes.byref(attr), pid, cpu, -1,
            ctypes.c_ulong(_PERF_FLAG_FD_CLOEXEC),
        )  # fmt: skip

    def ioctl(self, fd: int, request: int, argument: int = 0) -> int:
        return self._result(
            "ioctl", "", _libc.ioctl(fd, ctypes.c_ulong(request), ctypes.c_long(argument))
        )

    def _call(self, name: str, what: str, number: int, *arguments: object) -> int:
        for _ in range(5):  # the verifier gives up with EAGAIN when a signal is pending
            result: int = _libc.syscall(ctypes.c_long(number), *arguments)
            if result >= 0 or ctypes.get_errno() != errno.EAGAIN:
                break
        return self._result(name, what, result)

    @staticmethod
    def _result(name: str, what: str, result: int) -> int:
        if result < 0:
            raise BpfError(name, ctypes.get_errno(), what)
        return result


def address(buffer: ctypes.Array[ctypes.c_char]) -> int:
    """Address of a ctypes buffer; the caller keeps it alive."""
    return ctypes.addressof(buffer)


def buffer_of(data: bytes) -> ctypes.Array[ctypes.c_char]:
    """A buffer that holds `data` and nothing after it."""
    return (ctypes.c_char * len(data)).from_buffer_copy(data)


def kernel_release() -> tuple[int, int, int]:
    """Version of the running kernel: 6.18.15 of 6.18.15+deb13-amd64, 7.3.0 of 7.3-rc1."""
    parts = [*os.uname().release.split(".", 2), "0"]
    major, minor, patch = (int("".join(takewhile(str.isdecimal, part))) for part in parts[:3])
    return major, minor, patch


def cpus(which: str) -> list[int]:
    """CPU numbers that are `possible` or `online`."""
    with open(f"/sys/devices/system/cpu/{which}", encoding="ascii") as file:
        ranges = [part.split("-") for part in file.read().strip().split(",")]
    return [cpu for r in ranges for cpu in range(int(r[0]), int(r[-1]) + 1)]
