"""Programs: functions put together, addresses filled in, loaded."""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Callable, Mapping

from bpfscript.diagnostics import CompilerBug
from bpfscript.manifest import Artifact, CodeFunction, Program, Relocation, in_c
from bpfscript.plain import dataclass

from .cache import Cache
from .errors import (
    BpfError,
    FeatureMissing,
    KernelError,
    RefusedC,
    TooComplex,
    VerifierFault,
    VerifierRefused,
)
from .fd import Fd
from .kernel_types import Tie
from .maps import Map, kernel_name
from .relocate import Relocator
from .sys import AttachType, BtfLoad, Cmd, Kernel, ProgLoad, ProgTestRun, address, buffer_of

_SLOT = 8  # bytes of an instruction
_PACKET = 14  # bytes: the least that an XDP program is run on, an Ethernet header
_CONTEXT = 12 * 8  # bytes: the arguments that a raw tracepoint may have, MAX_BPF_FUNC_ARGS
# values of src_reg that give imm its meaning: BPF_PSEUDO_*, include/uapi/linux/bpf.h
_MAP_FD, _MAP_VALUE, _CALL, _FUNC, _KFUNC_CALL = 1, 2, 1, 4, 2
_REFUSALS = (errno.EACCES, errno.EINVAL, errno.E2BIG, errno.ENOSPC, errno.EFAULT, errno.ENOMEM)


@dataclass(slots=True)
class Linked:
    """A program ready to load: its code and where in it the functions and lines begin."""

    code: bytes
    functions: bytes = b""  # array of struct bpf_func_info {insn_off, type_id}
    lines: bytes = (
        b""  # array of struct bpf_line_info {insn_off, file_name_off, line_off, line_col}
    )


def link(
    functions: list[CodeFunction],
    maps: Mapping[str, int],
    kfunc: Callable[[str], int],
    relocate: Callable[[bytearray, int, CodeFunction], None] | None = None,
) -> Linked:
    """Lay functions one after the other and fill in their addresses.

    maps: descriptors by name. kfunc: BTF id of a kernel function by name. relocate: puts the
    kernel's answers into the code of a function that has questions.
    """
    starts: dict[str, int] = {}
    code = bytearray()
    for function in functions:
        starts[function.name] = len(code) // _SLOT
        code += function.code
    for function in functions:
        for relocation in function.relocations:
            at = starts[function.name] + relocation.instruction
            _patch(code, at, relocation, starts, maps, kfunc)
        if function.core:
            if relocate is None:
                raise CompilerBug(f"nobody answers what {function.name} asks of types")
            relocate(code, starts[function.name], function)
    linked = Linked(bytes(code))
    # the kernel wants all functions described, and each first instruction to have a line
    if all(f.type_id for f in functions):
        linked.functions = b"".join(
            struct.pack("<II", starts[f.name], f.type_id) for f in functions
        )
        if all(f.lines and f.lines[0].instruction == 0 for f in functions):
            linked.lines = b"".join(
                struct.pack(
                    "<IIII",
                    starts[f.name] + line.instruction,
                    line.file,
                    line.text,
                    line.line << 10 | min(line.column, 1023),
                )
                for f in functions
                for line in f.lines
            )
    return linked


def _patch(
    code: bytearray,
    at: int,
    relocation: Relocation,
    starts: Mapping[str, int],
    maps: Mapping[str, int],
    kfunc: Callable[[str], int],
) -> None:
    name, second = relocation.name, 0
    try:
        match relocation.kind:
            case "map":
                source, imm = _MAP_FD, maps[name]
            case "map_value":
                source, imm, second = _MAP_VALUE, maps[name], relocation.addend
            case "call":
                source, imm = _CALL, starts[name] - at - 1
            case "callback":
                source, imm = _FUNC, starts[name] - at - 1
            case "kfunc":
                source, imm = _KFUNC_CALL, kfunc(name)
            case kind:
                raise CompilerBug(f"unknown relocation {kind!r}")
    except KeyError:
        raise CompilerBug(f"relocation against {name!r}, which is not there") from None
    offset = at * _SLOT
    code[offset + 1] = code[offset + 1] & 0x0F | source << 4
    struct.pack_into("<i", code, offset + 4, imm)
    if relocation.kind == "map_value":
        struct.pack_into("<i", code, offset + _SLOT + 4, second)


def no_kfunc(name: str) -> int:
    """For artifacts that call no kernel function."""
    raise FeatureMissing(f"kernel function {name}", "a kernel whose BTF lists it")


class Loader:
    """Loads the programs of one artifact; owns the BTF that they share until it is closed."""

    def __init__(
        self,
        artifact: Artifact,
        maps: Mapping[str, Map],
        kernel: Kernel,
        kfunc: Callable[[str], int] = no_kfunc,
        cache: Cache | None = None,
    ) -> None:
        self.artifact, self.kernel, self.kfunc = artifact, kernel, kfunc
        self._linked: dict[str, Linked] = {}
        self._relocator = Relocator(artifact, cache or Cache(None))
        self.maps = {name: opened.fd.fileno() for name, opened in maps.items()}
        self.btf = self._load_btf()

    def close(self) -> None:
        """Loaded programs keep the BTF alive by themselves."""
        self._relocator.close()
        if self.btf:
            self.btf.close()

    def _load_btf(self) -> Fd | None:
        if not self.artifact.btf:
            return None
        data = buffer_of(self.artifact.btf)
        attr = BtfLoad(btf=address(data), btf_size=len(data))
        try:
            return Fd(self.kernel.bpf(Cmd.BTF_LOAD, attr, "BTF"))
        except BpfError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            return None  # a kernel with an older BTF: the programs do without lines

    def load(
        self,
        program: Program,
        attach_type: AttachType = AttachType.NONE,
        tie: Tie | None = None,
    ) -> Fd:
        """Load a program.

        Raises VerifierRefused with the log when the verifier objects, RefusedC if to imported C,
        TooComplex when it gives up, VerifierFault when it fails itself, MissingType where it comes
        to a type of another kernel that this one lacks.
        """
        if (linked := self._linked.get(program.name)) is None:  # some are loaded for each place
            functions = [self.artifact.functions[name] for name in program.functions]
            linked = link(functions, self.maps, self.kfunc, self._relocator.relocate)
            self._linked[program.name] = linked
        settings = self.artifact.manifest.settings
        code, text = buffer_of(linked.code), buffer_of(settings.license.encode() + b"\0")
        attr = ProgLoad(
            prog_type=program.type, insns=address(code), insn_cnt=len(code) // _SLOT,
            license=address(text), prog_name=kernel_name(program.name),
            expected_attach_type=attach_type,
        )  # fmt: skip
        if tie:
            attr.attach_btf_id, attr.attach_prog_fd = tie.number, tie.of
        described = buffer_of(linked.functions), buffer_of(linked.lines)
        if self.btf and linked.functions:
            attr.prog_btf_fd = self.btf.fileno()
            attr.func_info, attr.line_info = map(address, described)
            attr.func_info_rec_size, attr.func_info_cnt = 8, len(linked.functions) // 8
            attr.line_info_rec_size, attr.line_info_cnt = 16, len(linked.lines) // 16
        try:
            return Fd(self.kernel.bpf(Cmd.PROG_LOAD, attr, program.name))
        except BpfError as error:
            if error.errno not in _REFUSALS:
                raise
            raise self._refused(program, attr, settings.log_size, error.errno) from None

    def _refused(self, program: Program, attr: ProgLoad, log_size: int, number: int) -> KernelError:
        # a log costs the verifier more than the program: it writes one only on request
        log = ctypes.create_string_buffer(max(log_size, 128))
        attr.log_level, attr.log_size, attr.log_buf = 1, len(log), address(log)
        try:
            Fd(self.kernel.bpf(Cmd.PROG_LOAD, attr, program.name)).close()
        except BpfError as error:
            number = number if error.errno == errno.ENOSPC else error.errno
        text = log.value.decode(errors="replace")
        refused = VerifierRefused(program.name, text, number)
        probes = (p for p in self.artifact.manifest.probes if p.program == program.name)
        probe = next((p.attachments[0].name for p in probes if p.attachments), program.name)
        script = self.artifact.source_name
        calls_c = any(in_c(name) != name for name in program.functions)
        if calls_c and refused.file != os.path.basename(script):
            place = f"{refused.file}:{refused.line}" if refused.file else ""
            return self._relocator.explain(text) or RefusedC(probe, place, refused.reason)
        if refused.gave_up:
            return TooComplex(probe, script, refused.line, refused.reason)
        if refused.errno == errno.EFAULT:
            return VerifierFault(probe, script, refused.line, refused.reason)
        return self._relocator.explain(text) or refused


def run_once(program: Fd, kernel: Kernel, what: str = "") -> int:
    """Run a raw tracepoint program here and now, with a context of zeros; its return value."""
    context = ctypes.create_string_buffer(_CONTEXT)
    attr = ProgTestRun(prog_fd=program.fileno(), ctx_in=address(context), ctx_size_in=len(context))
    kernel.bpf(Cmd.PROG_TEST_RUN, attr, what)
    result: int = attr.retval
    return result


def run_repeatedly(program: Fd, kernel: Kernel, times: int, what: str = "") -> tuple[int, int]:
    """Run an XDP program; its last return value, and ns that one run took on average."""
    packet = ctypes.create_string_buffer(_PACKET)
    attr = ProgTestRun(
        prog_fd=program.fileno(), data_in=address(packet), data_size_in=len(packet), repeat=times
    )
    kernel.bpf(Cmd.PROG_TEST_RUN, attr, what)
    return attr.retval, attr.duration
