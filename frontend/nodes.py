"""The syntax tree. Nodes are frozen, know their span, and are compared by identity.

Whatever the checker learns about a node is kept beside the tree (see `typed.py`), never in it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar

import attrs
from attrs import field, frozen

from bpfscript.diagnostics import Span


@frozen(eq=False, kw_only=True)
class Node:
    span: Span = field(repr=False)


# Types as written


@frozen(eq=False, kw_only=True)
class TypeName(Node):
    """`uint8`, `struct task_struct *`, `string[16]`, `int32*[4]`.

    `suffixes`, left to right: "*" or an array length, None for `[]`.
    """

    name: str
    keyword: Literal["struct", "union", "enum"] | None = None
    suffixes: tuple[Literal["*"] | int | None, ...] = ()


@frozen(eq=False, kw_only=True)
class Typeof(Node):
    of: TypeName | Expr


# Expressions


@frozen(eq=False, kw_only=True)
class Integer(Node):
    value: int
    text: str = ""  # as written


@frozen(eq=False, kw_only=True)
class StringLiteral(Node):
    value: bytes


@frozen(eq=False, kw_only=True)
class Boolean(Node):
    value: bool


@frozen(eq=False, kw_only=True)
class Identifier(Node):
    """A builtin variable, an enum constant, a macro: any bare word."""

    name: str


@frozen(eq=False, kw_only=True)
class Positional(Node):
    """`$1`; `$#` has index 0."""

    index: int


@frozen(eq=False, kw_only=True)
class Variable(Node):
    """`$x`; the name carries its `$`."""

    name: str


@frozen(eq=False, kw_only=True)
class Map(Node):
    """`@x` or `@x[key]`; several keys are one TupleLiteral. The name carries its `@`."""

    name: str
    key: Expr | None = None


@frozen(eq=False, kw_only=True)
class AddressOf(Node):
    of: Variable | Map


@frozen(eq=False, kw_only=True)
class Unary(Node):
    op: Literal["-", "!", "~", "*"]
    operand: Expr


@frozen(eq=False, kw_only=True)
class Increment(Node):
    """`x++`, `--x`. As an expression, prefix gives the new value, postfix the old one."""

    op: Literal["++", "--"]
    prefix: bool
    target: Variable | Map


BinaryOp = Literal[
    "||", "&&", "|", "^", "&", "==", "!=", "<", ">", "<=", ">=", "<<", ">>", "+", "-", "*", "/", "%"
]


@frozen(eq=False, kw_only=True)
class Binary(Node):
    op: BinaryOp
    left: Expr
    right: Expr
    op_span: Span = field(repr=False)


@frozen(eq=False, kw_only=True)
class Ternary(Node):
    """`c ? a : b`; `c ?: b` has no `then`."""

    condition: Expr
    then: Expr | None
    otherwise: Expr


@frozen(eq=False, kw_only=True)
class If(Node):
    """Statement and expression; `otherwise` is a Block or a nested If."""

    condition: Expr
    then: Block
    otherwise: Block | If | None = None


@frozen(eq=False, kw_only=True)
class Block(Node):
    """`{ statements result }`: the last expression without `;` is its value."""

    statements: tuple[Statement, ...]
    result: Expr | None = None


@frozen(eq=False, kw_only=True)
class Cast(Node):
    to: TypeName | Typeof
    operand: Expr


@frozen(eq=False, kw_only=True)
class Call(Node):
    name: str
    args: tuple[Expr | TypeName | Typeof, ...]
    name_span: Span = field(repr=False)


@frozen(eq=False, kw_only=True)
class FieldAccess(Node):
    """`e.name` and `e->name`. `e.0` has a decimal name: a tuple element."""

    operand: Expr
    name: str
    name_span: Span = field(repr=False)


@frozen(eq=False, kw_only=True)
class Index(Node):
    operand: Expr
    index: Expr


@frozen(eq=False, kw_only=True)
class TupleLiteral(Node):
    elements: tuple[Expr, ...]


@frozen(eq=False, kw_only=True)
class RecordLiteral(Node):
    names: tuple[str, ...]
    elements: tuple[Expr, ...]


@frozen(eq=False, kw_only=True)
class Sizeof(Node):
    of: TypeName | Typeof | Expr


@frozen(eq=False, kw_only=True)
class Offsetof(Node):
    of: TypeName | Typeof | Expr
    path: tuple[str, ...]


@frozen(eq=False, kw_only=True)
class Typeinfo(Node):
    of: TypeName | Typeof | Expr


@frozen(eq=False, kw_only=True)
class Comptime(Node):
    operand: Expr


Expr = (
    Integer | StringLiteral | Boolean | Identifier | Positional | Variable | Map | AddressOf | Unary
    | Increment | Binary | Ternary | If | Block | Cast | Call | FieldAccess | Index | TupleLiteral
    | RecordLiteral | Sizeof | Offsetof | Typeinfo | Comptime
)  # fmt: skip


# Statements


@frozen(eq=False, kw_only=True)
class Let(Node):
    """`let $x: type = value;`"""

    variable: Variable
    type: TypeName | Typeof | None = None
    value: Expr | None = None


@frozen(eq=False, kw_only=True)
class Assign(Node):
    """`target = value`, `target op= value` (op without its `=`)."""

    target: Variable | Map
    op: BinaryOp | None
    value: Expr


@frozen(eq=False, kw_only=True)
class Discard(Node):
    """`_ = value;`"""

    value: Expr


@frozen(eq=False, kw_only=True)
class ExprStatement(Node):
    value: Expr


@frozen(eq=False, kw_only=True)
class While(Node):
    condition: Expr
    body: Block


@frozen(eq=False, kw_only=True)
class Unroll(Node):
    count: Expr
    body: Block


@frozen(eq=False, kw_only=True)
class Range(Node):
    start: Expr
    end: Expr


@frozen(eq=False, kw_only=True)
class For(Node):
    variable: Variable
    over: Range | Map
    body: Block


@frozen(eq=False, kw_only=True)
class Break(Node):
    pass


@frozen(eq=False, kw_only=True)
class Continue(Node):
    pass


@frozen(eq=False, kw_only=True)
class Return(Node):
    value: Expr | None = None


@frozen(eq=False, kw_only=True)
class Import(Node):
    path: str


Statement = (
    Let
    | Assign
    | Discard
    | ExprStatement
    | While
    | Unroll
    | For
    | Break
    | Continue
    | Return
    | Import
)


# Items


@frozen(eq=False, kw_only=True)
class AttachPoint(Node):
    """Raw text of one attach point, quotes and escapes still in it; LANGUAGE §1.4."""

    text: str


@frozen(eq=False, kw_only=True)
class Probe(Node):
    attach_points: tuple[AttachPoint, ...]
    predicate: Expr | None
    body: Block


@frozen(eq=False, kw_only=True)
class ConfigEntry(Node):
    key: str
    value: str | int | bool


@frozen(eq=False, kw_only=True)
class Config(Node):
    entries: tuple[ConfigEntry, ...]


@frozen(eq=False, kw_only=True)
class CDefinition(Node):
    """A preprocessor line or a struct/union/enum definition, as text."""

    text: str


@frozen(eq=False, kw_only=True)
class MapDeclaration(Node):
    """`let @x = hash(100);`"""

    name: str
    kind: str
    entries: int


@frozen(eq=False, kw_only=True)
class Macro(Node):
    """`macro name($v, @m, expr) { … }`"""

    name: str
    parameters: tuple[Variable | Map | Identifier, ...]
    body: Block


@frozen(eq=False, kw_only=True)
class Function(Node):
    """`fn name($a: int64): void { … }`"""

    name: str
    parameters: tuple[tuple[Variable, TypeName | Typeof], ...]
    returns: TypeName | Typeof
    body: Block


Item = Probe | Macro | Function | MapDeclaration


@frozen(eq=False, kw_only=True)
class Program(Node):
    shebang: str | None
    c_definitions: tuple[CDefinition, ...]
    config: Config | None
    imports: tuple[Import, ...]
    items: tuple[Item, ...]


N = TypeVar("N", bound=Node)


def rebuild(node: N, change: Callable[[Node], Node], place: Callable[[Span], Span]) -> N:
    """A copy of a node: `change` makes the nodes directly inside, `place` its spans."""
    made: dict[str, Any] = {}
    for a in attrs.fields(type(node)):
        value = getattr(node, a.name)
        if isinstance(value, Node):
            value = change(value)
        elif isinstance(value, tuple):
            value = _each(value, change)
        elif isinstance(value, Span):
            value = place(value)
        made[a.name] = value
    return type(node)(**made)


def _each(value: object, change: Callable[[Node], Node]) -> object:
    if isinstance(value, tuple):
        return tuple(map(partial(_each, change=change), value))
    return change(value) if isinstance(value, Node) else value


def clone(node: N) -> N:
    """A copy that shares no node with the original: for checking one body in two contexts."""
    return rebuild(node, _clone, lambda span: span)


def _clone(node: Node) -> Node:
    return rebuild(node, _clone, lambda span: span)


def children(node: Node) -> list[Node]:
    """The nodes directly inside, in source order of the fields."""
    found: list[Node] = []

    def visit(value: object) -> None:
        if isinstance(value, Node):
            found.append(value)
        elif isinstance(value, tuple):
            for inner in value:
                visit(inner)

    for a in attrs.fields(type(node)):
        visit(getattr(node, a.name))
    return found
