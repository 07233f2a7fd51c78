"""A script in its standard form: comments and blank lines kept, the tree the same.

What a probe, a loop or a function ends with is of no use to anybody, and becomes a statement.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial

from bpfscript.diagnostics import Source
from bpfscript.frontend import nodes, printer
from bpfscript.frontend.comments import Comments, Part
from bpfscript.frontend.format_expressions import Expressions
from bpfscript.frontend.layout import Code, Doc, List, Row, flat, lay
from bpfscript.frontend.lexer import GAP
from bpfscript.frontend.nodes import Expr, Node
from bpfscript.frontend.parser import MAX_DEPTH, parse

FRAMES = 20  # calls that a level of the tree takes at most
LAST_WORD = re.compile(rf'("(?:[^"\\]|\\.)*"|\w+){GAP};?\Z', re.ASCII)
SIGNED = nodes.Unary | nodes.AddressOf | nodes.Increment  # may begin with an operator


def format(source: Source) -> str:
    """The script's text in standard form. Raises ScriptError."""
    tree, limit = parse(source), sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, FRAMES * MAX_DEPTH))
    try:
        return _Formatter(source).program(tree)
    finally:
        sys.setrecursionlimit(limit)


class _Formatter:
    def __init__(self, source: Source) -> None:
        self.text = source.text
        self.comments = Comments(source.text)
        self.expressions = Expressions(self._value)

    def program(self, node: nodes.Program) -> str:
        items: list[Node] = [*node.c_definitions, *node.imports, *node.items]
        if node.config:
            items.append(node.config)
        items.sort(key=lambda item: item.span.start)
        parts = [_part(item, partial(self._item, item)) for item in items]
        lines = [] if node.shebang is None else [node.shebang]
        self.comments.interleave(lines, parts, 0, len(self.text), 0)
        return "".join(f"{line}\n" for line in lines)

    # Items

    def _item(self, node: Node, indent: int) -> str:
        match node:
            case nodes.Config():
                return self._config(node)
            case nodes.Macro():
                parameters = tuple(map(self.expressions.of, node.parameters))
                head = lay(List(f"macro {node.name}(", parameters, ")"), 0, 0)
                return f"{head}\n{self._body(node.body, indent, void=False)}"
            case nodes.Function():
                parameters = tuple(
                    Row((f"{variable.name} : ", self.expressions.type(type)))
                    for variable, type in node.parameters
                )
                returns = Row((" : ", self.expressions.type(node.returns)))
                head = lay(Row((List(f"fn {node.name}(", parameters, ")"), returns)), 0, 0)
            case nodes.Probe():
                head = ",\n".join(point.text for point in node.attach_points)
                if node.predicate is not None:
                    test = lay(self.expressions.of(node.predicate), 1, 0, 1)
                    blank = " " if test.startswith("*") else ""  # `/*` begins a comment
                    head += f"\n/{blank}{test}/"
            case _:
                return printer.show(node)
        return f"{head}\n{self._body(node.body, indent)}"

    def _config(self, node: nodes.Config) -> str:
        def text(entry: nodes.ConfigEntry, indent: int) -> str:
            value = LAST_WORD.search(entry.span.text)
            assert value
            return f"{entry.key} = {value[1]};"

        parts = [_part(entry, partial(text, entry)) for entry in node.entries]
        begin = self.text.index("{", node.span.start)
        return f"config = {self.comments.braces(parts, begin, node.span.end, 0)}"

    # Blocks

    def _body(self, node: nodes.Block, indent: int, *, void: bool = True) -> str:
        """Over several lines. void: what it ends with becomes a statement."""
        statements: list[nodes.Statement | Expr] = list(node.statements)
        if node.result is not None:
            statements.append(node.result)
        parts = []
        for position, part in enumerate(statements):
            last = position == len(statements) - 1
            following = None if last else statements[position + 1]
            parts.append(_part(part, partial(self._laid, part, following, void)))
        return self.comments.braces(parts, node.span.start, node.span.end, indent)

    def _laid(
        self,
        node: nodes.Statement | Expr,
        following: nodes.Statement | Expr | None,
        void: bool,
        indent: int,
    ) -> str:
        doc, end = self._line(node, following, void)
        return lay(doc, indent, indent) + end

    def _line(
        self, node: nodes.Statement | Expr, following: nodes.Statement | Expr | None, void: bool
    ) -> tuple[Doc, str]:
        """A statement or the result of a block, and its `;`. void: of a block that has no value."""
        value = node.value if isinstance(node, nodes.ExprStatement) else node
        if isinstance(value, nodes.If | nodes.Block):
            if following is None and void:
                return self._code(value, void=True), ""
            # else it were the value of this block, or an operand of what follows
            closed = value is not node and (following is None or _is_signed(following))
            return self._value(value), ";" if closed else ""
        if isinstance(node, Expr):
            return self.expressions.of(node), ";" if void else ""
        is_loop = isinstance(node, nodes.While | nodes.Unroll | nodes.For)
        return self._statement(node), "" if is_loop else ";"

    def _value(self, node: nodes.Block | nodes.If) -> Code:
        return self._code(node, void=False)

    def _code(self, node: nodes.Block | nodes.If, *, void: bool) -> Code:
        if isinstance(node, nodes.Block):
            return Code(
                self._flat_block(node, void),
                lambda column, indent: self._body(node, indent, void=void),
            )
        return Code(
            None if void else self._flat_if(node),
            lambda column, indent: self._if(node, column, indent, void),
        )

    def _flat_block(self, node: nodes.Block, void: bool = False) -> str | None:
        """On one line, if it has at most one part and no comment."""
        parts = [*node.statements, *([node.result] if node.result else [])]
        if len(parts) > 1 or self.comments.inside(node.span):
            return None
        if not parts:
            return "{}"
        doc, end = self._line(parts[0], None, void)
        text = flat(doc)
        return None if text is None else f"{{ {text}{end} }}"

    def _flat_if(self, node: nodes.If) -> str | None:
        """On one line, if it is a choice between two values."""
        if node.then.statements or not isinstance(node.otherwise, nodes.Block):
            return None
        test = flat(self.expressions.condition(node.condition))
        then, otherwise = self._flat_block(node.then), self._flat_block(node.otherwise)
        if None in (test, then, otherwise) or then == "{}":
            return None
        return f"if {test} {then} else {otherwise}"

    def _if(self, node: nodes.If, column: int, indent: int, void: bool) -> str:
        """An `else if` chain is one loop here, however long."""
        text = ""
        while True:
            at = column + len("if ") if not text else indent + len("} else if ")
            test = lay(self.expressions.condition(node.condition), at, indent, len(" {"))
            text += f"if {test} {self._body(node.then, indent, void=void)}"
            if node.otherwise is None:
                return text
            text += " else "
            if isinstance(node.otherwise, nodes.Block):
                return text + self._body(node.otherwise, indent, void=void)
            node = node.otherwise

    # Statements

    def _statement(self, node: nodes.Statement) -> Doc:
        of = self.expressions.of
        match node:
            case nodes.Let():
                type = Row((" : ", self.expressions.type(node.type))) if node.type else ""
                value = Row((" = ", of(node.value))) if node.value else ""
                return Row((f"let {node.variable.name}", type, value))
            case nodes.Assign():
                return Row((of(node.target), f" {node.op or ''}= ", of(node.value)))
            case nodes.Discard():
                return Row(("_ = ", of(node.value)))
            case nodes.ExprStatement():
                return of(node.value)
            case nodes.Return() if node.value:
                return Row(("return ", of(node.value)))
            case nodes.While():
                test = self.expressions.condition(node.condition)
                return self._loop(Row(("while ", test)), node.body)
            case nodes.Unroll():
                return self._loop(Row(("unroll (", of(node.count), ")")), node.body)
            case nodes.For(over=nodes.Range() as over):
                ends = (self.expressions.operand(over.start), self.expressions.operand(over.end))
                head = Row((f"for {node.variable.name} : ", ends[0], "..", ends[1]))
                return self._loop(head, node.body)
            case nodes.For(over=nodes.Map() as map):
                return self._loop(Row((f"for {node.variable.name} : ", of(map))), node.body)
            case _:
                return printer.statement(node).removesuffix(";")

    def _loop(self, head: Doc, body: nodes.Block) -> Doc:
        empty = not (body.statements or body.result or self.comments.inside(body.span))
        code = Code("{}" if empty else None, lambda _, indent: self._body(body, indent))
        return Row((head, " ", code))


def _part(node: Node, text: Callable[[int], str]) -> Part:
    head = _first_block(node)
    return Part(node.span.start, node.span.end, head or node.span.end, text)


def _first_block(node: Node) -> int:
    """Where the first block in a node begins; 0 if there is none."""
    if isinstance(node, nodes.Block):
        return node.span.start
    return next((at for inner in nodes.children(node) if (at := _first_block(inner))), 0)


def _is_signed(node: Node) -> bool:
    """Whether a statement begins with an operator that could as well stand between operands."""
    value = node.value if isinstance(node, nodes.ExprStatement) else node
    return isinstance(value, SIGNED)
