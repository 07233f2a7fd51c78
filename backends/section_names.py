"""What libbpf's names of program sections say: `tracepoint/sched/sched_switch`, `kprobe/vfs_read`.

Those of probe kinds that we have; all others have a reason why they are left out.
"""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.manifest import Attach, ProgramType
from bpfscript.target import MachineError, Target

Place = tuple[ProgramType, Attach]


class Left(Exception):
    """A program that is left out, and why."""


def place(section: str, target: Target) -> Place:
    """How to load a section's programs, and where they go. Raises Left."""
    if section.startswith("?"):
        raise Left("its section says that it is not to be loaded")
    kind, _, where = section.partition("/")
    if kind not in _KINDS:
        raise Left(f"programs of the section {section} are not known here")
    if not where:
        raise Left(f"its section {section} does not say where it goes")
    return _KINDS[kind](kind, where, target)


def _tracepoint(_: str, where: str, target: Target) -> Place:
    category, slash, event = where.partition("/")
    if not slash:
        raise Left(f"{where} is no tracepoint")
    name = f"{category}:{event}"
    return ProgramType.TRACEPOINT, Attach("tracepoint", f"tracepoint:{name}", name)


def _raw(_: str, where: str, target: Target) -> Place:
    attach = Attach("raw_tracepoint", f"rawtracepoint:{where}", where)
    return ProgramType.RAW_TRACEPOINT, attach


def _kprobe(kind: str, where: str, target: Target) -> Place:
    function, offset = _with_offset(where)
    attach = Attach(kind, f"{kind}:{where}", function, offset=offset)
    return ProgramType.KPROBE, attach


def _uprobe(kind: str, where: str, target: Target) -> Place:
    path, colon, rest = where.rpartition(":")
    function, distance = _with_offset(rest)
    if not colon:
        raise Left(f"{where} names no function of a program")
    try:
        files = target.user_file(path)
        symbols = target.user_symbols(files[0]) if files else []
    except MachineError as error:
        raise Left(str(error)) from error
    for symbol in symbols:
        if symbol.name == function:
            offset = symbol.offset + distance
            attach = Attach(kind, f"{kind}:{where}", files[0], symbol=function, offset=offset)
            return ProgramType.KPROBE, attach
    raise Left(f"{path} has no function {function}")


def _trampoline(kind: str, where: str, target: Target) -> Place:
    attach = Attach(kind, f"{kind}:{where}", f"vmlinux:{where}")
    return ProgramType.TRACING, attach


def _with_offset(text: str) -> tuple[str, int]:
    name, plus, number = text.partition("+")
    try:
        return name, int(number, 0) if plus else 0
    except ValueError:
        raise Left(f"{number} is no offset") from None


_KINDS: dict[str, Callable[[str, str, Target], Place]] = {
    "tracepoint": _tracepoint, "tp": _tracepoint,
    "raw_tracepoint": _raw, "raw_tp": _raw,
    "kprobe": _kprobe, "kretprobe": _kprobe,
    "uprobe": _uprobe, "uretprobe": _uprobe,
    "fentry": _trampoline, "fexit": _trampoline,
}  # fmt: skip
