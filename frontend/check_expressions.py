"""Expressions: every kind of node finds its rule here (LANGUAGE §1.6)."""

from __future__ import annotations

from bpfscript.types import VOID, Aggregate, Pointer, Record, Tuple, Type

from . import nodes
from .check_base import known
from .check_calls import Calls
from .check_operators import is_condition
from .join import base_name, promote


class Expressions(Calls):
    def type_of(self, node: nodes.Expr) -> Type | None:
        match node:
            case nodes.Integer() | nodes.Boolean():
                return self.literal(node, node.value)
            case nodes.StringLiteral():
                return self._string(node)
            case nodes.Identifier():
                return self.identifier(node)
            case nodes.Positional():
                return self.positional(node)
            case nodes.Variable():
                return self._variable(node)
            case nodes.Map():
                return self.read_map(node)
            case nodes.Call():
                return self.call(node)
            case nodes.Binary():
                return self.binary(node)
            case nodes.Unary():
                return self.unary(node)
            case nodes.Increment():
                return self.increment(node)
            case nodes.FieldAccess():
                return self.field_access(node)
            case nodes.Index():
                return self.index(node)
            case nodes.Cast():
                return self.cast(node)
            case nodes.Ternary() | nodes.If():
                return self._choice(node)
            case nodes.Inlined():
                return self.inlined(node)
            case nodes.Block():
                return self.block(node)
            case nodes.TupleLiteral():
                elements = self._elements(node.elements)
                return None if elements is None else Tuple(elements)
            case nodes.RecordLiteral():
                elements = self._elements(node.elements)
                return None if elements is None else Record(node.names, elements)
            case nodes.Sizeof():
                return self.sizeof(node)
            case nodes.Offsetof():
                return self.offsetof(node)
            case nodes.Typeinfo():
                return self.typeinfo(node)
            case nodes.Comptime():
                return self._comptime(node)
            case nodes.AddressOf():
                return self._address_of(node.of)

    def _string(self, node: nodes.StringLiteral) -> Type:
        if len(node.value) > self.limits.max_strlen - 1:
            text = node.value.decode("utf-8", "replace")
            limit = self.limits.max_strlen
            self.error(node.span, f"String is too long (over {limit} bytes): {text}")
        return self.literal(node, node.value)

    def _variable(self, node: nodes.Variable) -> Type | None:
        local = self.scopes.find(node.name)
        if local is None:
            self.error(node.span, f"Undefined or undeclared variable: {node.span.text}")
            return None
        self.scopes.bindings[node] = local
        if not self.scopes.assigned(local):
            self.report.warning(node.span, f"Variable used before it was assigned: {node.name}")
        type = known(local)
        if type is None:
            self.error(node.span, "Could not resolve the type of this variable")
        return type

    def _address_of(self, node: nodes.Variable | nodes.Map) -> Type | None:
        """Where a variable or the kernel's object of a map lies in kernel memory."""
        if isinstance(node, nodes.Variable):
            if (local := self.scopes.find(node.name)) is not None:
                self.scopes.assign(local)  # or else it is zero, as whoever has the address wants
                local.addressed = True
            type = self.expression(node)
            return None if type is None else Pointer(type, "kernel")
        return Pointer(self.types[node], "kernel") if self.map_by_name(node) else None

    def _elements(self, elements: tuple[nodes.Expr, ...]) -> tuple[Type, ...] | None:
        types = []
        for element in elements:
            type = self.expression(element)
            if isinstance(type, Aggregate) and type.name != "stats":
                self.error(element.span, f"Map type {type} cannot exist inside a tuple.")
                type = None
            types.append(type)
        return None if None in types else tuple(t for t in types if t is not None)

    def _comptime(self, node: nodes.Comptime) -> Type | None:
        type = self.expression(node.operand)
        if type is None:
            return None
        if node.operand in self.constants:
            return self.literal(node, self.constants[node.operand], type)
        if not self._literal(node.operand):
            self.error(node.span, "Unable to resolve comptime expression")
            return None
        return type

    def _literal(self, node: nodes.Expr) -> bool:
        if isinstance(node, nodes.TupleLiteral | nodes.RecordLiteral):
            return all(map(self._literal, node.elements))
        return node in self.constants

    # Choices

    def condition(self, node: nodes.Expr, whole: nodes.Node) -> Type | None:
        """A condition; what is wrong with it is reported at the whole statement."""
        type = self.expression(node)
        literal = isinstance(self.constants.get(node), bytes)  # true unless it is empty
        if type is not None and not is_condition(type) and not literal:
            self.error(whole.span, f"Invalid condition: {base_name(type)}")
        return type

    def _choice(self, node: nodes.Ternary | nodes.If) -> Type | None:
        tested = self.condition(node.condition, node)
        value = self.constants.get(node.condition)
        if isinstance(node.condition, nodes.Comptime) and value is not None:
            return self._pruned(node, bool(value))
        then = tested if node.then is None else self.expression(node.then)
        if node.otherwise is None:
            if then not in (None, VOID) and isinstance(node.then, nodes.Block):
                self.discarded(node.then.result)
            return VOID
        otherwise = self.expression(node.otherwise)
        if then is None or otherwise is None:
            return then or otherwise  # the other follows: `@start ? @start : nsecs`
        if value is not None and self._folded_choice(node, bool(value)):
            return self.types[self._chosen(node, bool(value))]
        joined = VOID if VOID in (then, otherwise) else promote(then, otherwise)
        if joined == VOID and isinstance(node, nodes.If):
            self._discard_arms(node)
        elif joined is None or (joined == VOID and then != otherwise):
            self.error(
                node.span,
                "Branches must return the same type or compatible types: "
                f"have '{then}' and '{otherwise}'",
            )
            return None
        for arm, type in ((node.then or node.condition, then), (node.otherwise, otherwise)):
            self.warn_conversion(arm, type, joined)
        return joined

    def _chosen(self, node: nodes.Ternary | nodes.If, value: bool) -> nodes.Expr:
        chosen = node.then if value else node.otherwise
        return node.condition if chosen is None else chosen

    def _folded_choice(self, node: nodes.Ternary | nodes.If, value: bool) -> bool:
        """Take over the literal of one branch where both are literals."""
        branches = [self._chosen(node, arm) for arm in (True, False)]
        if not all(branch in self.constants for branch in branches):
            return False
        self.constants[node] = self.constants[branches[0] if value else branches[1]]
        return True

    def _pruned(self, node: nodes.Ternary | nodes.If, value: bool) -> Type | None:
        chosen = node.then if value else node.otherwise
        if chosen is None:
            return VOID
        type = self.expression(chosen)
        if chosen in self.constants:
            self.constants[node] = self.constants[chosen]
        return type

    def _discard_arms(self, node: nodes.If) -> None:
        for arm in (node.then, node.otherwise):
            if isinstance(arm, nodes.Block) and self.types.get(arm, VOID) != VOID:
                self.discarded(arm.result)

    def discarded(self, node: nodes.Expr | None) -> None:
        """A value that nothing takes."""
        if isinstance(node, nodes.Block) and not isinstance(node, nodes.Inlined):
            self.discarded(node.result)
        elif node is not None and not isinstance(node, nodes.Increment):
            alone = isinstance(node, nodes.Cast) or node.span.text.startswith(("$", "@"))
            place = node.place if alone else node.span.through(";")
            self.report.warning(place, "Return value discarded.")
