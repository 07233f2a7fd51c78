"""Modules through a backend and the kernel: what the tests of backends share."""

from __future__ import annotations

import ctypes
from contextlib import ExitStack

from bpfscript.backends import backend
from bpfscript.diagnostics import Source
from bpfscript.ir.reader import read_module
from bpfscript.ir.verify import verify
from bpfscript.manifest import Artifact, MapType
from bpfscript.runtime.maps import create_map
from bpfscript.runtime.programs import Loader
from bpfscript.runtime.sys import Cmd, Kernel, ProgTestRun, address, buffer_of
from bpfscript.target import RecordedTarget

OUT = ".out"
ENTRY = (
    'type=RAW_TRACEPOINT section="raw_tp/sched_switch" kind="rawtracepoint" '
    'probe=ProbeInfo("f", (), ("rawtracepoint:sched_switch",))'
)


def out_map(size: int = 64) -> str:
    return (
        f'map name="{OUT}" kind=ARRAY key=None value=None key_size=4 value_size={size} '
        "max_entries=1\n"
    )


def program(body: str, maps: str = "", more: str = "") -> str:
    """IR of a raw tracepoint program `f` with context %0; its `.out` map has 64 bytes."""
    return f"{out_map()}{maps}\nfunc f(%0: ptr<ctx>) {ENTRY} {{\n{body}}}\n{more}"


def compile_text(text: str, name: str = "native") -> Artifact:
    module = read_module(text)
    verify(module, legal=True)
    return backend(name).emit(module, RecordedTarget(), Source("t.ir", text))


def run(artifact: Artifact, context: bytes = bytes(64), runs: int = 1) -> dict[str, bytes]:
    """Load the first program, run it, and give each array's first value."""
    kernel = Kernel()
    with ExitStack() as stack:
        maps = {}
        for definition in artifact.manifest.maps:
            made = create_map(definition, _cpus(), kernel, artifact.rodata)
            stack.callback(made.close)
            maps[definition.name] = made
        loader = Loader(artifact, maps, kernel)
        stack.callback(loader.close)
        fd = stack.enter_context(loader.load(artifact.programs[0]))
        given = buffer_of(context)
        for _ in range(runs):
            attr = ProgTestRun(prog_fd=fd.fileno(), ctx_in=address(given), ctx_size_in=len(context))
            kernel.bpf(Cmd.PROG_TEST_RUN, attr, "test")
        found = {"": ctypes.c_uint32(attr.retval).value.to_bytes(4, "little")}
        for name, opened in maps.items():
            if opened.definition.kind is MapType.ARRAY:
                found[name] = (opened.value(bytes(4)) or [b""])[0]
        return found


def _cpus() -> int:
    with open("/sys/devices/system/cpu/possible") as file:
        return int(file.read().strip().split("-")[-1]) + 1
