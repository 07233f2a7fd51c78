"""The running kernel as a `target.Target`. All is read when it is asked for, and then once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property

from bpfscript.target import DebugInfo, MachineError, UsdtProbe, UserImage, UserSymbol, matches

from .cache import Cache
from .kernel_btf import BTF
from .tracefs import SYSTEM_CALLS, Tracefs, parse_functions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.btf import Btf

    from .features import Features

_INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
_TRACEPOINT = "btf_trace_"  # what begins the name of the typedef that a BTF has for each
_TEXT_SYMBOLS = frozenset("tTwW")


class LiveTarget:
    """This machine.

    traceable_functions: a file to read instead of available_filter_functions.
    without: features to deny (`--no-feature`).
    debug_directories: where separate debug files are, the first place first.
    cache: of what can be made of this machine once.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        traceable_functions: str | None = None,
        without: frozenset[str] = frozenset(),
        tracefs: Tracefs | None = None,
        debug_directories: Sequence[str] = ("/usr/lib/debug",),
        cache: Cache | None = None,
    ) -> None:
        self._environment = os.environ if environment is None else environment
        self._traceable = traceable_functions
        self._without = without
        self._tracefs = tracefs or Tracefs()
        self._debug_directories = tuple(debug_directories)
        self._cache = cache or Cache(None)
        self._symbols: dict[str, list[UserSymbol]] = {}
        self._usdt: dict[str, list[UsdtProbe]] = {}
        self._debug: dict[str, DebugInfo | None] = {}
        self._demangled: dict[str, str] = {}
        self._module_btf: dict[str, Btf | None] = {}

    @cached_property
    def release(self) -> tuple[int, int, int]:
        from .sys import kernel_release

        return kernel_release()

    @cached_property
    def arch(self) -> str:
        return os.uname().machine

    @cached_property
    def cpus(self) -> int:
        from .sys import cpus

        return len(cpus("possible"))

    @cached_property
    def pid_namespace(self) -> tuple[int, int] | None:
        here = os.stat("/proc/self/ns/pid")
        return None if here.st_ino == _INITIAL_PID_NAMESPACE else (here.st_dev, here.st_ino)

    @cached_property
    def btf(self) -> Btf | None:
        """Types of the kernel. Raises MachineError for a file that is no BTF."""
        from .kernel_btf import kernel_btf

        return kernel_btf(self._environment.get("BPFTRACE_BTF", BTF), self._cache)

    @cached_property
    def modules(self) -> list[str]:
        from .kernel_btf import modules

        return [] if "BPFTRACE_BTF" in self._environment else modules()

    def module_btf(self, module: str) -> Btf | None:
        if module not in self._module_btf:
            from .kernel_btf import module_btf

            known = self.btf if module in self.modules else None
            self._module_btf[module] = known and module_btf(module, known, self._cache)
        return self._module_btf[module]

    @cached_property
    def features(self) -> Features:
        from .features import Features

        return Features(cache=self._cache).without(self._without)

    def has(self, feature: str) -> bool:
        if self._traceable and feature in ("kprobe", "fentry"):
            return True  # compiled and listed, also for another kernel than this one
        return self.features.has(feature)

    def callable_by(self, function: str, type: int) -> bool:
        return self.features.callable_by(function, type)

    def tracepoints(self, category: str, event: str) -> list[tuple[str, str]]:
        return self._tracefs.events(category, event)

    @property
    def dynamic_events(self) -> frozenset[tuple[str, str]]:
        return self._tracefs.dynamic_events

    def tracepoint_format(self, category: str, event: str) -> str | None:
        return self._tracefs.format(category, event)

    def raw_tracepoints(self, event: str) -> list[tuple[str, str]]:
        """Those that have an event in tracefs, and those that only BTF knows."""
        if "*" in event:
            found = {e for c, e in self._tracefs.all_events if c != SYSTEM_CALLS}
            found |= self._typed_tracepoints.keys()
            return sorted(
                (self._typed_tracepoints.get(e, ""), e) for e in found if matches(event, e)
            )
        for module in ("", *self.modules):
            btf = self.module_btf(module) if module else self.btf
            if btf and btf.own(f"{_TRACEPOINT}{event}", "typedef"):
                return [(module, event)]
        categories = (c for c in self._tracefs.categories() if c != SYSTEM_CALLS)
        return [("", event)] if any(self._tracefs.events(c, event) for c in categories) else []

    @cached_property
    def _typed_tracepoints(self) -> dict[str, str]:
        """name → module of the tracepoints that a BTF knows."""
        found: dict[str, str] = {}
        for module in (*self.modules, ""):
            btf = self.module_btf(module) if module else self.btf
            names = (t.name for t in btf.all("typedef")) if btf else ()
            found |= {n[len(_TRACEPOINT) :]: module for n in names if n.startswith(_TRACEPOINT)}
        return found

    def kernel_functions(self, pattern: str) -> list[tuple[str, str]]:
        return sorted(f for f in self._functions if matches(pattern, f[1]))

    @cached_property
    def _functions(self) -> tuple[tuple[str, str], ...]:
        if self._traceable:
            try:
                with open(self._traceable) as file:
                    return parse_functions(file.read())
            except OSError as error:
                raise MachineError(f"{self._traceable}: {error.strerror}") from error
        try:
            return self._tracefs.functions
        except MachineError:  # a kernel without ftrace: kprobes go to any function
            found = []
            for line in self._kallsyms.decode().splitlines():
                _, kind, name, *module = line.split()
                if kind in _TEXT_SYMBOLS:
                    found.append((module[0].strip("[]") if module else "", name))
            return tuple(found)

    def kernel_symbol(self, name: str) -> int | None:
        import re

        wanted = re.escape(name.encode())
        found = re.search(rb"^([0-9a-f]+) \w " + wanted + rb"[\t\n]", self._kallsyms, re.MULTILINE)
        address = int(found[1], 16) if found else 0
        return address or None  # all are 0 for those who may not know

    def cgroup_id(self, path: str) -> int | None:
        # kernfs: the id is the inode number of the directory
        try:
            return os.stat(path).st_ino if os.path.isdir(path) else None
        except OSError:
            return None

    @cached_property
    def _kallsyms(self) -> bytes:
        try:
            with open("/proc/kallsyms", "rb") as file:
                return file.read()
        except OSError:
            return b""

    def bpf_programs(self) -> list[tuple[int, str]]:
        from .kernel_types import typed_programs
        from .sys import Kernel

        return typed_programs(Kernel())

    def user_file(self, name: str) -> list[str]:
        from .user_files import user_files

        return user_files(name, self._environment)

    def user_image(self, path: str) -> UserImage:
        from .elf_functions import user_image

        return user_image(path)

    def user_symbols(self, path: str) -> list[UserSymbol]:
        if path not in self._symbols:
            from .elf_functions import function_symbols

            self._symbols[path] = function_symbols(path)
        return self._symbols[path]

    def instruction_starts(self, path: str, symbol: UserSymbol) -> frozenset[int]:
        from .instructions import instruction_starts

        return instruction_starts(path, symbol)

    def user_object(self, path: str, name: str) -> UserSymbol | None:
        from .elf_functions import object_symbol

        return object_symbol(path, name)

    def usdt_probes(self, path: str) -> list[UsdtProbe]:
        if path not in self._usdt:
            from .usdt import usdt_probes

            self._usdt[path] = usdt_probes(path)
        return self._usdt[path]

    def debug_info(self, path: str) -> DebugInfo | None:
        if path not in self._debug:
            from .dwarf import debug_info

            self._debug[path] = debug_info(path, self._debug_directories)
        return self._debug[path]

    def demangle(self, name: str) -> str:
        if name not in self._demangled:
            from .demangle import demangle

            self._demangled[name] = demangle(name)
        return self._demangled[name]
