"""Jumps out of macros and functions, which have nothing to jump out of (LANGUAGE §1.9, §1.10)."""

from __future__ import annotations

from bpfscript.diagnostics import Reporter

from . import nodes

LOOPS = nodes.While | nodes.For | nodes.Unroll


def check_jumps(program: nodes.Program, report: Reporter) -> None:
    """Report jumps that no macro or function may hold, whether anything uses it or not."""
    for item in program.items:
        if isinstance(item, nodes.Macro):
            _macro(item.body, report, in_loop=False)
        elif isinstance(item, nodes.Function):
            _function(item, item.body, report, in_loop=False)


def _macro(node: nodes.Node, report: Reporter, in_loop: bool) -> None:
    _loop_jump(node, "macro", report, in_loop)
    if isinstance(node, nodes.Return):
        report.error(node.span.through(";"), "'return' statement is not allowed in a macro")
    for child in nodes.children(node):
        _macro(child, report, in_loop or isinstance(node, LOOPS))


def _function(function: nodes.Function, node: nodes.Node, report: Reporter, in_loop: bool) -> None:
    _loop_jump(node, "function", report, in_loop)
    void = isinstance(function.returns, nodes.TypeName) and function.returns.name == "void"
    if isinstance(node, nodes.Return) and node.value is None and not void:
        text = f"Function {function.name} is of type {function.returns.span.text}"
        report.error(node.span, f"{text}, cannot return void")
    for child in nodes.children(node):
        _function(function, child, report, in_loop or isinstance(node, LOOPS))


def _loop_jump(node: nodes.Node, where: str, report: Reporter, in_loop: bool) -> None:
    if isinstance(node, nodes.Break | nodes.Continue) and not in_loop:
        word = "break" if isinstance(node, nodes.Break) else "continue"
        report.error(node.span.through(";"), f"'{word}' statement is not allowed in a {where}")
