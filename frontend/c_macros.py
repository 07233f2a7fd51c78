"""`#define`: a bare word becomes the expression it stands for (LANGUAGE §1.7)."""

from __future__ import annotations

from collections.abc import Callable

from bpfscript.diagnostics import ScriptError, Source, Span

from . import nodes
from .builtins import argument_number, builtin

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .check_base import CNames


def expand_c_macros(program: nodes.Program, names: CNames) -> nodes.Program:
    """The program with every macro that C definitions define in place of its name.

    What a macro becomes has the span of the name. One whose text is no expression stays a name.
    """

    def replace(node: nodes.Node, inside: tuple[str, ...]) -> nodes.Node:
        """`inside`: the macros whose text this is in; C does not expand them again."""
        if isinstance(node, nodes.Sizeof | nodes.Typeof | nodes.Typeinfo):
            word = _bare(node.of)
            known = word and names.macro(word.name) and not names.named(None, word.name)
            return nodes.evolve(node, of=replace(word, inside)) if word and known else node
        if not isinstance(node, nodes.Identifier) or node.name in inside or _reserved(node.name):
            return node
        text = names.macro(node.name)
        body = _expression(node.name, text) if text else None
        if body is None:
            return node
        around = (*inside, node.name)
        changed = _rebuild(body, lambda n: replace(n, around), node.span)
        return replace(changed, around) if isinstance(changed, nodes.Identifier) else changed

    def outer(node: nodes.Node) -> nodes.Node:
        return replace(node, ())

    items = tuple(_rebuild(item, outer, None) for item in program.items)
    return nodes.evolve(program, items=items)


def _bare(node: nodes.Node) -> nodes.Identifier | None:
    """A word that was read as the name of a type."""
    if isinstance(node, nodes.TypeName) and not node.keyword and not node.suffixes:
        return nodes.Identifier(span=node.span, name=node.name)
    return None


def _reserved(name: str) -> bool:
    return builtin(name) is not None or argument_number(name) is not None


def _expression(name: str, text: str) -> nodes.Expr | None:
    from .parser import parse_expression

    try:
        return parse_expression(Source(name, text))
    except ScriptError:
        return None


def _rebuild(
    node: nodes.N, change: Callable[[nodes.Node], nodes.Node], span: Span | None
) -> nodes.N:
    """A copy with every inner node changed, all of it at `span`."""

    def visit(value: object) -> object:
        if isinstance(value, nodes.Node):
            return change(_rebuild(value, change, span))
        if isinstance(value, tuple):
            made = tuple(map(visit, value))
            return value if all(a is b for a, b in zip(made, value, strict=True)) else made
        if isinstance(value, Span) and span is not None:
            return span
        return value

    old: dict[str, Any] = {name: getattr(node, name) for name in node.fields}
    new: dict[str, Any] = {name: visit(value) for name, value in old.items()}
    if all(new[name] is value for name, value in old.items()):
        return node
    return type(node)(**new)
