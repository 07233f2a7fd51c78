"""Functions of the script: what a call passes and what it returns (LANGUAGE §1.10)."""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.types import VOID, Aggregate, String, Type

from . import nodes
from .builtins import argument_number
from .check_statements import Statements
from .typed import Instance

CONTEXT = ("args", "ctx", "func", "retval", "reg", "uaddr", "override", "signal", "signal_thread")
"""What only some probes have."""


class Functions(Statements):
    def inlined(self, node: nodes.Inlined) -> Type | None:
        given = [self.expression(argument) for argument in node.args]
        self.scopes.open()
        self._parameters(node, given)
        returns = self.named_type(node.returns)
        if isinstance(returns, Aggregate):
            self.error(node.returns.span, f"Invalid return type: {returns}")
            returns = None
        if returns == String(0):
            returns = String(self.string_size)
        if returns not in (None, VOID):
            local = self.scopes.declare(node.returned, node.span)
            local.explicit, local.type = True, returns or VOID
        self.calls.append((node, returns))
        loops, self.loops = self.loops, []
        self.body(node)
        self.loops = loops
        self.calls.pop()
        self.scopes.close()
        self.constants.pop(node, None)
        return returns

    def _parameters(self, node: nodes.Inlined, given: list[Type | None]) -> None:
        """Declare the parameters and let them take the arguments."""
        types = []
        for variable, written in node.parameters:
            type = self.named_type(written)
            local = self.scopes.declare(variable, variable.span)
            self.scopes.assign(local)
            if type == String(0):
                type = String(self.string_size)
            if type == VOID or isinstance(type, Aggregate):
                self.error(written.span, f"Invalid variable declaration type: {type}")
            elif type is not None:
                local.explicit, local.type = True, type
            types.append(type)
        if not self.instance.names:
            return  # nothing calls it
        if len(given) != len(types):
            count = f"requires {len(types)} arguments, got only {len(given)}"
            if len(given) > len(types):
                count = f"requires {len(types)} arguments, got {len(given)}"
            self.error(node.span, f"Function `{node.name}` {count}")
            return
        wrong = [i for i, type in enumerate(given) if not self._passes(node, i, type, types[i])]
        for index in wrong:
            (variable, _), argument = node.parameters[index], node.args[index]
            name = variable.span.text.removeprefix("$")
            text = f"Expected {types[index]} for argument `{name}` got {given[index]}"
            self.error(argument.span, text)
        if wrong:
            wanted = ", ".join(map(str, types))
            self.error(node.span, f"Function `{node.name}` requires arguments ({wanted})")

    def _passes(self, node: nodes.Inlined, index: int, type: Type | None, to: Type | None) -> bool:
        return type is None or to is None or self.takes(to, node.args[index], type)

    def return_from(self, node: nodes.Return, type: Type | None) -> None:
        call, wanted = self.calls[-1]
        if type is None or wanted is None:
            return
        fits = type == wanted
        if VOID not in (type, wanted) and node.value is not None:
            fits = self.takes(wanted, node.value, type)
        if not fits:
            text = f"Function {call.name} is of type {wanted}, cannot return {type}"
            self.error(node.span, text)
        elif wanted != VOID:
            local = self.scopes.find(call.returned.name)
            assert local is not None
            self.scopes.assign(local)

    def uncalled(self) -> list[Instance]:
        """Functions that nothing calls, as far as they mean the same in every probe."""
        return [
            Instance(_probe(item), "begin", (), ())
            for item in self.checked.program.items
            if isinstance(item, nodes.Function) and not any(map(_needs_context, _within(item)))
        ]


def _probe(function: nodes.Function) -> nodes.Probe:
    return nodes.Probe(span=function.span, attach_points=(), predicate=None, body=function.body)


def _needs_context(node: nodes.Node) -> bool:
    if not isinstance(node, nodes.Identifier | nodes.Call):
        return False
    name = node.name.removeprefix("__builtin_")
    return name in CONTEXT or argument_number(name) is not None


def _within(node: nodes.Node) -> Iterator[nodes.Node]:
    yield node
    for child in nodes.children(node):
        yield from _within(child)
