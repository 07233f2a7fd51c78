"""What the running kernel can do: asked of the kernel, never of its version, and kept."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable
from functools import cached_property

from bpfscript.manifest import MapType, ProgramType
from bpfscript.target import FEATURES

from .cache import Cache, identity
from .errors import BpfError, FeatureMissing
from .fd import Fd
from .kernel_types import KernelTypes
from .recording import machine_identity
from .sys import (
    AttachType,
    Cmd,
    Kernel,
    KprobeMultiCreate,
    MapCreate,
    ProgLoad,
    RawTracepointOpen,
    TracingLinkCreate,
    UprobeMultiCreate,
    address,
    buffer_of,
)


def _instruction(code: int, registers: int = 0, offset: int = 0, imm: int = 0) -> bytes:
    return struct.pack("<BBhi", code, registers, offset, imm)


_RETURN_0 = _instruction(0xB7) + _instruction(0x95)  # r0 = 0; exit
_CALL, _OF_KERNEL = 0x85, 0x20  # the source register says whose function it is
_TYPED_TRACEPOINT = "btf_trace_sched_switch"
_MANY = _instruction(0xB7) * 4096  # with an exit more than older kernels take
_MAY_GOTO = _instruction(0xE5, offset=1) + _instruction(0xB7)  # 6.12 refuses one to what follows
HELPERS = {  # enum bpf_func_id
    "probe_write_user": 36,
    "override_return": 58,
    "get_current_task_btf": 158,
    "for_each_map_elem": 164,
    "get_func_ip": 173,
    "task_pt_regs": 175,
    "attach_cookie": 174,
    "loop": 181,
    "lookup_percpu_elem": 195,
    "get_tai_ns": 208,
}


class Features:
    """Answers for the names in `target.FEATURES`."""

    def __init__(self, kernel: Kernel | None = None, cache: Cache | None = None) -> None:
        self.kernel, self.cache = kernel or Kernel(), cache or Cache(None)
        self._denied: frozenset[str] = frozenset()

    def has(self, feature: str) -> bool:
        """Whether the kernel has it. Raises BpfError without the rights to ask."""
        if feature in self._denied:
            return False
        if feature in HELPERS:
            return self._asked_once(feature, lambda: self._helper(HELPERS[feature]))
        return self._asked_once(feature, lambda: _PROBES[feature](self))

    def callable_by(self, function: str, type: int) -> bool:
        """Whether programs of a type may call a function of the kernel. Raises BpfError, as has."""
        if self._types.function(function) is None:
            return False
        return self._asked_once(f"{function}:{type}", lambda: self._callable(function, type))

    def _asked_once(self, question: str, ask: Callable[[], bool]) -> bool:
        if question not in self._known:
            self._known[question] = ask()
            text = "".join(f"{name} {int(has)}\n" for name, has in self._known.items())
            self.cache.put("features", self._key, text.encode())
        return self._known[question]

    @cached_property
    def _types(self) -> KernelTypes:
        return KernelTypes(self.kernel, self.cache)

    @cached_property
    def _known(self) -> dict[str, bool]:
        kept = self.cache.get("features", self._key) or b""
        lines = (line.split() for line in kept.decode().splitlines())
        return {name: answer == "1" for name, answer in lines}

    @cached_property
    def _key(self) -> bytes:
        """The answers are those of this boot, and of this file's questions."""
        return f"{identity(__file__)}\n{machine_identity()}".encode("utf-8", "surrogateescape")

    def need(self, feature: str) -> None:
        """Raises FeatureMissing unless the kernel has it."""
        if not self.has(feature):
            raise FeatureMissing(feature, FEATURES[feature])

    def without(self, names: frozenset[str]) -> Features:
        """The same answers but for `names`, which are denied (`--no-feature`)."""
        other = Features(self.kernel, self.cache)
        other._denied = self._denied | names
        return other

    def _load(
        self,
        code: bytes,
        attach: AttachType = AttachType.NONE,
        type: ProgramType = ProgramType.KPROBE,
        tie: int = 0,
    ) -> tuple[Fd | None, str]:
        """A program, or None; and what the verifier wrote."""
        instructions, log = buffer_of(code), ctypes.create_string_buffer(4096)
        name = buffer_of(b"GPL\0")
        attr = ProgLoad(
            prog_type=type, insns=address(instructions), insn_cnt=len(code) // 8,
            license=address(name), log_level=1, log_size=len(log), log_buf=address(log),
            expected_attach_type=attach, attach_btf_id=tie,
        )  # fmt: skip
        try:
            return Fd(self.kernel.bpf(Cmd.PROG_LOAD, attr)), ""
        except BpfError as error:
            if error.errno == errno.EPERM:
                raise
            return None, log.value.decode(errors="replace")

    def _many(self) -> bool:
        """Whether a program may have more than BPF_MAXINSNS instructions."""
        instructions, name = buffer_of(_MANY + _RETURN_0), buffer_of(b"GPL\0")
        attr = ProgLoad(
            prog_type=ProgramType.KPROBE, insns=address(instructions),
            insn_cnt=len(instructions) // 8, license=address(name),
        )  # fmt: skip
        return self._accepts(attr)

    def _accepts(self, attr: ProgLoad) -> bool:
        try:
            Fd(self.kernel.bpf(Cmd.PROG_LOAD, attr)).close()
        except BpfError as error:
            if error.errno == errno.EPERM:
                raise
            return False
        return True

    def _loads(self, code: bytes) -> bool:
        program, _ = self._load(code)
        if program:
            program.close()
        return program is not None

    def _helper(self, number: int) -> bool:
        # most calls without arguments are refused, but unknown ones in other words
        program, log = self._load(_instruction(_CALL, imm=number) + _RETURN_0)
        if program:
            program.close()
        unknown = ("invalid func", "unknown func", "cannot use helper")
        return program is not None or (log != "" and not any(text in log for text in unknown))

    def _ringbuf(self) -> bool:
        attr = MapCreate(map_type=MapType.RINGBUF, max_entries=os.sysconf("SC_PAGESIZE"))
        try:
            Fd(self.kernel.bpf(Cmd.MAP_CREATE, attr)).close()
        except BpfError as error:
            if error.errno == errno.EPERM:
                raise
            return False
        return True

    def _multi(self, attach: AttachType, attr: ctypes.Structure, expected: int) -> bool:
        """Whether a link that cannot be made fails the way that shows it is known."""
        program, _ = self._load(_RETURN_0, attach)
        if program is None:
            return False
        with program:
            attr.prog_fd, attr.attach_type = program.fileno(), attach
            try:
                Fd(self.kernel.bpf(Cmd.LINK_CREATE, attr)).close()
            except BpfError as error:
                return error.errno == expected
            return True

    def _uprobe_multi(self) -> bool:
        path, one = buffer_of(b"/\0"), ctypes.c_uint64(0)  # a directory has no code: EBADF
        attr = UprobeMultiCreate(path=address(path), offsets=ctypes.addressof(one), cnt=1)
        return self._multi(AttachType.UPROBE_MULTI, attr, errno.EBADF)

    def _kprobe_multi(self, attach: AttachType = AttachType.KPROBE_MULTI) -> bool:
        name = buffer_of(b"no such function\0")  # ESRCH from a kernel that looks for it
        symbols = ctypes.c_uint64(address(name))
        attr = KprobeMultiCreate(syms=ctypes.addressof(symbols), cnt=1)
        return self._multi(attach, attr, errno.ESRCH)

    def _raw_cookie(self) -> bool:
        """Whether a raw tracepoint takes a cookie: ENOENT is about its name, EINVAL is not."""
        code, name = buffer_of(_RETURN_0), buffer_of(b"GPL\0")
        attr = ProgLoad(
            prog_type=ProgramType.RAW_TRACEPOINT, insns=address(code), insn_cnt=2,
            license=address(name),
        )  # fmt: skip
        nothing = buffer_of(b"no such tracepoint\0")
        try:
            with Fd(self.kernel.bpf(Cmd.PROG_LOAD, attr)) as program:
                attempt = RawTracepointOpen(
                    name=address(nothing), prog_fd=program.fileno(), cookie=1
                )
                Fd(self.kernel.bpf(Cmd.RAW_TRACEPOINT_OPEN, attempt)).close()
        except BpfError as error:
            return error.errno == errno.ENOENT
        return True

    def _return_stack(self) -> bool:
        """Whether fprobes are the function graph tracer's: it has a function for them then."""
        return self._types.function("fprobe_fgraph_entry") is not None

    def _iter(self) -> bool:
        """Whether a program can be loaded for the iterator over tasks."""
        try:
            program = self._tied("bpf_iter_task", AttachType.TRACE_ITER)
        except BpfError as error:
            if error.errno == errno.EPERM:
                raise
            return False
        if program:
            program.close()
        return program is not None

    def _tied(self, function: str, attach: AttachType) -> Fd | None:
        """A program tied to a function of the kernel; None without that. Raises BpfError."""
        if (number := self._types.function(function)) is None:
            return None
        code, name = buffer_of(_RETURN_0), buffer_of(b"GPL\0")
        attr = ProgLoad(
            prog_type=ProgramType.TRACING, insns=address(code), insn_cnt=2, license=address(name),
            expected_attach_type=attach, attach_btf_id=number,
        )  # fmt: skip
        return Fd(self.kernel.bpf(Cmd.PROG_LOAD, attr))

    def _callable(self, function: str, type: int) -> bool:
        """Calls without arguments are refused, but in other words where they are forbidden."""
        attach, tie = AttachType.NONE, 0
        if type == ProgramType.TRACING:  # all of its kinds may call the same
            attach, tie = AttachType.TRACE_RAW_TP, self._types.typedef(_TYPED_TRACEPOINT) or 0
        call = _instruction(_CALL, _OF_KERNEL, imm=self._types.kfunc(function))
        program, log = self._load(call + _RETURN_0, attach, ProgramType(type), tie)
        if program:
            program.close()
        return program is not None or (function in log and "is not allowed" not in log)

    def _iter_num(self) -> bool:
        """Whether programs may call the iterator over numbers, by its number in the BTF."""
        names = ("bpf_iter_num_new", "bpf_iter_num_destroy")
        new, destroy = (self._types.function(name) for name in names)
        if new is None or destroy is None:
            return False
        at_slot = _instruction(0xBF, 0xA1) + _instruction(0x07, 0x01, imm=-8)
        code = at_slot + _instruction(0xB7, 0x02) + _instruction(0xB7, 0x03)
        code += _instruction(_CALL, _OF_KERNEL, imm=new)
        end = _instruction(_CALL, _OF_KERNEL, imm=destroy)
        return self._loads(code + at_slot + end + _RETURN_0)

    def _fentry(self) -> bool:
        """Whether a program can be attached to a function that is there for trying."""
        how = AttachType.TRACE_FENTRY
        try:
            if (program := self._tied("bpf_fentry_test1", how)) is None:
                return False
            with program:
                link = TracingLinkCreate(prog_fd=program.fileno(), attach_type=how)
                Fd(self.kernel.bpf(Cmd.LINK_CREATE, link)).close()
        except BpfError:
            return False
        return True


_PROBES: dict[str, Callable[[Features], bool]] = {
    "ringbuf": Features._ringbuf,
    "may_goto": lambda features: features._loads(_MAY_GOTO + _RETURN_0),
    "iter_num": Features._iter_num,
    "uprobe_multi": Features._uprobe_multi,
    "kprobe_multi": Features._kprobe_multi,
    "kprobe_session": lambda features: features._kprobe_multi(AttachType.KPROBE_SESSION),
    "raw_cookie": Features._raw_cookie,
    "return_stack": Features._return_stack,
    "iter": Features._iter,
    "large_programs": Features._many,
    "kprobe": lambda _: os.path.exists("/sys/bus/event_source/devices/kprobe/type"),
    "fentry": Features._fentry,
}
