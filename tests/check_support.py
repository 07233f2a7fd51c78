"""Checking scripts in tests: no machine, no C types but those given."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from bpfscript.diagnostics import ScriptError, Source
from bpfscript.frontend import nodes
from bpfscript.frontend.check import check
from bpfscript.frontend.parser import parse
from bpfscript.frontend.typed import Checked, Options
from bpfscript.target import RecordedTarget
from bpfscript.types import INT32, INT64, Field, Int, Pointer, String, Struct, Type

TASK = Struct("struct task_struct", 32)
TARGET = RecordedTarget(symbols={"vfs_read": 0xFFFFFFFF81000000})


@dataclass
class FakeNames:
    """A `CNames` with one struct, one enum and some macros."""

    macros: dict[str, str] = field(default_factory=dict)

    def named(self, keyword: str | None, name: str) -> Type | None:
        if name == "task_struct" and keyword in ("struct", None):
            return TASK
        if keyword == "enum" and name == "state":
            return Int(32, False, enum="state")
        return {"pid_t": INT32, "long": INT64}.get(name) if keyword is None else None

    def fields(self, struct: Struct) -> tuple[Field, ...]:
        if struct != TASK:
            return ()
        return (
            Field("pid", INT32, 0),
            Field("comm", String(16), 4),
            Field("parent", Pointer(TASK), 24),
        )

    def enum_constant(self, name: str) -> tuple[int, str] | None:
        return {"RUNNING": (0, "state"), "SLEEPING": (1, "state")}.get(name)

    def enum(self, name: str) -> dict[int, str] | None:
        return {0: "RUNNING", 1: "SLEEPING"} if name == "state" else None

    def of_kernel(self, keyword: str, name: str) -> bool:
        return False

    def macro(self, name: str) -> str | None:
        return self.macros.get(name)


def checked(text: str, options: Options | None = None, names: FakeNames | None = None) -> Checked:
    program = parse(Source("stdin", text))
    return check(program, TARGET, options or Options(), names or FakeNames())


def errors(text: str, options: Options | None = None) -> list[str]:
    """`COLUMN: message` of each error of a wrong script of one line."""
    with pytest.raises(ScriptError) as caught:
        checked(text, options)
    found = [d for d in caught.value.diagnostics if d.severity == "ERROR"]
    return [f"{d.span.source.position(d.span.start)[1]}: {d.message}" for d in found]


def warnings(text: str, options: Options | None = None) -> list[str]:
    found = checked(text, options).warnings
    return [f"{d.span.source.position(d.span.start)[1]}: {d.message}" for d in found]


def type_of(expression: str, before: str = "", options: Options | None = None) -> str:
    """Type of an expression in a `begin` probe, as messages show it."""
    found = checked(f"begin {{ {before} _ = {expression}; }}", options)
    return str(found.types[_discarded(found)])


def value_of(expression: str, options: Options | None = None) -> object:
    """What an expression folds to; None if it does not."""
    found = checked(f"begin {{ _ = {expression}; }}", options)
    return found.constants.get(_discarded(found))


def _discarded(found: Checked) -> nodes.Expr:
    last = found.instances[0].probe.body.statements[-1]
    assert isinstance(last, nodes.Discard)
    return last.value


def with_config(**environment: str) -> Options:
    return replace(Options(), environment={f"BPFTRACE_{k}": v for k, v in environment.items()})
