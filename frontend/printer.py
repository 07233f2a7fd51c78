"""Nodes → text: the script again (`show`), or its structure (`dump`).

`parse(show(parse(text)))` has the structure of `parse(text)`. Comments are not in the tree.
"""

from __future__ import annotations

from bpfscript.diagnostics import Span
from bpfscript.frontend import nodes
from bpfscript.frontend.lexer import TYPED
from bpfscript.frontend.literals import encode, quote
from bpfscript.frontend.nodes import Expr, Node

INDENT = "  "
# Put in parentheses wherever they are operands.
COMPOUND = (
    nodes.Binary
    | nodes.Ternary
    | nodes.Unary
    | nodes.AddressOf
    | nodes.Increment
    | nodes.Cast
    | nodes.Comptime
    | nodes.If
    | nodes.Block
)


def show(node: Node) -> str:
    """Script text of a program, an item, a statement, an expression or a type."""
    match node:
        case nodes.Program():
            return program(node)
        case nodes.Probe() | nodes.Macro() | nodes.Function() | nodes.MapDeclaration():
            return item(node)
        case nodes.TypeName() | nodes.Typeof():
            return type_text(node)
        case nodes.Config():
            return config(node)
        case nodes.ConfigEntry():
            return config_entry(node)
        case nodes.CDefinition() | nodes.AttachPoint():
            return node.text
        case nodes.Range():
            return f"{operand(node.start)}..{operand(node.end)}"
        case _ if isinstance(node, Expr):
            return expression(node)
        case _:
            assert isinstance(node, nodes.Statement)
            return statement(node)


# Items


def program(node: nodes.Program) -> str:
    parts = [node.shebang] if node.shebang is not None else []
    parts += [definition.text for definition in node.c_definitions]
    if node.config:
        parts.append(config(node.config))
    parts += [statement(entry) for entry in node.imports]
    parts += [item(entry) for entry in node.items]
    return "".join(f"{part}\n" for part in parts)


def config(node: nodes.Config) -> str:
    entries = "".join(f"{INDENT}{config_entry(entry)};\n" for entry in node.entries)
    return f"config = {{\n{entries}}}"


def config_entry(node: nodes.ConfigEntry) -> str:
    match node.value:
        case bool():
            return f"{node.key} = {str(node.value).lower()}"
        case int():
            return f"{node.key} = {node.value}"
        case str():
            return f"{node.key} = {quote(encode(node.value))}"


def item(node: nodes.Item) -> str:
    match node:
        case nodes.MapDeclaration():
            return f"let {node.name} = {node.kind}({node.entries});"
        case nodes.Macro():
            head = f"macro {node.name}({', '.join(map(expression, node.parameters))})"
        case nodes.Function():
            parameters = ", ".join(f"{v.name} : {type_text(t)}" for v, t in node.parameters)
            head = f"fn {node.name}({parameters}) : {type_text(node.returns)}"
        case nodes.Probe():
            head = ", ".join(point.text for point in node.attach_points)
            if node.predicate is not None:
                test = expression(node.predicate)
                blank = " " if test.startswith("*") else ""  # `/*` begins a comment
                head += f" /{blank}{test}/"
    return f"{head}\n{block(node.body)}"


# Statements


def block(node: nodes.Block) -> str:
    """Over several lines, the braces at no indent."""
    lines = [statement(inner) for inner in node.statements]
    for position, inner in enumerate(node.statements):
        last = position == len(lines) - 1
        if last and node.result is not None:
            following = expression(node.result)
        else:
            following = "" if last else lines[position + 1]
        if isinstance(inner, nodes.ExprStatement) and isinstance(
            inner.value, nodes.If | nodes.Block
        ):
            # else it were the value of this block, or an operand of what follows
            lines[position] += ";" if not following or following[0] in "-*&+" else ""
    if node.result is not None:
        lines.append(expression(node.result))
    if not lines:
        return "{}"
    inside = "\n".join(lines).replace("\n", f"\n{INDENT}")
    return f"{{\n{INDENT}{inside}\n}}"


def statement(node: nodes.Statement) -> str:
    """With its `;`, which an `if` or a block does not take."""
    match node:
        case nodes.Let():
            type_ = f" : {type_text(node.type)}" if node.type else ""
            value = f" = {expression(node.value)}" if node.value else ""
            return f"let {node.variable.name}{type_}{value};"
        case nodes.Assign():
            return f"{expression(node.target)} {node.op or ''}= {expression(node.value)};"
        case nodes.Discard():
            return f"_ = {expression(node.value)};"
        case nodes.ExprStatement(value=nodes.If() | nodes.Block()):
            return expression(node.value)
        case nodes.ExprStatement():
            return f"{expression(node.value)};"
        case nodes.While():
            return f"while ({expression(node.condition)}) {block(node.body)}"
        case nodes.Unroll():
            return f"unroll ({expression(node.count)}) {block(node.body)}"
        case nodes.For():
            return f"for ({node.variable.name} : {show(node.over)}) {block(node.body)}"
        case nodes.Break():
            return "break;"
        case nodes.Continue():
            return "continue;"
        case nodes.Return():
            return f"return {expression(node.value)};" if node.value else "return;"
        case nodes.Import():
            return f"import {quote(encode(node.path))};"


# Expressions


def expression(node: Expr) -> str:
    match node:
        case nodes.Integer():
            return node.text or str(node.value)
        case nodes.StringLiteral():
            return quote(node.value)
        case nodes.Boolean():
            return "true" if node.value else "false"
        case nodes.Identifier() | nodes.Variable():
            return node.name
        case nodes.Positional():
            return f"${node.index or '#'}"
        case nodes.Map():
            return node.name if node.key is None else f"{node.name}[{keys(node.key)}]"
        case nodes.Block():
            return block(node)
        case nodes.If():
            return conditional(node)
        case nodes.Call():
            return f"{node.name}({', '.join(map(show, node.args))})"
        case nodes.FieldAccess():
            return f"{operand(node.operand)}.{node.name}"
        case nodes.Index():
            whole_map = isinstance(node.operand, nodes.Map) and node.operand.key is None
            base = f"({show(node.operand)})" if whole_map else operand(node.operand)
            return f"{base}[{expression(node.index)}]"
        case nodes.TupleLiteral():
            comma = "," if len(node.elements) == 1 else ""
            return f"({', '.join(map(expression, node.elements))}{comma})"
        case nodes.RecordLiteral():
            fields = zip(node.names, map(expression, node.elements), strict=True)
            return f"({', '.join(f'{name}={value}' for name, value in fields)})"
        case nodes.Sizeof():
            return f"sizeof({inspected(node.of)})"
        case nodes.Typeinfo():
            return f"typeinfo({inspected(node.of)})"
        case nodes.Offsetof():
            return f"offsetof({inspected(node.of)}, {'.'.join(node.path)})"
        case _:
            return operation(node)


def operation(
    node: nodes.Binary | nodes.Ternary | nodes.Unary | nodes.AddressOf | nodes.Increment
    | nodes.Cast | nodes.Comptime,
) -> str:  # fmt: skip
    match node:
        case nodes.Binary():
            return f"{operand(node.left)} {node.op} {operand(node.right)}"
        case nodes.Ternary(then=None):
            return f"{operand(node.condition)} ?: {operand(node.otherwise)}"
        case nodes.Ternary():
            choice = f"{operand(node.then)} : {operand(node.otherwise)}" if node.then else ""
            return f"{operand(node.condition)} ? {choice}"
        case nodes.Unary():
            return f"{node.op}{operand(node.operand)}"
        case nodes.AddressOf():
            return f"&{expression(node.of)}"
        case nodes.Increment():
            target = expression(node.target)
            return f"{node.op}{target}" if node.prefix else f"{target}{node.op}"
        case nodes.Cast():
            return f"({type_text(node.to)}){operand(node.operand)}"
        case nodes.Comptime():
            return f"comptime {operand(node.operand)}"


def operand(node: Expr) -> str:
    text = expression(node)
    return f"({text})" if isinstance(node, COMPOUND) else text


def conditional(node: nodes.If) -> str:
    """An `else if` chain is one loop here, however long."""
    text = f"if ({expression(node.condition)}) {block(node.then)}"
    while isinstance(node.otherwise, nodes.If):
        node = node.otherwise
        text += f" else if ({expression(node.condition)}) {block(node.then)}"
    return f"{text} else {block(node.otherwise)}" if node.otherwise else text


def keys(key: Expr) -> str:
    if isinstance(key, nodes.TupleLiteral) and len(key.elements) > 1:
        return ", ".join(map(expression, key.elements))
    return expression(key)


def inspected(node: nodes.TypeName | nodes.Typeof | Expr) -> str:
    """What stands in `sizeof( )`. An expression that would read as a type is put in parentheses."""
    text = show(node)
    is_type = isinstance(node, nodes.TypeName | nodes.Typeof)
    return f"({text})" if not is_type and TYPED.match(f"{text})", 0) else text


def type_text(node: nodes.TypeName | nodes.Typeof) -> str:
    if isinstance(node, nodes.Typeof):
        return f"typeof({inspected(node.of)})"
    suffixes = (s if s == "*" else f"[{'' if s is None else s}]" for s in node.suffixes)
    return f"{node.keyword + ' ' if node.keyword else ''}{node.name}{''.join(suffixes)}"


# Structure


def dump(node: Node) -> str:
    """One line a node, indented by depth: its class, then its plain fields."""
    lines: list[str] = []
    waiting: list[tuple[int, str, object]] = [(0, "", node)]
    while waiting:
        depth, label, value = waiting.pop()
        margin = INDENT * depth + label
        if isinstance(value, tuple):
            lines.append(f"{margin}[]" if not value else margin.rstrip())
            waiting += reversed([(depth + 1, "", inner) for inner in value])
        elif isinstance(value, Node):
            plain, deep = [], list[tuple[int, str, object]]()
            for name in value.fields:
                inner = getattr(value, name)
                if isinstance(inner, Node) or (isinstance(inner, tuple) and inner):
                    deep.append((depth + 1, f"{name}: ", inner))
                elif not isinstance(inner, Span) and inner not in (None, ()):
                    plain.append(f" {name}={inner!r}")
            lines.append(f"{margin}{type(value).__name__}{''.join(plain)}")
            waiting += reversed(deep)
        else:
            lines.append(f"{margin}{value!r}")
    return "\n".join(lines)
