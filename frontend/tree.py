"""From reductions to nodes: one method for each action of `grammar.lark`, children in its order."""

from __future__ import annotations

from bpfscript.diagnostics import Diagnostic, ScriptError, Span
from bpfscript.frontend import nodes
from bpfscript.frontend.lexer import BUILTINS, Token
from bpfscript.frontend.nodes import Expr
from bpfscript.plain import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, NoReturn, TypeVar

    Suffix = Literal["*"] | int | None

    T = TypeVar("T")

PRECEDENCE = {
    operator: level
    for level, operators in enumerate(
        ("||", "&&", "|", "^", "&", "== !=", "< > <= >=", "<< >>", "+ -", "* / %")
    )
    for operator in operators.split()
}
IMMUTABLE = (
    "Tuples and records are immutable once created. "
    "Consider creating a new value and assigning it instead."
)

AnyType = nodes.TypeName | nodes.Typeof
Inspected = nodes.TypeName | nodes.Typeof | Expr


@dataclass(slots=True)
class Operator:
    text: str
    span: Span


@dataclass(slots=True)
class Chain:
    """`a + b * c …` before its operators are grouped."""

    operands: list[Expr]
    operators: list[Operator]


@dataclass(slots=True)
class Result:
    """The last expression of a block, without `;`."""

    value: Expr


def fail(span: Span, message: str) -> NoReturn:
    raise ScriptError([Diagnostic(f"syntax: {message}", span)])


class Builder:
    """Methods take the span of the reduction and its children."""

    # Leaves

    def token_text(self, span: Span, token: Token) -> str:
        return token.text

    def string_text(self, span: Span, token: Token) -> str:
        assert isinstance(token.value, bytes)
        return token.value.decode("utf-8", "surrogateescape")

    def number(self, span: Span, token: Token) -> int:
        assert isinstance(token.value, int)
        return token.value

    def yes(self, span: Span) -> bool:
        return True

    def no(self, span: Span) -> bool:
        return False

    def operator(self, span: Span, token: Token) -> Operator:
        return Operator(token.text, span)

    unary_operator = increment_operator = record_name = operator

    def field_name(self, span: Span, token: Token) -> Operator:
        return Operator(str(token.value) if token.kind == "INT" else token.text, span)

    def type_keyword(self, span: Span, token: Token) -> Token:
        return token

    def import_end(self, span: Span) -> None:
        return None

    def group(self, span: Span, inner: T) -> T:
        return inner

    # Items

    def program(
        self,
        span: Span,
        shebang: Token | None,
        *parts: nodes.CDefinition | nodes.Config | nodes.Import | nodes.Item,
    ) -> nodes.Program:
        configs = [part for part in parts if isinstance(part, nodes.Config)]
        if len(configs) > 1:
            start = configs[1].span.start
            fail(Span(span.source, start, start + len("config")), "duplicate config block")
        return nodes.Program(
            span=span,
            shebang=shebang.text if shebang else None,
            c_definitions=tuple(part for part in parts if isinstance(part, nodes.CDefinition)),
            config=configs[0] if configs else None,
            imports=tuple(part for part in parts if isinstance(part, nodes.Import)),
            items=tuple(part for part in parts if isinstance(part, nodes.Item)),
        )

    def c_definition(self, span: Span, token: Token) -> nodes.CDefinition:
        return nodes.CDefinition(span=span, text=token.text)

    def config(self, span: Span, *entries: nodes.ConfigEntry) -> nodes.Config:
        return nodes.Config(span=span, entries=entries)

    def config_entry(self, span: Span, key: str, value: str | int | bool) -> nodes.ConfigEntry:
        return nodes.ConfigEntry(span=span, key=key, value=value)

    def import_(self, span: Span, path: str, end: None) -> nodes.Import:
        return nodes.Import(span=span, path=path)

    def probe(
        self,
        span: Span,
        points: tuple[nodes.AttachPoint, ...],
        predicate: Expr | None,
        body: nodes.Block,
    ) -> nodes.Probe:
        return nodes.Probe(span=span, attach_points=points, predicate=predicate, body=body)

    def attach_points(
        self, span: Span, *points: nodes.AttachPoint
    ) -> tuple[nodes.AttachPoint, ...]:
        return points

    def attach_point(self, span: Span, token: Token) -> nodes.AttachPoint:
        return nodes.AttachPoint(span=span, text=token.text)

    def macro(
        self,
        span: Span,
        name: str,
        parameters: tuple[nodes.Variable | nodes.Map | nodes.Identifier, ...],
        body: nodes.Block,
    ) -> nodes.Macro:
        return nodes.Macro(span=span, name=name, parameters=parameters, body=body)

    def macro_parameters(self, span: Span, *parameters: T) -> tuple[T, ...]:
        return parameters

    function_parameters = macro_parameters

    def parameter(self, span: Span, token: Token) -> nodes.Identifier:
        if token.text in BUILTINS:
            fail(span, f"builtin '{token.text}' can't be used as a macro argument")
        return nodes.Identifier(span=span, name=token.text)

    def function(
        self,
        span: Span,
        name: str,
        parameters: tuple[tuple[nodes.Variable, AnyType], ...],
        returns: AnyType,
        body: nodes.Block,
    ) -> nodes.Function:
        return nodes.Function(
            span=span, name=name, parameters=parameters, returns=returns, body=body
        )

    def function_parameter(
        self, span: Span, variable: nodes.Variable, type: AnyType
    ) -> tuple[nodes.Variable, AnyType]:
        return variable, type

    def map_declaration(
        self, span: Span, name: str, kind: str, entries: int
    ) -> nodes.MapDeclaration:
        return nodes.MapDeclaration(span=span, name=name, kind=kind, entries=entries)

    # Statements

    def block(self, span: Span, *parts: Any) -> nodes.Block:
        if parts and isinstance(last := parts[-1], Result):
            return nodes.Block(span=span, statements=parts[:-1], result=last.value)
        return nodes.Block(span=span, statements=parts)

    def result(self, span: Span, value: Expr) -> Result:
        return Result(value)

    def expression_statement(self, span: Span, value: Expr) -> nodes.ExprStatement:
        return nodes.ExprStatement(span=value.span, value=value)

    def let(
        self, span: Span, variable: nodes.Variable, type: AnyType | None, value: Expr | None
    ) -> nodes.Let:
        return nodes.Let(span=span, variable=variable, type=type, value=value)

    def assign(self, span: Span, target: nodes.Variable | nodes.Map, value: Expr) -> nodes.Assign:
        return nodes.Assign(span=span, target=target, op=None, value=value)

    def compound_assign(
        self, span: Span, target: nodes.Variable | nodes.Map, token: Token, value: Expr
    ) -> nodes.Assign:
        op: Any = token.text[:-1]
        return nodes.Assign(span=span, target=target, op=op, value=value)

    def assign_field(self, span: Span, target: Expr, value: Expr) -> NoReturn:
        fail(span, IMMUTABLE)

    def assign_element(self, span: Span, target: Expr, value: Expr) -> NoReturn:
        fail(span, "invalid assignment target")

    def discard(self, span: Span, value: Expr) -> nodes.Discard:
        return nodes.Discard(span=span, value=value)

    def break_(self, span: Span) -> nodes.Break:
        return nodes.Break(span=span)

    def continue_(self, span: Span) -> nodes.Continue:
        return nodes.Continue(span=span)

    def return_(self, span: Span, value: Expr | None) -> nodes.Return:
        return nodes.Return(span=span, value=value)

    def while_(self, span: Span, condition: Expr, body: nodes.Block) -> nodes.While:
        return nodes.While(span=span, condition=condition, body=body)

    def unroll(self, span: Span, count: Expr, body: nodes.Block) -> nodes.Unroll:
        return nodes.Unroll(span=span, count=count, body=body)

    def for_(
        self, span: Span, variable: nodes.Variable, over: nodes.Range | Expr, body: nodes.Block
    ) -> nodes.For:
        if isinstance(over, nodes.Range) or (isinstance(over, nodes.Map) and over.key is None):
            return nodes.For(span=span, variable=variable, over=over, body=body)
        start = body.span.start
        fail(Span(span.source, start, start + 1), "expected map or range in for loop")

    def range_(self, span: Span, start: Expr, end: Expr) -> nodes.Range:
        return nodes.Range(span=span, start=start, end=end)

    def if_(
        self,
        span: Span,
        condition: Expr,
        then: nodes.Block,
        otherwise: nodes.Block | nodes.If | None,
    ) -> nodes.If:
        return nodes.If(span=span, condition=condition, then=then, otherwise=otherwise)

    # Operators

    def ternary(self, span: Span, condition: Expr, then: Expr, otherwise: Expr) -> nodes.Ternary:
        return nodes.Ternary(span=span, condition=condition, then=then, otherwise=otherwise)

    def short_ternary(self, span: Span, condition: Expr, otherwise: Expr) -> nodes.Ternary:
        return nodes.Ternary(span=span, condition=condition, then=None, otherwise=otherwise)

    def chain(self, span: Span, left: Expr | Chain, operator: Operator, right: Expr) -> Chain:
        chain = left if isinstance(left, Chain) else Chain([left], [])
        chain.operands.append(right)
        chain.operators.append(operator)
        return chain

    def binary(self, span: Span, chain: Expr | Chain) -> Expr:
        """Groups a chain: the operator-precedence method with two stacks."""
        if not isinstance(chain, Chain):
            return chain
        operands, waiting = chain.operands[:1], list[Operator]()

        def combine() -> None:
            op, right, left = waiting.pop(), operands.pop(), operands.pop()
            symbol: Any = op.text
            operands.append(
                nodes.Binary(
                    span=left.span.to(right.span),
                    op=symbol,
                    left=left,
                    right=right,
                    op_span=op.span,
                )
            )

        for operator, operand in zip(chain.operators, chain.operands[1:], strict=True):
            while waiting and PRECEDENCE[waiting[-1].text] >= PRECEDENCE[operator.text]:
                combine()
            waiting.append(operator)
            operands.append(operand)
        while waiting:
            combine()
        return operands[0]

    def unary(self, span: Span, operator: Operator, operand: Expr) -> nodes.Unary:
        op: Any = operator.text
        return nodes.Unary(span=span, op=op, operand=operand)

    def address_of(self, span: Span, of: nodes.Variable | nodes.Map) -> nodes.AddressOf:
        return nodes.AddressOf(span=span, of=of)

    def pre_increment(self, span: Span, operator: Operator, target: Expr) -> nodes.Increment:
        return self._increment(span, operator, target, True, target.span)

    def post_increment(self, span: Span, target: Expr, operator: Operator) -> nodes.Increment:
        return self._increment(span, operator, target, False, operator.span)

    def _increment(
        self, span: Span, operator: Operator, target: Expr, prefix: bool, blame: Span
    ) -> nodes.Increment:
        if not isinstance(target, nodes.Variable | nodes.Map):
            fail(blame, "increment/decrement requires a variable or map")
        op: Any = operator.text
        return nodes.Increment(span=span, op=op, prefix=prefix, target=target)

    def cast(self, span: Span, to: AnyType, operand: Expr) -> nodes.Cast:
        return nodes.Cast(span=span, to=to, operand=operand)

    def comptime(self, span: Span, operand: Expr) -> nodes.Comptime:
        return nodes.Comptime(span=span, operand=operand)

    def field(self, span: Span, operand: Expr, name: Operator) -> nodes.FieldAccess:
        between = span.source.text[operand.span.end : name.span.start]
        if name.text.isdecimal() and "->" in between:
            place = Span(span.source, name.span.start, name.span.start + 1)
            fail(place, "expected field name after '->'")
        return nodes.FieldAccess(span=span, operand=operand, name=name.text, name_span=name.span)

    def index(self, span: Span, operand: Expr, index: Expr) -> nodes.Index:
        return nodes.Index(span=span, operand=operand, index=index)

    # Operands

    def integer(self, span: Span, token: Token) -> nodes.Integer:
        return nodes.Integer(span=span, value=self.number(span, token), text=token.text)

    def string(self, span: Span, token: Token) -> nodes.StringLiteral:
        assert isinstance(token.value, bytes)
        return nodes.StringLiteral(span=span, value=token.value)

    def boolean_true(self, span: Span) -> nodes.Boolean:
        return nodes.Boolean(span=span, value=True)

    def boolean_false(self, span: Span) -> nodes.Boolean:
        return nodes.Boolean(span=span, value=False)

    def identifier(self, span: Span, token: Token) -> nodes.Identifier:
        return nodes.Identifier(span=span, name=token.text)

    def positional(self, span: Span, token: Token) -> nodes.Positional:
        return nodes.Positional(span=span, index=self.number(span, token))

    def variable(self, span: Span, token: Token) -> nodes.Variable:
        return nodes.Variable(span=span, name=token.text)

    def map_(self, span: Span, token: Token, *keys: Expr) -> nodes.Map:
        if len(keys) > 1:
            key: Expr = nodes.TupleLiteral(span=keys[0].span.to(keys[-1].span), elements=keys)
            return nodes.Map(span=span, name=token.text, key=key)
        return nodes.Map(span=span, name=token.text, key=keys[0] if keys else None)

    def call(
        self, span: Span, name: Token, *args: Expr | nodes.TypeName | nodes.Typeof
    ) -> nodes.Call:
        name_span = Span(span.source, name.start, name.end)
        return nodes.Call(span=span, name=name.text, args=args, name_span=name_span)

    def tuple_(self, span: Span, *elements: Expr) -> nodes.TupleLiteral:
        return nodes.TupleLiteral(span=span, elements=elements)

    def record(self, span: Span, *fields: tuple[Operator, Expr]) -> nodes.RecordLiteral:
        names = [name for name, _ in fields]
        for position, name in enumerate(names):
            if any(name.text == earlier.text for earlier in names[:position]):
                blame = name.span.to(fields[position][1].span)
                fail(blame, f"Named argument list already contains name: {name.text}")
        return nodes.RecordLiteral(
            span=span,
            names=tuple(name.text for name in names),
            elements=tuple(value for _, value in fields),
        )

    def record_field(self, span: Span, name: Operator, value: Expr) -> tuple[Operator, Expr]:
        return name, value

    def sizeof(self, span: Span, of: Inspected) -> nodes.Sizeof:
        return nodes.Sizeof(span=span, of=of)

    def typeinfo(self, span: Span, of: Inspected) -> nodes.Typeinfo:
        return nodes.Typeinfo(span=span, of=of)

    def offsetof(self, span: Span, of: Inspected, *path: str) -> nodes.Offsetof:
        return nodes.Offsetof(span=span, of=of, path=path)

    # Types

    def typeof(self, span: Span, of: Inspected) -> nodes.Typeof:
        return of if isinstance(of, nodes.Typeof) else nodes.Typeof(span=span, of=of)

    def type_(self, span: Span, first: str | Token, *rest: Any) -> nodes.TypeName:
        if not isinstance(first, Token):
            return nodes.TypeName(span=span, name=first, suffixes=rest)
        keyword: Any = first.text
        return nodes.TypeName(span=span, name=rest[0], keyword=keyword, suffixes=rest[1:])

    def pointer(self, span: Span) -> Suffix:
        return "*"

    def array(self, span: Span, length: Token | None) -> Suffix:
        return self.number(span, length) if length else None
