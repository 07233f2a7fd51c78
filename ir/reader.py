"""IR from the text that `printer` writes, or that a test's author does. `#` and `;` start comments.

    module = [ "module" fields ] { "map" fields | "event" fields } { func }
    func   = "func" NAME "(" [ params ] ")" fields "{" { block } "}"
    block  = NAME [ "(" params ")" ] ":" { instr }          params = %N ":" type { "," … }
    instr  = [ %N "=" ] OP [ operand { "," operand } ] [ "{" fields with commas "}" ] [ ":" type ]
    operand = %N | NAME [ "(" %N { "," %N } ")" ]
    fields = { NAME "=" data }                              data: see printer.data

Only the grammar is checked here; `verify` checks what it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NoReturn, TypeVar

from bpfscript import manifest, types
from bpfscript.diagnostics import Diagnostic, ScriptError, Source, Span
from bpfscript.ir.core import Block, Edge, Entry, Function, Instr, Module, Value
from bpfscript.ir.ops import OPS
from bpfscript.ir.types import SPACES, VOID, I, Ptr, Type
from bpfscript.manifest import Event, MapDef, MapType, ProgramType

_TOKEN = re.compile(
    r"""(?P<space>(?:\s|[#;][^\n]*)+)
      | (?P<value>%\d+)
      | (?P<number>-?\d{1,40})
      | (?P<string>b?"(?:[^"\\\n]|\\["\\nrt]|\\x[\da-f]{2}|\\u[\da-f]{4}
                      |\\U00(?:0[\da-f]|10)[\da-f]{4})*")
      | (?P<type>i(?:1|8|16|32|64)\b|ptr<[a-z_]+>)
      | (?P<name>[A-Za-z_][\w.]*)
      | (?P<mark>[=:,(){}])""",
    re.VERBOSE | re.ASCII,
)
_FOLLOWING = re.compile(r"[ \t]*(\S)")

_CLASSES = {
    name: cls
    for module in (types, manifest)
    for name, cls in vars(module).items()
    if isinstance(cls, type) and is_dataclass(cls)
}
_WORDS: dict[str, object] = {
    "None": None,
    "True": True,
    "False": False,
    **MapType.__members__,
    **ProgramType.__members__,
}
_INTEGERS: tuple[Type, ...] = tuple(I(bits) for bits in (1, 8, 16, 32, 64))
_POINTERS: tuple[Type, ...] = tuple(Ptr(space) for space in SPACES)
_TYPES = {str(t): t for t in (*_INTEGERS, *_POINTERS)}

_Record = TypeVar("_Record")


def read_module(text: str, name: str = "ir") -> Module:
    """A module from its text. Raises ScriptError at the first fault in it."""
    reader = _Reader(Source(name, text))
    module = Module()
    while reader.kind != "end":
        word = reader.take("name")
        if word == "module":
            module.warnings = reader.fields_of(Module).warnings
        elif word == "map":
            definition = reader.fields_of(MapDef)
            module.maps[definition.name] = definition
        elif word == "event":
            module.events.append(reader.fields_of(Event))
        elif word == "func":
            module.functions.append(reader.function())
        else:
            reader.fail("expected module, map, event or func", back=True)
    return module


def read_function(text: str, name: str = "ir") -> Function:
    """The only function of a text. Raises ScriptError."""
    reader = _Reader(Source(name, text))
    reader.take("name", "func")
    function = reader.function()
    reader.take("end")
    return function


class _Reader:
    """One token of look-ahead: `kind` and `text`, at `span`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.span = self.last = Span(source, 0, 0)
        self.kind = self.text = ""
        self.values: dict[str, Value] = {}
        self.blocks: dict[str, Block] = {}
        self.missing: dict[str, Span] = {}  # values and blocks used but not yet defined
        self.next()

    def next(self) -> None:
        self.last, end = self.span, self.span.end
        while True:
            match = _TOKEN.match(self.source.text, end)
            if match is None:
                at_end = end == len(self.source.text)
                self.kind, self.text = "end" if at_end else "", ""
                self.span = Span(self.source, end, end if at_end else end + 1)
                if not at_end:
                    self.fail("no token of IR starts here")
                return
            end = match.end()
            if match.lastgroup != "space":
                assert match.lastgroup
                self.kind, self.text = match.lastgroup, match[0]
                self.span = Span(self.source, match.start(), end)
                return

    def fail(self, message: str, *, back: bool = False, span: Span | None = None) -> NoReturn:
        span = span or (self.last if back else self.span)
        raise ScriptError([Diagnostic(message, span)])

    def take(self, kind: str, text: str = "") -> str:
        if self.kind != kind or (text and self.text != text):
            self.fail(f"expected {text or kind}")
        taken = self.text
        self.next()
        return taken

    def accept(self, mark: str) -> bool:
        if self.kind != "mark" or self.text != mark:
            return False
        self.next()
        return True

    def function(self) -> Function:
        self.values, self.blocks, self.missing = {}, {}, {}
        function = Function(self.take("name"), self.params())
        if self.text != "{":
            function.entry = self.fields_of(Entry)
        self.take("mark", "{")
        while not self.accept("}"):
            block = self.define_block(self.take("name"))
            block.params = self.params() if function.blocks else list(function.params)
            function.blocks.append(block)
            self.take("mark", ":")
            while self.kind == "value" or (self.kind == "name" and not self.before(":(")):
                block.instrs.append(self.instr())
        for name, span in self.missing.items():
            self.fail(f"{name} is not defined", span=span)
        return function

    def params(self) -> list[Value]:
        params: list[Value] = []
        for _ in self.optional_items():
            name = self.take("value")
            self.take("mark", ":")
            params.append(self.define_value(name, self.value_type()))
        return params

    def instr(self) -> Instr:
        start, name = self.span, ""
        if self.kind == "value":
            name = self.take("value")
            self.take("mark", "=")
        instr = Instr(self.take("name"))
        if instr.op not in OPS:
            self.fail(f"there is no instruction {instr.op}", back=True)
        while self.kind in ("value", "name"):
            if self.kind == "value":
                instr.args.append(self.use_value())
            else:
                instr.targets.append(self.edge())
            if not self.accept(","):
                break
        if self.text == "{":
            for _ in self.items("{", "}"):
                self.field(instr.attrs)
        if name:
            self.take("mark", ":")
            instr.result = self.define_value(name, self.value_type())
        instr.span = start.to(self.last)
        return instr

    def edge(self) -> Edge:
        edge = Edge(self.use_block(self.take("name")))
        for _ in self.optional_items():
            edge.args.append(self.use_value())
        return edge

    def use_block(self, name: str) -> Block:
        if name not in self.blocks:
            self.blocks[name] = Block(name)
            self.missing[name] = self.last
        return self.blocks[name]

    def define_block(self, name: str) -> Block:
        if name in self.blocks and name not in self.missing:
            self.fail(f"{name} is defined a second time", back=True)
        block = self.use_block(name)
        del self.missing[name]
        return block

    def use_value(self) -> Value:
        name = self.take("value")
        if name not in self.values:
            self.values[name] = Value(VOID)
            self.missing[name] = self.last
        return self.values[name]

    def define_value(self, name: str, type: Type) -> Value:
        if name in self.values and name not in self.missing:
            self.fail(f"{name} is defined a second time", back=True)
        value = self.values.setdefault(name, Value(type))
        value.type = type
        self.missing.pop(name, None)
        return value

    def value_type(self) -> Type:
        text = self.take("type")
        if text not in _TYPES:
            self.fail(f"there is no type {text}", back=True)
        return _TYPES[text]

    def before(self, marks: str) -> bool:
        """Whether one of the marks follows the token at hand."""
        following = _FOLLOWING.match(self.source.text, self.span.end)
        return following is not None and following[1] in marks

    def fields_of(self, cls: type[_Record]) -> _Record:
        """`name=data …`, as far as that goes."""
        start, given = self.last, dict[str, Any]()
        while self.kind == "name" and self.before("="):
            self.field(given)
        return self.made(cls, start, [], given)

    def field(self, given: dict[str, Any], depth: int = 0) -> None:
        name = self.take("name")
        if name in given:
            self.fail(f"{name} is given twice", back=True)
        self.take("mark", "=")
        given[name] = self.data(depth)

    def made(
        self, cls: type[_Record], span: Span, args: list[Any], given: dict[str, Any]
    ) -> _Record:
        try:
            return cls(*args, **given)
        except TypeError:
            record: Any = cls
            names = ", ".join(f.name for f in fields(record))
            self.fail(f"{cls.__name__} has the fields {names}", span=span)

    def data(self, depth: int = 0) -> Any:
        if depth > 50:
            self.fail("data is nested too deep")
        text, span = self.text, self.span
        match self.kind:
            case "number":
                self.next()
                return int(text)
            case "string":
                self.next()
                return _unescaped(text)
            case "name" if text in _WORDS:
                self.next()
                return _WORDS[text]
            case "name" if text in _CLASSES and self.before("("):
                self.next()
                args, given = list[Any](), dict[str, Any]()
                for _ in self.items("(", ")"):
                    if self.kind == "name" and self.before("="):
                        self.field(given, depth + 1)
                    else:
                        args.append(self.data(depth + 1))
                return self.made(_CLASSES[text], span, args, given)
            case "mark" if text == "(":
                return tuple([self.data(depth + 1) for _ in self.items("(", ")")])
            case "mark" if text == "{":
                pairs: dict[Any, Any] = {}
                for _ in self.items("{", "}"):
                    key = self.data(depth + 1)
                    self.take("mark", ":")
                    pairs[key] = self.data(depth + 1)
                return pairs
        self.fail("expected data")

    def optional_items(self) -> Iterator[None]:
        return self.items("(", ")") if self.text == "(" else iter(())

    def items(self, first: str, last: str) -> Iterator[None]:
        """Once for each item between two marks; a comma may follow the last one."""
        self.take("mark", first)
        while not self.accept(last):
            yield
            if not self.accept(","):
                self.take("mark", last)
                return


def _unescaped(token: str) -> str | bytes:
    text = token[token.index('"') + 1 : -1].encode("ascii", "backslashreplace")
    plain = text.decode("unicode_escape")
    return plain.encode("latin-1") if token[0] == "b" else plain
