"""A target in a file: what `bpfscript target save` writes, and `--target` compiles for.

    magic    "bpfscript target 1\\n"
    parts    each uint32 length as it lies here, uint32 length of the content, zlib's data:
             `Facts` as JSON; the kernel's BTF; its traceable functions, a line each

What is read may come from anywhere: ObjectError, and nothing else, for what is no such file.
Not in it are the debug information of user programs, and the types of kernel modules.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection, Iterable, Iterator
from typing import NoReturn

from bpfscript.arch import ARCHES
from bpfscript.btf import Btf
from bpfscript.codec import ObjectError, dumps, loads
from bpfscript.plain import dataclass, field
from bpfscript.target import (
    FEATURES,
    DebugInfo,
    MachineError,
    RecordedTarget,
    Target,
    UsdtProbe,
    UserImage,
    UserSymbol,
)

MAGIC = b"bpfscript target "
FORMAT = b"1"
_LENGTHS = struct.Struct("<II")
_LARGEST = 1 << 28  # bytes of a part's content
_MANGLED = ("_Z", "_R")  # how names of C++ and Rust begin


@dataclass(frozen=True)
class UserFile:
    symbols: tuple[UserSymbol, ...]
    probes: tuple[UsdtProbe, ...]


@dataclass(frozen=True)
class Facts:
    """What is small. Events are named `category:event`."""

    release: tuple[int, ...]
    arch: str
    cpus: int
    pid_namespace: tuple[int, ...]  # device and inode, or nothing
    has_btf: bool
    features: tuple[str, ...]
    formats: dict[str, str]
    raw_events: tuple[str, ...]
    dynamic_events: tuple[str, ...]
    symbols: dict[str, int] = field(default_factory=dict)  # those asked for
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)  # asked for → paths
    files: dict[str, UserFile] = field(default_factory=dict)  # by path
    demangled: dict[str, str] = field(default_factory=dict)


@dataclass
class SavedTarget(RecordedTarget):
    """A target from a file. What nobody asked to record is a MachineError, not an absence."""

    path: str = ""
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def kernel_symbol(self, name: str) -> int | None:
        return self.symbols[name] if name in self.symbols else self._unknown(name, name)

    def cgroup_id(self, path: str) -> int | None:
        self._unknown(f"the cgroup {path}")

    def user_file(self, name: str) -> list[str]:
        return list(self.names[name]) if name in self.names else self._unknown(name, name)

    def callable_by(self, function: str, type: int) -> bool:
        self._unknown(f"who may call {function}")

    def user_image(self, path: str) -> UserImage:
        self._unknown(f"the file {path}")

    def user_symbols(self, path: str) -> list[UserSymbol]:
        return self.files[path] if path in self.files else self._unknown(path, path)

    def instruction_starts(self, path: str, symbol: UserSymbol) -> Collection[int]:
        self._unknown(f"the code of {path}")

    def user_object(self, path: str, name: str) -> UserSymbol | None:
        self._unknown(f"{name} of {path}")

    def debug_info(self, path: str) -> DebugInfo | None:
        return None

    def _unknown(self, what: str, asked: str = "") -> NoReturn:
        hint = f"bpfscript target save {self.path} {asked}" if asked else None
        raise MachineError(f"{self.path} does not tell about {what}", hint)


def write(target: Target, asked: Iterable[str] = ()) -> bytes:
    """A file's content. asked: kernel symbols, and what uprobes name: paths, programs, libraries.

    Raises MachineError for what the target cannot tell.
    """
    kernel, names, files = dict[str, int](), dict[str, tuple[str, ...]](), dict[str, UserFile]()
    for name in asked:
        if "/" not in name and (address := target.kernel_symbol(name)):
            kernel[name] = address
        elif paths := target.user_file(name):
            names[name] = tuple(paths)
            for path in paths:
                symbols, probes = target.user_symbols(path), target.usdt_probes(path)
                files[path], names[path] = UserFile(tuple(symbols), tuple(probes)), (path,)
        else:
            raise MachineError(f"there is no kernel symbol, program or library {name}")
    btf, events = target.btf, target.tracepoints("*", "*")
    code = [symbol.name for file in files.values() for symbol in file.symbols]
    demangled = {name: target.demangle(name) for name in code if name.startswith(_MANGLED)}
    texts = {f"{c}:{e}": target.tracepoint_format(c, e) for c, e in events}
    facts = Facts(
        target.release, target.arch, target.cpus, target.pid_namespace or (), btf is not None,
        tuple(name for name in FEATURES if target.has(name)),
        {name: text for name, text in texts.items() if text is not None},
        tuple(name for module, name in target.raw_tracepoints("*") if not module),
        tuple(sorted(map(":".join, target.dynamic_events))), kernel, names, files,
        demangled,
    )  # fmt: skip
    functions = "".join(f"{m}:{name}\n" for m, name in target.kernel_functions("*"))
    parts = dumps(facts), bytes(btf) if btf else b"", functions.encode()
    return b"".join([MAGIC, FORMAT, b"\n", *map(_packed, parts)])


def read(data: bytes, path: str = "the target") -> SavedTarget:
    """The target of a file's content; path: its name in messages. Raises ObjectError."""
    head, newline, rest = data.partition(b"\n")
    if not (newline and head.startswith(MAGIC)):
        raise ObjectError(f"{path} is no target", "bpfscript target save FILE makes one")
    if head != MAGIC + FORMAT:
        number = head[len(MAGIC) :][:9].decode("ascii", "replace")
        raise ObjectError(f"{path} has format {number} of targets, this bpfscript reads 1")
    facts = loads(Facts, next(parts := _parts(rest, path)))
    major, minor, patch = _exactly(3, facts.release, path)
    namespace = _exactly(2, facts.pid_namespace, path) if facts.pid_namespace else None
    if facts.cpus < 1 or facts.arch not in ARCHES:
        raise ObjectError(f"{path} is of no machine that is known: {facts.arch}, {facts.cpus} CPUs")
    btf, functions = next(parts), next(parts).decode("utf-8", "replace")
    return SavedTarget(
        release=(major, minor, patch),
        arch=facts.arch,
        cpus=facts.cpus,
        pid_namespace=(namespace[0], namespace[1]) if namespace else None,
        btf=Btf(btf) if facts.has_btf else None,
        features=frozenset(facts.features),
        formats={_pair(name): text for name, text in facts.formats.items()},
        raw_events=facts.raw_events,
        dynamic_events=frozenset(map(_pair, facts.dynamic_events)),
        functions=tuple(map(_pair, functions.splitlines())),
        symbols=facts.symbols,
        files={name: list(file.symbols) for name, file in facts.files.items()},
        usdt={name: list(file.probes) for name, file in facts.files.items()},
        demangled=facts.demangled,
        path=path,
        names=facts.names,
    )


def _exactly(count: int, numbers: tuple[int, ...], path: str) -> tuple[int, ...]:
    if len(numbers) != count:
        raise ObjectError(f"{path} is damaged: {count} numbers expected, not {len(numbers)}")
    return numbers


def _packed(content: bytes) -> bytes:
    data = zlib.compress(content)
    return _LENGTHS.pack(len(data), len(content)) + data


def _parts(data: bytes, path: str) -> Iterator[bytes]:
    """What the parts hold, one after the other; memory is used for what they claim to hold."""
    at = 0
    while True:
        try:
            packed, length = _LENGTHS.unpack_from(data, at)
            at += _LENGTHS.size + packed
            unpacker = zlib.decompressobj()
            content = unpacker.decompress(data[at - packed : at], min(length, _LARGEST) + 1)
        except (struct.error, zlib.error) as error:
            raise ObjectError(f"{path} is damaged: {error}") from None
        if len(content) != length or not unpacker.eof or at > len(data):
            raise ObjectError(f"{path} is damaged: a part is not of the length it claims")
        yield content


def _pair(name: str) -> tuple[str, str]:
    first, _, second = name.partition(":")
    return first, second
