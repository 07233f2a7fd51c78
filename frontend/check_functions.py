"""Functions of the script: what a call passes and what it returns (LANGUAGE §1.10)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bpfscript.c_library import CFunction
from bpfscript.types import VOID, Aggregate, Int, String, Type

from . import nodes
from .builtins import argument_number
from .c_functions import alike, passes, signature
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

    def c_call(self, node: nodes.Call, function: CFunction) -> Type | None:
        parameters, result = signature(function)
        args = [a for a in node.args if not isinstance(a, nodes.TypeName | nodes.Typeof)]
        given = [self.expression(a) for a in args]
        if function.left:
            self.error(node.span, f"{node.name}() cannot be called: {function.left}")
        elif odd := next((t for t in (*parameters.values(), result) if not passes(t)), None):
            text = f"{node.name}() cannot be called: it has a parameter or result of type {odd}"
            self.error(node.span, text)
        else:
            self._passed(node, args, given, parameters, strict=True)
        if isinstance(result, Int) and result.enum and self.names.enum(result.enum) is None:
            return Int(result.bits, result.signed)
        return result

    def _parameters(self, node: nodes.Inlined, given: list[Type | None]) -> None:
        """Declare the parameters and let them take the arguments."""
        types = dict[str, Type | None]()
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
            types[variable.span.text.removeprefix("$")] = type
        if self.instance.names:  # something calls it
            self._passed(node, node.args, given, types)

    def _passed(
        self,
        node: nodes.Call | nodes.Inlined,
        args: Sequence[nodes.Expr],
        given: Sequence[Type | None],
        parameters: Mapping[str, Type | None],
        strict: bool = False,
    ) -> None:
        """Whether a call gives what it should. strict: pointers to what is said, and not others."""
        if len(given) != len(parameters):
            only = "only " if len(given) < len(parameters) else ""
            count = f"requires {len(parameters)} arguments, got {only}{len(given)}"
            self.error(node.span, f"Function `{node.name}` {count}")
            return
        fits = True
        for argument, type, (name, wanted) in zip(args, given, parameters.items(), strict=True):
            if type is None or wanted is None:
                continue
            type = (strict and self.aggregate_read(argument)) or type
            if not self.takes(wanted, argument, type) or (strict and not alike(wanted, type)):
                self.error(argument.span, f"Expected {wanted} for argument `{name}` got {type}")
                fits = False
        if not fits:
            wanted_all = ", ".join(map(str, parameters.values()))
            self.error(node.span, f"Function `{node.name}` requires arguments ({wanted_all})")

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
