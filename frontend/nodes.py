"""The syntax tree. Nodes are frozen, know their span, and are compared by identity.

Whatever the checker learns about a node is kept beside the tree (see `typed.py`), never in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bpfscript.diagnostics import Span

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Literal, NoReturn, TypeVar, dataclass_transform

    BinaryOp = Literal[
        "||",
        "&&",
        "|",
        "^",
        "&",
        "==",
        "!=",
        "<",
        ">",
        "<=",
        ">=",
        "<<",
        ">>",
        "+",
        "-",
        "*",
        "/",
        "%",
    ]  # fmt: skip
    N = TypeVar("N", bound="Node")
else:

    def dataclass_transform(**_):
        return lambda cls: cls


@dataclass_transform(eq_default=False, kw_only_default=True, frozen_default=True)
class Frozen:
    """Fields by keyword, set once. Plain classes: generating code for fifty delays every start."""

    fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.fields = (*cls.fields, *cls.__annotations__)

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} node does not change")

    def __repr__(self) -> str:
        values = [(name, getattr(self, name)) for name in self.fields]
        shown = [f"{name}={value!r}" for name, value in values if not isinstance(value, Span)]
        return f"{type(self).__name__}({', '.join(shown)})"


class Node(Frozen):
    span: Span

    @property
    def place(self) -> Span:
        """Where what is said of it points."""
        return self.span


# Types as written


class TypeName(Node):
    """`uint8`, `struct task_struct *`, `string[16]`, `int32*[4]`.

    `suffixes`, left to right: "*" or an array length, None for `[]`.
    """

    name: str
    keyword: Literal["struct", "union", "enum"] | None = None
    suffixes: tuple[Literal["*"] | int | None, ...] = ()


class Typeof(Node):
    of: TypeName | Expr


# Expressions


class Integer(Node):
    value: int
    text: str = ""  # as written


class StringLiteral(Node):
    value: bytes


class Boolean(Node):
    value: bool


class Identifier(Node):
    """A builtin variable, an enum constant, a macro: any bare word."""

    name: str


class Positional(Node):
    """`$1`; `$#` has index 0."""

    index: int


class Variable(Node):
    """`$x`; the name carries its `$`."""

    name: str


class Map(Node):
    """`@x` or `@x[key]`; several keys are one TupleLiteral. The name carries its `@`."""

    name: str
    key: Expr | None = None


class AddressOf(Node):
    of: Variable | Map


class Unary(Node):
    op: Literal["-", "!", "~", "*"]
    operand: Expr


class Increment(Node):
    """`x++`, `--x`. As an expression, prefix gives the new value, postfix the old one."""

    op: Literal["++", "--"]
    prefix: bool
    target: Variable | Map


class Binary(Node):
    op: BinaryOp
    left: Expr
    right: Expr
    op_span: Span


class Ternary(Node):
    """`c ? a : b`; `c ?: b` has no `then`."""

    condition: Expr
    then: Expr | None
    otherwise: Expr


class If(Node):
    """Statement and expression; `otherwise` is a Block or a nested If."""

    condition: Expr
    then: Block
    otherwise: Block | If | None = None


class Block(Node):
    """`{ statements result }`: the last expression without `;` is its value."""

    statements: tuple[Statement, ...]
    result: Expr | None = None


class Inlined(Block):
    """A call of a `fn`, with a copy of its body: what macros.expand makes, no script's text.

    `return` ends this block and sets `returned`, which is its value.
    """

    name: str
    parameters: tuple[tuple[Variable, TypeName | Typeof], ...]
    args: tuple[Expr, ...]
    returns: TypeName | Typeof
    returned: Variable


class Cast(Node):
    to: TypeName | Typeof
    operand: Expr

    @property
    def place(self) -> Span:
        """`(type)`."""
        return Span(self.span.source, self.span.start, self.to.span.end, self.span.origin).through(
            ")"
        )


class Call(Node):
    name: str
    args: tuple[Expr | TypeName | Typeof, ...]
    name_span: Span


class FieldAccess(Node):
    """`e.name` and `e->name`. `e.0` has a decimal name: a tuple element."""

    operand: Expr
    name: str
    name_span: Span


class Index(Node):
    operand: Expr
    index: Expr


class TupleLiteral(Node):
    elements: tuple[Expr, ...]


class RecordLiteral(Node):
    names: tuple[str, ...]
    elements: tuple[Expr, ...]


class Sizeof(Node):
    of: TypeName | Typeof | Expr


class Offsetof(Node):
    of: TypeName | Typeof | Expr
    path: tuple[str, ...]


class Typeinfo(Node):
    of: TypeName | Typeof | Expr


class Comptime(Node):
    operand: Expr


Expr = (
    Integer | StringLiteral | Boolean | Identifier | Positional | Variable | Map | AddressOf | Unary
    | Increment | Binary | Ternary | If | Block | Cast | Call | FieldAccess | Index | TupleLiteral
    | RecordLiteral | Sizeof | Offsetof | Typeinfo | Comptime
)  # fmt: skip


# Statements


class Let(Node):
    """`let $x: type = value;`"""

    variable: Variable
    type: TypeName | Typeof | None = None
    value: Expr | None = None


class Assign(Node):
    """`target = value`, `target op= value` (op without its `=`)."""

    target: Variable | Map
    op: BinaryOp | None
    value: Expr

    @property
    def operation(self) -> Span:
        """`op= value`."""
        source, end = self.span.source, self.value.span.end
        after = source.text[self.target.span.end : end]
        return Span(source, end - len(after.lstrip()), end, self.span.origin)


class Discard(Node):
    """`_ = value;`"""

    value: Expr


class ExprStatement(Node):
    value: Expr


class While(Node):
    condition: Expr
    body: Block


class Unroll(Node):
    count: Expr
    body: Block


class Range(Node):
    start: Expr
    end: Expr


class For(Node):
    variable: Variable
    over: Range | Map
    body: Block


class Break(Node):
    pass


class Continue(Node):
    pass


class Return(Node):
    value: Expr | None = None


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


class AttachPoint(Node):
    """Raw text of one attach point, quotes and escapes still in it; LANGUAGE §1.4."""

    text: str


class Probe(Node):
    attach_points: tuple[AttachPoint, ...]
    predicate: Expr | None
    body: Block


class ConfigEntry(Node):
    key: str
    value: str | int | bool


class Config(Node):
    entries: tuple[ConfigEntry, ...]


class CDefinition(Node):
    """A preprocessor line or a struct/union/enum definition, as text."""

    text: str


class MapDeclaration(Node):
    """`let @x = hash(100);`"""

    name: str
    kind: str
    entries: int


class Macro(Node):
    """`macro name($v, @m, expr) { … }`"""

    name: str
    parameters: tuple[Variable | Map | Identifier, ...]
    body: Block


class Function(Node):
    """`fn name($a: int64): void { … }`"""

    name: str
    parameters: tuple[tuple[Variable, TypeName | Typeof], ...]
    returns: TypeName | Typeof
    body: Block


Item = Probe | Macro | Function | MapDeclaration


class Program(Node):
    shebang: str | None
    c_definitions: tuple[CDefinition, ...]
    config: Config | None
    imports: tuple[Import, ...]
    items: tuple[Item, ...]


def rebuild(node: N, change: Callable[[Node], Node], place: Callable[[Span], Span]) -> N:
    """A copy of a node: `change` makes the nodes directly inside, `place` its spans."""
    made: dict[str, Any] = {}
    for name in node.fields:
        value = getattr(node, name)
        if isinstance(value, Node):
            value = change(value)
        elif isinstance(value, tuple):
            value = _each(value, change)
        elif isinstance(value, Span):
            value = place(value)
        made[name] = value
    return type(node)(**made)


def _each(value: object, change: Callable[[Node], Node]) -> object:
    if isinstance(value, tuple):
        return tuple([_each(inner, change) for inner in value])
    return change(value) if isinstance(value, Node) else value


def evolve(node: N, **changes: object) -> N:
    """A copy with other values in some fields."""
    made: dict[str, Any] = {name: getattr(node, name) for name in node.fields}
    return type(node)(**(made | changes))


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

    for name in node.fields:
        visit(getattr(node, name))
    return found


def walk(node: Node) -> Iterator[Node]:
    """The node and all inside of it."""
    yield node
    for child in children(node):
        yield from walk(child)
