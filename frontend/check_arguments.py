"""Arguments of a call against the kinds that the table of functions names for them."""

from __future__ import annotations

from bpfscript.types import Bool, Int, Pointer, String, Type

from . import nodes
from .check_builtins import Builtins
from .functions import Function
from .join import base_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .functions import Kind

Argument = nodes.Expr | nodes.TypeName | nodes.Typeof

UNVISITED: frozenset[Kind] = frozenset(("word", "type", "variable", "other", "map", "keyed"))

FORMATTED = ("printf", "errorf", "warnf")


class Arguments(Builtins):
    def check_arguments(self, node: nodes.Call, row: Function) -> bool:
        """Type the arguments and report those of a wrong kind. Whether they can be relied on."""
        fault = row.wrong_count(len(node.args))
        if fault:
            self.error(node.span, fault)
            return False
        good = [self._argument_fits(node, row.kind(i), a) for i, a in enumerate(node.args)]
        return all(good)

    def _argument_fits(self, node: nodes.Call, kind: Kind, argument: Argument) -> bool:
        if kind in ("map", "keyed"):
            return self._map_fits(node, kind, argument)
        if kind in UNVISITED:
            return True
        if isinstance(argument, nodes.TypeName | nodes.Typeof):
            return False
        if isinstance(argument, nodes.Positional) and node.name == "str":
            return self.parameter_text(argument)
        formatted = node.name in FORMATTED and argument is node.args[0]
        if formatted and isinstance(argument, nodes.StringLiteral):
            self.literal(argument, argument.value)  # may be longer than strings are
            return True
        type = self.expression(argument)
        if type is None:
            return kind in ("text", "number") and argument in self.constants
        fault = self._kind_fault(kind, argument, type)
        if fault:
            self.error(node.span, f"{node.name}() {fault}")
        return not fault

    def parameter_text(self, node: nodes.Positional) -> bool:
        """`str($1)`, whose parameter need not be given."""
        before = len(self.report.warnings)
        self.expression(node)
        del self.report.warnings[before:]
        return True

    def _kind_fault(self, kind: Kind, argument: nodes.Expr, type: Type) -> str | None:
        aggregate = self.aggregate_read(argument)
        shown = base_name(aggregate or type)
        constant = self.constants.get(argument)
        match kind:
            case "int" if not isinstance(type, Int | Bool):
                return f"only supports int arguments ({shown} provided)"
            case "integer" if not isinstance(type, Int | Bool):
                return f"only supports integer arguments ({shown} provided)"
            case "address" if not isinstance(type, Int | Pointer):
                return f"only supports int or pointer arguments ({shown} provided)"
            case "string" if not isinstance(type, String):
                return f"only supports string arguments ({shown} provided)"
            case "text" if not isinstance(constant, bytes):
                return f"expects a string literal ({shown} provided)"
            case "number" if not isinstance(constant, int):
                return f"expects a int literal ({shown} provided)"
        return None

    def _map_fits(self, node: nodes.Call, kind: Kind, argument: Argument) -> bool:
        if not isinstance(argument, nodes.Map) or argument.key is not None:
            span = node.span if kind == "keyed" else argument.span
            self.error(span, f"{node.name}() expects a map argument")
            return False
        if kind == "keyed":
            return self.keyed_map(node, f"{node.name}()", argument)
        self.map_by_name(argument)
        return True

    def map_by_name(self, node: nodes.Map, call: nodes.Call | None = None) -> bool:
        """A map as a whole, in a `call` to be blamed. Whether something is known about it."""
        state = self.map_state(node)
        if state.value is None:
            if state.default is None:
                span = call.span if call is not None else node.span
                self.error(span, f"Undefined map: {node.name}")
            return False
        self.types[node] = state.value
        return True

    def keyed_map(self, node: nodes.Call, what: str, map: nodes.Map) -> bool:
        """A map that has to have keys."""
        state = self.map_state(map)
        if state.keyed is False:
            self.error(
                node.span,
                f"call to {what} expects a map with explicit keys (non-scalar map)",
            )
            return False
        return self.map_by_name(map, node)

    def argument(self, node: nodes.Call, index: int) -> nodes.Expr | None:
        """An argument that is an expression; None if it is not there."""
        if index >= len(node.args):
            return None
        argument = node.args[index]
        return None if isinstance(argument, nodes.TypeName | nodes.Typeof) else argument

    def type_at(self, node: nodes.Call, index: int) -> Type | None:
        argument = self.argument(node, index)
        return self.types.get(argument) if argument is not None else None

    def typed_at(self, node: nodes.Call, index: int) -> Type | None:
        """Type of an argument that the table left to the function's rule."""
        argument = self.argument(node, index)
        return self.expression(argument) if argument is not None else None

    def text_at(self, node: nodes.Call, index: int) -> str | None:
        """A string literal."""
        value = self.constants.get(node.args[index]) if index < len(node.args) else None
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else None

    def number_at(self, node: nodes.Call, index: int) -> int | None:
        """An integer literal."""
        value = self.constants.get(node.args[index]) if index < len(node.args) else None
        return int(value) if isinstance(value, int) else None
