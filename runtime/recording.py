"""What a compile asked of the machine, and whether the machine would answer the same today.

A cached compile is good only while every answer it was made of stands. What a boot of a kernel
fixes is part of `machine_identity`; of all else it is remembered what was asked, and a witness of
the answer. A question that no witness is known for makes the compile one that is not kept.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from zlib import crc32

from bpfscript.target import MachineError

from .archives import SIGN
from .cache import identity, kernel_identity

Asked = dict[tuple[str, str, tuple[str, ...]], str | None]
"""(subject, question, arguments) → witness; None: there is none."""

_FIXED = frozenset({
    "release", "arch", "cpus", "btf", "modules", "module_btf", "has", "callable_by",
    "kernel_functions", "demangle",
    "data", "compiled",  # of files and a compiler whose identity is asked for, too
})  # fmt: skip
_OF_FILES = frozenset(
    {"user_image", "user_symbols", "instruction_starts", "user_object", "usdt_probes"}
)
_ASKED_AGAIN = frozenset({
    "pid_namespace", "tracepoints", "dynamic_events", "tracepoint_format", "raw_tracepoints",
    "kernel_symbol", "bpf_programs", "user_file", "cgroup_id",
    "kind", "writable_by_all", "names", "text", "identity", "compiler",  # of files to import
})  # fmt: skip


class Recorder:
    """Passes questions on to a subject, a Target or an Importer, and remembers them."""

    def __init__(self, name: str, subject: object, asked: Asked) -> None:
        self._name, self._subject, self._asked = name, subject, asked

    def __getattr__(self, question: str) -> object:
        found = getattr(self._subject, question)
        if not callable(found):
            self._remember(question, (), found)
            return found

        def ask(*arguments: str) -> object:
            if question in _OF_FILES:  # before it is read: it may change meanwhile
                self._remember(question, arguments, None)
            try:
                answer = found(*arguments)
            except MachineError as error:
                self._remember(question, arguments, error)
                raise
            self._remember(question, arguments, answer)
            return answer

        return ask

    def _remember(self, question: str, arguments: tuple[str, ...], answer: object) -> None:
        # of what is asked about symbols, the file is what counts
        arguments = arguments[:1] if question in _OF_FILES else arguments
        key = self._name, question, arguments
        if key not in self._asked:
            self._asked[key] = _witness(question, arguments, lambda: answer)


def stands(asked: Asked, subjects: Mapping[str, object]) -> bool:
    """Whether each subject, by its recorder's name, would answer as it did."""

    def answer(name: str, question: str, arguments: tuple[str, ...]) -> object:
        found = getattr(subjects[name], question)
        return found(*arguments) if callable(found) else found

    for (name, question, arguments), witness in asked.items():
        try:
            now = _witness(question, arguments, lambda: answer(name, question, arguments))  # noqa: B023
        except MachineError as error:
            now = _sum(error)
        if now is None or now != witness:
            return False
    return True


def machine_identity() -> str:
    """What is the same as long as this kernel runs, has these modules, and we these rights."""
    parts = [kernel_identity(), str(os.geteuid())]
    parts += map(_text, ("/proc/sys/kernel/random/boot_id", "/proc/modules"))
    parts += [line for line in _text("/proc/self/status").splitlines() if line[:7] == "CapEff:"]
    return "\n".join(parts)


def _witness(question: str, arguments: tuple[str, ...], ask: Callable[[], object]) -> str | None:
    """What changes with the answer, or before it does; the question may be left unasked."""
    if question in _FIXED:
        return ""
    if question in _OF_FILES:
        try:
            return identity(arguments[0].partition(SIGN)[0])
        except OSError as error:
            return str(error.errno)
    return _sum(ask()) if question in _ASKED_AGAIN else None


def _sum(answer: object) -> str:
    text = repr(sorted(answer)) if isinstance(answer, frozenset) else repr(answer)
    return f"{len(text)} {crc32(text.encode('utf-8', 'surrogateescape')):08x}"


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
