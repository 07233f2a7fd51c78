"""Expressions and types → documents: which parentheses a formatted script has."""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.frontend import nodes
from bpfscript.frontend.layout import Chain, Choice, Doc, List, Row, flat
from bpfscript.frontend.lexer import TYPED
from bpfscript.frontend.nodes import Expr
from bpfscript.frontend.printer import COMPOUND, type_text
from bpfscript.frontend.tree import PRECEDENCE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.frontend.layout import Style

COMPARISONS = ("==", "!=", "<", ">", "<=", ">=")
LOGICAL = ("&&", "||")
LONG = 16  # operators in a row
# Without parentheses where a condition stands; everything else has them.
PLAIN = (
    nodes.Integer | nodes.StringLiteral | nodes.Boolean | nodes.Identifier | nodes.Variable
    | nodes.Positional | nodes.Map | nodes.Call | nodes.FieldAccess | nodes.Index
    | nodes.Sizeof | nodes.Offsetof | nodes.Typeinfo | nodes.Comptime
)  # fmt: skip

Inspected = nodes.TypeName | nodes.Typeof | Expr


class Expressions:
    """code: makes the document of a block or an `if`."""

    def __init__(self, code: Callable[[nodes.Block | nodes.If], Doc]) -> None:
        self._code = code

    def of(self, node: Expr) -> Doc:
        match node:
            case nodes.Integer():
                return node.text or str(node.value)
            case nodes.StringLiteral():
                return node.span.text
            case nodes.Boolean():
                return "true" if node.value else "false"
            case nodes.Identifier() | nodes.Variable():
                return node.name
            case nodes.Positional():
                return f"${node.index or '#'}"
            case nodes.Map():
                return self._map(node)
            case nodes.Block() | nodes.If():
                return self._code(node)
            case nodes.Call():
                return self._list(f"{node.name}(", node.args, ")")
            case nodes.FieldAccess():
                return Row((self.operand(node.operand), f".{node.name}"))
            case nodes.Index():
                return self._index(node)
            case nodes.TupleLiteral():
                return self._list("(", node.elements, ",)" if len(node.elements) == 1 else ")")
            case nodes.RecordLiteral():
                fields = zip(node.names, map(self.of, node.elements), strict=True)
                items = tuple(Row((f"{name}=", value)) for name, value in fields)
                return List("(", items, ")", "record")
            case nodes.Sizeof():
                return Row(("sizeof(", self._inspected(node.of), ")"))
            case nodes.Typeinfo():
                return Row(("typeinfo(", self._inspected(node.of), ")"))
            case nodes.Offsetof():
                return Row(("offsetof(", self._inspected(node.of), f", {'.'.join(node.path)})"))
            case _:
                return self._operation(node)

    def operand(self, node: Expr) -> Doc:
        """In parentheses if it has parts."""
        doc = self.of(node)
        return Row(("(", doc, ")")) if isinstance(node, COMPOUND) else doc

    def condition(self, node: Expr) -> Doc:
        """What follows `if` or `while`."""
        doc = self.of(node)
        if isinstance(node, PLAIN) and not (flat(doc) or "(").startswith("("):
            return doc
        return Row(("(", doc, ")"))

    def type(self, node: nodes.TypeName | nodes.Typeof) -> Doc:
        if isinstance(node, nodes.TypeName):
            return type_text(node)
        return Row(("typeof(", self._inspected(node.of), ")"))

    def _list(
        self, open: str, items: tuple[Inspected, ...], close: str, style: Style = "aligned"
    ) -> List:
        return List(open, tuple(map(self._argument, items)), close, style)

    def _argument(self, node: Inspected) -> Doc:
        if isinstance(node, nodes.TypeName | nodes.Typeof):
            return self.type(node)
        return self.of(node)

    def _map(self, node: nodes.Map) -> Doc:
        if node.key is None:
            return node.name
        keys: tuple[Expr, ...] = (node.key,)
        if isinstance(node.key, nodes.TupleLiteral) and len(node.key.elements) > 1:
            keys = node.key.elements
        return self._list(f"{node.name}[", keys, "]", "block")

    def _index(self, node: nodes.Index) -> Doc:
        base = self.operand(node.operand)
        if isinstance(node.operand, nodes.Map) and node.operand.key is None:
            base = Row(("(", base, ")"))  # else it were an element of the map
        return Row((base, "[", self.of(node.index), "]"))

    def _inspected(self, node: Inspected) -> Doc:
        """An expression that would read as a type is put in parentheses."""
        doc = self._argument(node)
        is_type = isinstance(node, nodes.TypeName | nodes.Typeof)
        if not is_type and TYPED.match(f"{flat(doc) or ''})", 0):
            return Row(("(", doc, ")"))
        return doc

    def _operation(
        self,
        node: nodes.Binary | nodes.Ternary | nodes.Unary | nodes.AddressOf | nodes.Increment
        | nodes.Cast | nodes.Comptime,
    ) -> Doc:  # fmt: skip
        match node:
            case nodes.Binary():
                return self._chain(node)
            case nodes.Ternary():
                then = self.operand(node.then) if node.then else None
                return Choice(self.operand(node.condition), then, self.operand(node.otherwise))
            case nodes.Unary():
                return Row((node.op, self.operand(node.operand)))
            case nodes.AddressOf():
                return Row(("&", self.of(node.of)))
            case nodes.Increment():
                target = self.of(node.target)
                return Row((node.op, target) if node.prefix else (target, node.op))
            case nodes.Cast():
                return Row(("(", self.type(node.to), ")", self.operand(node.operand)))
            case nodes.Comptime():
                return Row(("comptime ", self.operand(node.operand)))

    def _chain(self, node: nodes.Binary) -> Chain:
        """`a && b && c` is one chain, and so is `||`; comparisons in it need no parentheses.

        A long sum has none: each would be a level of nesting, of which there may be only so many.
        """
        spine = [node]
        while isinstance(left := spine[-1].left, nodes.Binary):
            spine.append(left)
        long = len(spine) > LONG
        operands, inner = [self.operand(left)], None
        while spine:
            outer = spine.pop()
            if inner and not (inner.op == outer.op and (long or outer.op in LOGICAL)):
                made: Doc = Chain(tuple(operands), inner.op)
                is_read_so = long and PRECEDENCE[inner.op] >= PRECEDENCE[outer.op]
                plain = is_read_so or _is_test(outer, inner)
                operands = [made if plain else Row(("(", made, ")"))]
            right = outer.right
            operands.append(self.of(right) if _is_test(outer, right) else self.operand(right))
            inner = outer
        return Chain(tuple(operands), node.op)


def _is_test(outer: nodes.Binary, node: Expr) -> bool:
    """A comparison as part of a condition."""
    return outer.op in LOGICAL and isinstance(node, nodes.Binary) and node.op in COMPARISONS
