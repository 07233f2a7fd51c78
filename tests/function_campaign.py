"""Generated functions do the same in the interpreter and, by each backend, in the kernel.

    python tests/function_campaign.py COUNT [--seed N]

A seed is a module, what is done to it before it is compiled (nothing; the passes with or without
optimisation), and the kernel that it is compiled for: one as new as this, or one without signed
division and may_goto. The interpreter always runs what was generated. Each program runs a few
times, on other contexts, and must leave the same in all maps. A finding is printed with its seed,
and the counts at the end.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from random import Random

from ir_generated import module
from ir_generator import CTX_SIZE, number

from bpfscript.backends import BACKENDS, backend
from bpfscript.diagnostics import Source
from bpfscript.ir.core import Module
from bpfscript.ir.interp import run as interpret
from bpfscript.ir.interp_machine import Machine
from bpfscript.ir.interp_maps import MapStore
from bpfscript.manifest import PRESENT, Artifact, MapDef, MapType
from bpfscript.passes.pipeline import run as run_passes
from bpfscript.runtime.cache import Cache
from bpfscript.runtime.errors import TooComplex, VerifierRefused
from bpfscript.runtime.kernel_types import KernelTypes
from bpfscript.runtime.maps import Map, create_map, sized
from bpfscript.runtime.programs import Loader
from bpfscript.runtime.sys import Cmd, Kernel, ProgTestRun, address, buffer_of
from bpfscript.target import FEATURES, RecordedTarget

RUNS = 3
NEW = RecordedTarget(release=(6, 12, 0))
OLD = RecordedTarget(
    release=(6, 1, 0), features=frozenset(FEATURES) - {"may_goto", "iter_num", "kprobe_session"}
)

Left = tuple[int, dict[str, dict[bytes, bytes]]]
"""What a run gives: its result, and the contents of each map, on the CPU that it was on."""


@dataclass(frozen=True)
class Plan:
    """What a seed stands for. passes: "none", "optimised" or "plain"; high operations need some."""

    seed: int
    passes: str
    high: bool
    target: RecordedTarget
    contexts: tuple[bytes, ...]

    @classmethod
    def of(cls, seed: int) -> Plan:
        r = Random(f"plan {seed}")
        words = [[number(r, 64) % 2**64 for _ in range(CTX_SIZE // 8)] for _ in range(RUNS)]
        contexts = tuple(b"".join(w.to_bytes(8, "little") for w in run) for run in words)
        passes = r.choice(("none", "none", "optimised", "optimised", "plain"))
        high = passes != "none" and r.randrange(2) == 1
        return cls(seed, passes, high, r.choice((NEW, NEW, OLD)), contexts)

    def module(self) -> Module:
        r = Random(self.seed)
        size, may_goto = r.choice((4, 8, 12, 20, 40)), self.target.has("may_goto")
        return module(r, size, may_goto=may_goto, high=self.high)

    def prepare(self, made: Module) -> None:
        if self.passes != "none":
            run_passes(made, self.target, optimise=self.passes == "optimised")

    def __str__(self) -> str:
        release = ".".join(map(str, self.target.release[:2]))
        return f"{'high, ' if self.high else ''}{self.passes}, {release}"


class Machines:
    """The interpreter's machine, and this one."""

    def __init__(self) -> None:
        with open("/sys/devices/system/cpu/possible") as file:
            self.cpus = int(file.read().strip().split("-")[-1]) + 1
        with open("/proc/self/comm", "rb") as file:
            self.comm = file.read().strip()
        self.cpu = 0
        self.kernel = Kernel()
        self.types = KernelTypes(self.kernel, Cache(None))
        self._current = ctypes.CDLL(None).sched_getcpu

    def close(self) -> None:
        self.types.close()

    def expected(self, plan: Plan, made: Module) -> list[Left]:
        """What the module does in the interpreter."""
        machine = Machine(
            cpu=self.cpu, cpus=self.cpus, pid_tgid=os.getpid() << 32 | os.getpid(),
            uid_gid=os.getgid() << 32 | os.getuid(), comm=self.comm,
        )  # fmt: skip
        out = []
        for context in plan.contexts:
            words = range(0, CTX_SIZE, 8)
            machine.arguments = tuple(int.from_bytes(context[i : i + 8], "little") for i in words)
            machine.iterations = 1 << 16
            result = interpret(made.functions[0], machine, made) & 0xFFFFFFFF
            out.append((result, {name: self._kept(map) for name, map in machine.maps.items()}))
        return out

    @contextmanager
    def pinned(self) -> Iterator[None]:
        """On the CPU that the interpreter's machine took itself to be."""
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {self.cpu})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def found(self, plan: Plan, artifact: Artifact) -> list[Left]:
        """What the program does in the kernel."""
        with ExitStack() as stack:
            maps = self._maps(artifact, stack)
            loader = Loader(artifact, maps, self.kernel, self.types.kfunc)
            stack.callback(loader.close)
            fd = stack.enter_context(loader.load(artifact.programs[0])).fileno()
            stack.enter_context(self.pinned())
            out = []
            for context in plan.contexts:
                given = buffer_of(context)
                attr = ProgTestRun(prog_fd=fd, ctx_in=address(given), ctx_size_in=len(context))
                self.kernel.bpf(Cmd.PROG_TEST_RUN, attr, "test")
                result = ctypes.c_uint32(attr.retval).value
                out.append((result, {name: self._contents(map) for name, map in maps.items()}))
            return out

    def _maps(self, artifact: Artifact, stack: ExitStack) -> dict[str, Map]:
        maps = {}
        for definition in artifact.manifest.maps:
            wanted = sized(definition, artifact.manifest)
            made = create_map(wanted, self.cpus, self.kernel, artifact.rodata)
            stack.callback(made.close)
            maps[definition.name] = made
            if definition.within:
                maps[definition.within].near = made
        return maps

    def _kept(self, map: MapStore) -> dict[bytes, bytes]:
        entries = {key: map.values(key) for key in map.entries()}
        return {key: bytes(v[self.cpu % len(v)].data) for key, v in entries.items()}

    def _contents(self, map: Map) -> dict[bytes, bytes]:
        """By the keys that scripts mean; values without what only arrays for constant keys have."""
        definition = map.definition
        if definition.kind is MapType.RINGBUF:
            return {}
        out, key_of = {}, keys(definition)
        for key, values in map.entries():
            value = bytes(values[self.cpu % len(values)])
            out[key_of(bytes(key))] = value[:-PRESENT] if definition.labels is not None else value
        return out

    def outcome(self, plan: Plan) -> str:
        """ "same", "too large" for the verifier, or what differs."""
        name = "interpreter"
        try:
            self.cpu = self._current()
            module = plan.module()
            wanted = self.expected(plan, module)
            plan.prepare(module)
            for name in reversed(BACKENDS):  # native changes the module
                artifact = backend(name).emit(module, plan.target, Source("f", ""))
                for run, (a, b) in enumerate(zip(wanted, self.found(plan, artifact), strict=True)):
                    if difference := _difference(a, b):
                        return f"{name}, run {run}: {difference}"
        except TooComplex:
            return "too large"
        except VerifierRefused as error:
            return f"{name}: {error}\n{error.log[-600:]}"
        except Exception:
            return traceback.format_exc()
        return "same"


def keys(definition: MapDef) -> Callable[[bytes], bytes]:
    """From keys of the kernel's map to those of the script's."""
    labels, type = definition.labels, definition.key
    if labels is None:
        return lambda key: key
    size = type.size if type else 4

    def by_label(key: bytes) -> bytes:
        label = labels[int.from_bytes(key, "little")]
        if isinstance(label, int):
            return (label % (1 << 8 * size)).to_bytes(size, "little")
        return label.encode("utf-8", "surrogateescape").ljust(size, b"\0")

    return by_label


def _difference(wanted: Left, got: Left) -> str:
    if wanted[0] != got[0]:
        return f"result {got[0]:#x}, wanted {wanted[0]:#x}"
    for name, contents in wanted[1].items():
        other = got[1].get(name, {})
        for key in contents.keys() | other.keys():
            a, b = contents.get(key), other.get(key)
            if a is None or b is None or a != b[: len(a)]:  # passes make some values longer
                shown = ["nothing" if v is None else v.hex() for v in (b, a)]
                return f"{name}[{key.hex()}] {shown[0]}, wanted {shown[1]}"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    arguments = parser.parse_args()
    machines, counts, start = Machines(), Counter[str](), time.process_time()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        plan = Plan.of(seed)
        result = machines.outcome(plan)
        known = result in ("same", "too large")
        counts[f"{plan}: {result if known else 'found'}"] += 1
        if result == "too large" and plan.passes != "none":
            print(f"=== {seed} {plan}: {result}", flush=True)
        elif not known:
            print(f"=== {seed} {plan}\n{result.rstrip()[:1500]}", flush=True)
        if (seed + 1) % 1000 == 0:
            print(seed + 1, f"{time.process_time() - start:.0f} s", dict(counts), flush=True)
    print(dict(sorted(counts.items())))
    return 1 if any(key.endswith("found") for key in counts) else 0


if __name__ == "__main__":
    sys.exit(main())
