"""Operators: what they take and give (LANGUAGE §2.2-2.4, §2.9)."""

from __future__ import annotations

from bpfscript.diagnostics import Span
from bpfscript.types import (
    BOOL,
    INT64,
    UINT64,
    VOID,
    Array,
    Bool,
    Buffer,
    Int,
    Pointer,
    Record,
    String,
    Timestamp,
    Tuple,
    Type,
)

from . import nodes
from .check_maps import Maps
from .fold import ALWAYS_EMPTY, COMPARE, FoldError, fold_binary, fold_unary
from .join import promote, promote_integers

LOGICAL = ("&&", "||")
CONDITIONS = (Int, Bool, Pointer)


def is_condition(type: Type) -> bool:
    return isinstance(type, CONDITIONS)


def computed(op: str, left: Int, right: Int) -> Int:
    """Type of arithmetic: 64 bits, unsigned if neither side is signed and nothing is taken away."""
    if op == "-":
        return INT64
    if left.flexible and right.flexible:
        return Int(64, True)
    signed = any(t.signed and not t.flexible for t in (left, right))
    return INT64 if signed else UINT64


class Operators(Maps):
    def binary(self, node: nodes.Binary) -> Type | None:
        left, right = self.expression(node.left), self.expression(node.right)
        if left is None or right is None:
            return BOOL if node.op in (*COMPARE, *LOGICAL) else None
        constants = self.constants
        if node.left in constants and node.right in constants:
            folded = self._fold(node, left, right)
            if folded is not None:
                return folded
        elif node.op in ("==", "!="):
            same = self._literal_equal(node.left, node.right)
            if same is not None:
                return self.literal(node, same == (node.op == "=="))
        return self.operate(node.op, node.span, (node.left, left), (node.right, right))

    def _fold(self, node: nodes.Binary, left: Type, right: Type) -> Type | None:
        a, b = self.constants[node.left], self.constants[node.right]
        try:
            value = fold_binary(node.op, a, b)
        except FoldError as fault:
            if isinstance(a, bytes) != isinstance(b, bytes):
                return None  # the operator itself has more to say
            self.error(node.span, str(fault))
            return left
        if isinstance(value, bytes) and not value and (a or not isinstance(a, bytes)):
            self.report.warning(node.span, ALWAYS_EMPTY)
        return self.literal(node, value)

    def _literal_equal(self, a: nodes.Expr, b: nodes.Expr) -> bool | None:
        """Whether two literals are equal, element by element; None: they are not literals."""
        if a in self.constants and b in self.constants:
            one, other = self.constants[a], self.constants[b]
            return one == other if isinstance(one, bytes) == isinstance(other, bytes) else None
        match a, b:
            case nodes.TupleLiteral(), nodes.TupleLiteral():
                pairs = list(zip(a.elements, b.elements, strict=False))
                same_shape = len(a.elements) == len(b.elements)
            case nodes.RecordLiteral(), nodes.RecordLiteral() if set(a.names) == set(b.names):
                mine = dict(zip(a.names, a.elements, strict=True))
                theirs = dict(zip(b.names, b.elements, strict=True))
                pairs = [(mine[name], theirs[name]) for name in mine]
                same_shape = True
            case _:
                return None
        equal = [self._literal_equal(left, right) for left, right in pairs]
        return None if None in equal else same_shape and all(equal)

    def operate(
        self,
        op: str,
        span: Span,
        left: tuple[nodes.Expr, Type],
        right: tuple[nodes.Expr, Type],
    ) -> Type | None:
        """Type of `left op right`, of which at least one is not a literal."""
        (left_node, a), (right_node, b) = left, right
        if isinstance(a, Int | Bool) and isinstance(b, Int | Bool):
            return self._integers(op, span, left, right)
        if isinstance(a, Pointer) or isinstance(b, Pointer):
            return self._pointers(op, span, left, right)
        if isinstance(a, Array) and isinstance(b, Array):
            return self._arrays(op, span, a, b)
        if promote(a, b) is None and not _comparable(a, b):
            self.error(
                span,
                f"Type mismatch for '{op}': comparing {a} with {b}",
                None,
                (left_node.place, f"left ({a})"),
                (right_node.place, f"right ({b})"),
            )
            return None
        if op in ("==", "!=") and a != VOID:
            return BOOL
        if op in LOGICAL and is_condition(a):
            return BOOL
        self._refuse(op, span, a, b)
        return None

    def _refuse(self, op: str, span: Span, a: Type, b: Type) -> None:
        text = f"The {op} operator can not be used on expressions of types {a}, {b}"
        self.error(span, text)

    def _integers(
        self,
        op: str,
        span: Span,
        left: tuple[nodes.Expr, Type],
        right: tuple[nodes.Expr, Type],
    ) -> Type:
        (left_node, a), (right_node, b) = left, right
        if op in LOGICAL:
            return BOOL
        if isinstance(a, Bool) and isinstance(b, Bool) and op in (*COMPARE, "&", "|", "^"):
            return BOOL
        a, b = as_integer(a), as_integer(b)
        common: Int = promote_integers(a, b) if op in COMPARE else computed(op, a, b)
        alike = (a.bits, a.signed) == (b.bits, b.signed)
        if op in ("/", "%") and common.signed and not alike:
            self.report.warning(
                span,
                f"signed operands for '{op}' can lead to undefined behavior "
                "(cast to unsigned to silence warning)",
            )
        self.warn_conversion(left_node, a, common)
        self.warn_conversion(right_node, b, common)
        return BOOL if op in COMPARE else common

    def _pointers(
        self,
        op: str,
        span: Span,
        left: tuple[nodes.Expr, Type],
        right: tuple[nodes.Expr, Type],
    ) -> Type | None:
        (left_node, a), (right_node, b) = left, right
        if not (is_condition(a) and is_condition(b)):
            self.error(
                span,
                f"Type mismatch for '{op}': comparing {a} with {b}",
                None,
                (left_node.place, f"left ({a})"),
                (right_node.place, f"right ({b})"),
            )
            return None
        if op in LOGICAL:
            return BOOL
        if op in COMPARE:
            self._warn_distinct(left, right)
            return BOOL
        if isinstance(a, Pointer) and isinstance(b, Int) and op in ("+", "-"):
            return a
        if isinstance(b, Pointer) and isinstance(a, Int) and op == "+":
            return b
        self._refuse(op, span, a, b)
        return None

    def _warn_distinct(self, left: tuple[nodes.Expr, Type], right: tuple[nodes.Expr, Type]) -> None:
        (left_node, a), (right_node, b) = left, right
        if isinstance(a, Pointer) and isinstance(b, Pointer) and a.to != b.to:
            self.report.warning(
                left_node.span.to(right_node.span),
                f"comparison of distinct pointer types: {a}, {b}",
                None,
                (left_node.place, f"left ({a})"),
                (right_node.place, f"right ({b})"),
            )

    def _arrays(self, op: str, span: Span, a: Array, b: Array) -> Type | None:
        if op not in ("==", "!="):
            self.error(span, f"The {op} operator cannot be used on arrays.")
        elif not (isinstance(a.of, Int | Bool) and isinstance(b.of, Int | Bool)):
            self.error(span, f"Only arrays of same sized integer arrays are supported for {op}")
        elif a.size != b.size or a.count != b.count:
            self.error(span, f"Only arrays of same size support comparison operators: {a}, {b}")
        else:
            return BOOL
        return None

    def unary(self, node: nodes.Unary) -> Type | None:
        type = self.expression(node.operand)
        if type is None:
            return None
        aggregate = self.aggregate_read(node.operand)
        if aggregate is not None and node.op in ("-", "~"):
            self._refuse_unary(node.op, node.span, aggregate)
            return None
        constant = self.constants.get(node.operand)
        if isinstance(constant, int) and (node.op == "!" or not isinstance(constant, bool)):
            try:
                value = fold_unary(node.op, constant)
            except FoldError as fault:
                self.error(node.span, str(fault))
                return None
            if value is not None:
                return self.literal(node, value)
        result = _unary_type(node.op, type)
        if result is None:
            self._refuse_unary(node.op, node.span, type)
        return result

    def _refuse_unary(self, op: str, span: Span, type: Type) -> None:
        self.error(span, f"The {op} operator can not be used on expressions of type '{type}'")

    def declared(self, target: nodes.Variable | nodes.Map) -> bool:
        """Whether the type of a variable was written down."""
        local = self.scopes.bindings.get(target) if isinstance(target, nodes.Variable) else None
        return local is not None and local.explicit

    def increment(self, node: nodes.Increment) -> Type | None:
        """Variables and maps become 64 bits wide by being stepped."""
        target = node.target
        if isinstance(target, nodes.Variable):
            type = self.expression(target)
        else:
            state = self.access(target)
            if state.value is None:
                state.default = INT64
                return None
            type = self.types[target] = state.value
        if type is None:
            return None
        result = self._stepped(node, type)
        if result is None:
            self._refuse_unary(node.op, node.span, type)
        elif isinstance(target, nodes.Variable):
            self.assign_variable(self.scopes.bindings[target], None, result, node.span)
        else:
            self.assign_map(target, None, result, node.span)
        return result

    def _stepped(self, node: nodes.Increment, type: Type) -> Type | None:
        if isinstance(type, Pointer):
            return type
        if isinstance(type, Int):
            if self.declared(node.target):
                return type
            return UINT64 if not type.signed and node.op == "++" else INT64
        return UINT64 if self._counts(type) else None

    def _counts(self, type: Type) -> bool:
        """Stepping a map of aggregates or strings is told as an assignment of the wrong type."""
        return not isinstance(type, Tuple | Record | Buffer | Array | Bool)


def _comparable(a: Type, b: Type) -> bool:
    """Whether values are of one kind although no place takes both."""
    return any(isinstance(a, kind) and isinstance(b, kind) for kind in (String, Timestamp))


def as_integer(type: Type) -> Int:
    return type if isinstance(type, Int) else Int(8, False)


def _unary_type(op: str, type: Type) -> Type | None:
    if op == "*":
        if isinstance(type, Pointer):
            return type.to if type.to != VOID else UINT64
        return UINT64 if isinstance(type, Int) else None
    if op == "!":
        return BOOL if isinstance(type, Int | Bool) else None
    if not isinstance(type, Int):
        return None
    return INT64 if type.signed else UINT64
