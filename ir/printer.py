"""IR as text, which `reader` reads back. Values are numbered in order of definition.

    map name="@x" kind=HASH key=Int(64, True) value=Int(64, True) key_size=8 value_size=8 …
    event kind="printf" fields=(Int(64, True),) offsets=(8,) size=16 text="%d\\n"
    func f(%0: ptr<ctx>) type=TRACEPOINT section="tracepoint/a/b" kind="tracepoint" … {
    start:
      %1 = load %0 {off=8} : i64
      %2 = eq %1, %1 : i1
      branch %2, loop(%1), done
    loop(%3: i64):
      …

Attributes are integers, "strings", b"bytes" and (tuples,). Maps, events and entries are shown by
the fields of their dataclasses. Defaults are left out; nested fields without default have no name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from typing import Any

from bpfscript.ir.core import Block, Edge, Function, Instr, Module, Value


def print_module(module: Module, *, spans: bool = False) -> str:
    """Text of a module, ending in a newline. `spans` appends `; line:column` where one is known."""
    lines = [f"module {_assignments(module, ('warnings',))}"] if module.warnings != 1 else []
    lines += [f"map {_assignments(m)}" for m in module.maps.values()]
    lines += [f"event {_assignments(e)}" for e in module.events]
    parts = ["".join(f"{line}\n" for line in lines)] if lines else []
    parts += [print_function(f, spans=spans) for f in module.functions]
    return "\n".join(parts)


def print_function(function: Function, *, spans: bool = False) -> str:
    """Text of a function, ending in a newline; see `print_module`."""
    return _Printer(function, spans).text()


class _Printer:
    """`names` of values and blocks; `%?` stands for a value that nothing defines."""

    def __init__(self, function: Function, spans: bool) -> None:
        self.function, self.spans = function, spans
        self.values: dict[Value, str] = {}
        for value in _definitions(function):
            self.values.setdefault(value, f"%{len(self.values)}")
        self.blocks: dict[Block, str] = {}
        taken: set[str] = set()
        for block in function.blocks:
            name, number = block.name, 0
            while name in taken:
                number += 1
                name = f"{block.name}.{number}"
            taken.add(name)
            self.blocks[block] = name

    def text(self) -> str:
        f = self.function
        entry = f" {_assignments(f.entry)}" if f.entry else ""
        lines = [f"func {f.name}{self.params(f.params) or '()'}{entry} {{"]
        for i, block in enumerate(f.blocks):
            lines.append(f"{self.blocks[block]}{self.params(block.params) if i else ''}:")
            lines += [f"  {self.instr(instr)}" for instr in block.instrs]
        return "\n".join([*lines, "}", ""])

    def params(self, params: Iterable[Value]) -> str:
        inner = ", ".join(f"{self.name(p)}: {p.type}" for p in params)
        return inner and f"({inner})"

    def instr(self, instr: Instr) -> str:
        operands = [self.name(a) for a in instr.args] + [self.edge(e) for e in instr.targets]
        text = " ".join([instr.op, ", ".join(operands)]).rstrip()
        if instr.attrs:
            text += " {" + ", ".join(f"{k}={data(v)}" for k, v in instr.attrs.items()) + "}"
        if instr.result:
            text = f"{self.name(instr.result)} = {text} : {instr.result.type}"
        if self.spans and instr.span:
            line, column = instr.span.source.position(instr.span.start)
            text += f"  ; {line}:{column}"
        return text

    def edge(self, edge: Edge) -> str:
        args = ", ".join(map(self.name, edge.args))
        return self.blocks.get(edge.block, f"{edge.block.name}?") + (args and f"({args})")

    def name(self, value: Value) -> str:
        return self.values.get(value, "%?")


def instruction_text(function: Function) -> dict[Instr, str]:
    """Each instruction as `print_function` shows it: for messages about several of them."""
    printer = _Printer(function, spans=False)
    return {instr: printer.instr(instr) for instr in function.instructions()}


def _definitions(function: Function) -> Iterator[Value]:
    yield from function.params
    for block in function.blocks:
        yield from block.params
        yield from (i.result for i in block.instrs if i.result)


def data(value: Any) -> str:
    """Plain data as text: integers, strings, bytes, None, tuples, dicts, enums, dataclasses."""
    match value:
        case Enum():
            return value.name
        case int() | None:
            return str(value)
        case str():
            return '"' + _escaped(value) + '"'
        case bytes():
            return 'b"' + _escaped(value.decode("latin-1")) + '"'
        case tuple():
            inner = ", ".join(map(data, value))
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case dict():
            return "{" + ", ".join(f"{data(k)}: {data(v)}" for k, v in value.items()) + "}"
    assert is_dataclass(value), value
    parts = []
    for field, default in _shown(value):
        text = data(getattr(value, field.name))
        parts.append(text if default is MISSING else f"{field.name}={text}")
    return f"{type(value).__name__}({', '.join(parts)})"


def _assignments(value: Any, names: tuple[str, ...] | None = None) -> str:
    shown = (f.name for f, _ in _shown(value) if names is None or f.name in names)
    return " ".join(f"{name}={data(getattr(value, name))}" for name in shown)


def _shown(value: Any) -> Iterator[tuple[Field[Any], object]]:
    """The fields that differ from their defaults, with these."""
    for field in fields(value):
        default = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        if default is MISSING or getattr(value, field.name) != default:
            yield field, default


def _escaped(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii").replace('"', '\\"')
