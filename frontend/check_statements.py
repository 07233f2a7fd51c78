"""Statements: scopes, assignments, loops, control flow (LANGUAGE §1.5, §1.11, §2.7, §2.10)."""

from __future__ import annotations

from bpfscript.diagnostics import Span
from bpfscript.types import INT64, VOID, Aggregate, Bool, Int, String, Tuple, Type

from . import nodes
from .check_base import known
from .check_expressions import Expressions
from .check_maps import read_type
from .functions import AGGREGATES
from .join import holds, promote, promote_integers
from .typed import Local

WHILE_HINT = (
    "For loops support ranges (e.g. `for ($x : $start..$end) { ... }`), and can be used in place "
    "of while. These are more easily proven to be bounded by the verifier."
)
MAX_UNROLL = 100


class Statements(Expressions):
    def block(self, node: nodes.Block, *, callback: bool = False) -> Type:
        self.scopes.open(callback)
        self.statements(node.statements)
        type = self.expression(node.result) if node.result is not None else VOID
        self.scopes.close(callback)
        if node.result is not None and node.result in self.constants and not node.statements:
            self.constants[node] = self.constants[node.result]
        self.types[node] = type or VOID
        return type or VOID

    def body(self, node: nodes.Block, *, callback: bool = False) -> None:
        """A block whose value nothing takes."""
        if self.block(node, callback=callback) != VOID:
            self.discarded(node.result)

    def statements(self, statements: tuple[nodes.Statement, ...]) -> None:
        left = False
        for statement in statements:
            if left:
                self.report.warning(statement.span, "Unreachable statement.")
            self.statement(statement)
            left = _leaves(statement)

    def statement(self, node: nodes.Statement) -> None:
        match node:
            case nodes.Let():
                self._let(node)
            case nodes.Assign():
                self._assign(node)
            case nodes.Discard():
                self.expression(node.value)
            case nodes.ExprStatement():
                self._expression_statement(node)
            case nodes.While():
                self.report.warning(
                    node.span,
                    "While loops are deprecated and may be removed in the future.",
                    WHILE_HINT,
                )
                self.condition(node.condition, node)
                self._loop(node, node.body)
            case nodes.Unroll():
                self._unroll(node)
            case nodes.For():
                self._for(node)
            case nodes.Break() | nodes.Continue():
                if not self.loops:
                    word = "break" if isinstance(node, nodes.Break) else "continue"
                    self.error(
                        node.span.through(";"), f"'{word}' statement is not allowed in a probe"
                    )
            case nodes.Return():
                self._return(node)
            case nodes.Import():
                self._import(node)

    def _import(self, node: nodes.Import) -> None:
        """Where it is allowed, `imports.merge` has done it already."""
        if self.configuration.unstable("import_statement") != "error":
            self.allows(node.span, "import_statement")
            return
        text = (
            "Import statements that are not at the top level are primarily for the "
            "standard library."
        )
        self.error(node.span, text, "import at the top of the script")

    def _expression_statement(self, node: nodes.ExprStatement) -> None:
        value = node.value
        leaves = isinstance(value, nodes.Call) and value.name == "exit"
        if leaves and self._in_for() and node.span.origin is None:  # assert() may stand in a loop
            self.error(node.span, "'return' statement is not allowed in a for-loop")
            return
        type = self.expression(value)
        if type in (None, VOID):
            return
        if isinstance(value, nodes.Block | nodes.If):
            self.report.warning(node.span, "Return value discarded.")
        else:
            self.discarded(value)

    def _in_for(self) -> bool:
        return any(isinstance(loop, nodes.For) for loop in self.loops)

    # Variables

    def _let(self, node: nodes.Let) -> None:
        name, value = node.variable.name, node.value
        declared = self.named_type(node.type) if node.type is not None else None
        type = self.expression(value) if value is not None else None
        before = self.scopes.find(name)
        if before is not None:
            self._shadows(node.span, name, before)
            return
        local = self.scopes.declare(node.variable, node.span)
        self.scopes.declared.append((local, node.span))
        if isinstance(declared, Aggregate) or (node.type is not None and declared == VOID):
            assert node.type is not None
            self.error(node.type.span, f"Invalid variable declaration type: {declared}")
            declared = None
        if declared is not None:
            local.explicit = declared != String(0)  # `string` alone has the size of its values
            if local.explicit:
                local.type = declared
        if value is not None:
            self.assign_variable(local, value, type, node.span)
        self._settle(node.variable, local)

    def _settle(self, node: nodes.Variable, local: Local) -> None:
        if known(local) is not None:
            self.types[node] = local.type

    def _shadows(self, span: Span, name: str, before: Local) -> None:
        how = "declaration" if before.span.text.startswith("let") else "assignment"
        self.error(
            span,
            f"Variable {name} was already declared. Variable shadowing is not allowed.",
            None,
            (before.span, f"This is the initial {how}."),
        )

    def _assign(self, node: nodes.Assign) -> None:
        if isinstance(node.target, nodes.Map):
            self._assign_map(node, node.target)
            return
        type = self._assigned_value(node)
        local = self.scopes.find(node.target.name)
        if local is None:
            local = self.scopes.declare(node.target, node.span)
        self.scopes.bindings[node.target] = local
        value = node.value if node.op is None else None
        self.assign_variable(local, value, type, node.span)
        self._settle(node.target, local)

    def _assigned_value(self, node: nodes.Assign) -> Type | None:
        """Type of the value, or of `target op value`."""
        if node.op is None:
            return self.expression(node.value)
        target, value = self.expression(node.target), self.expression(node.value)
        if isinstance(node.target, nodes.Map) and target is None:
            self.maps[node.target.name].default = INT64
        if target is None or value is None:
            return None
        type = self.operate(node.op, node.operation, (node.target, target), (node.value, value))
        if isinstance(type, Int) and isinstance(target, Int) and self.declared(node.target):
            self._warn_wraps(node, type, target)
            return target
        return type

    def _warn_wraps(self, node: nodes.Assign, computed: Int, declared: Int) -> None:
        """`$x += 300` in the width that was declared for $x."""
        if not holds(declared, computed):
            source = node.span.source
            start = source.text.index(f"{node.op}=", node.target.span.end)
            self.report.warning(
                Span(source, start, node.value.span.end),
                f"Expression of type: {computed} being cast to type: {declared}. This may cause "
                "unexpected results. Use an explicit cast to suppress this warning.",
            )

    def assign_variable(
        self, local: Local, value: nodes.Expr | None, type: Type | None, span: Span
    ) -> None:
        self.scopes.assign(local)
        if type is None:
            return
        if type == VOID or isinstance(type, Aggregate):
            shown = self.aggregate_read(value) or type
            self.error(span, f"Value '{shown}' cannot be assigned to a scratch variable.")
            return
        have = known(local)
        if local.explicit and have is not None:
            self._assign_declared(local, have, value, type, span)
            return
        joined = type if have is None else promote(have, type)
        if joined is None:
            self._mismatch(local, type, span)
        elif joined != have or _flexible(joined) != _flexible(have):
            local.type, self.changed = joined, True
        elif value is not None:
            self.warn_conversion(value, type, joined)

    def _mismatch(self, local: Local, type: Type, span: Span) -> None:
        self.error(
            span,
            f"Type mismatch for {local.name}: trying to assign value of type '{type}' "
            f"when variable already has a type '{local.type}'",
        )

    def _assign_declared(
        self, local: Local, have: Type, value: nodes.Expr | None, type: Type, span: Span
    ) -> None:
        """A value for `let $x: type`."""
        if not self.takes(have, value, type):
            self._mismatch(local, type, span)

    def takes(self, declared: Type, value: nodes.Expr | None, type: Type) -> bool:
        """Whether a declared place takes a value: literals must fit, other integers convert."""
        constant = self.number(value) if value is not None else None
        if isinstance(declared, Int) and isinstance(type, Int):
            if constant is not None:
                return _in_range(constant, declared)
            if value is not None:
                self.warn_conversion(value, type, declared)
            return True
        fits = holds(declared, type) or _integers_inside(declared)
        return fits and promote(declared, type) is not None

    # Maps

    def _assign_map(self, node: nodes.Assign, target: nodes.Map) -> None:
        call = _aggregation(node.value)
        if node.op is None and call is not None:
            type = self.aggregate(call)
            if type is not None:
                self.types[call] = VOID
                self._through_block(node.value)
            self.assign_map(target, call, type, node.span)
            return
        type = self._assigned_value(node)
        value = node.value if node.op is None else None
        self.assign_map(target, value, type, node.span)

    def _through_block(self, node: nodes.Expr) -> None:
        if isinstance(node, nodes.Block):
            self.statements(node.statements)
            self.types[node] = VOID

    # Loops and jumps

    def _loop(self, node: nodes.While | nodes.For | nodes.Unroll, body: nodes.Block) -> None:
        self.loops.append(node)
        self.body(body)
        self.loops.pop()

    def _unroll(self, node: nodes.Unroll) -> None:
        self.expression(node.count)
        count = self.number(node.count)
        if count is None:
            self.error(node.span, "invalid unroll value")
        elif count > MAX_UNROLL:
            self.error(node.span, f"unroll maximum value is {MAX_UNROLL}")
        elif count < 1:
            self.error(node.span, "unroll minimum value is 1")
        self._loop(node, node.body)

    def _for(self, node: nodes.For) -> None:
        over = node.over
        type = (
            self._range(node, over)
            if isinstance(over, nodes.Range)
            else self._elements_of(node, over)
        )
        before = self.scopes.find(node.variable.name)
        if before is not None:
            how = "declaration" if before.span.text.startswith("let") else "assignment"
            self.error(
                node.variable.span,
                f"Loop declaration shadows existing variable: {node.variable.name}",
                None,
                (before.span, f"This is the initial {how}."),
            )
            return
        callback = isinstance(over, nodes.Map)
        self.scopes.open(callback)
        local = self.scopes.declare(node.variable, node.variable.span)
        self.scopes.assign(local)
        have = known(local)
        if type is not None:
            joined = type if have is None else promote(have, type) or (type if callback else have)
            if joined != have:
                local.type, self.changed = joined, True
        self._settle(node.variable, local)
        self._loop(node, node.body)
        self.scopes.close(callback)

    def _range(self, node: nodes.For, over: nodes.Range) -> Type | None:
        start, end = self.expression(over.start), self.expression(over.end)
        for type, which in ((start, "start"), (end, "end")):
            if type is not None and not isinstance(type, Int):
                self.error(node.span, f"Loop range requires an integer for the {which} value")
                return None
        if isinstance(start, Int) and isinstance(end, Int):
            return promote_integers(start, end)
        return None

    def _elements_of(self, node: nodes.For, map: nodes.Map) -> Type | None:
        """Type of `$kv` in `for ($kv : @m)`."""
        if map.key is not None:
            self.error(map.span, "Loop expression must be a map")
            return None
        state = self.map_state(map)
        if state.keyed is False:
            self.error(
                map.span,
                f"{map.name} has no explicit keys (scalar map), and cannot be used for iteration",
            )
            return None
        if not self.map_by_name(map) or state.value is None or state.key is None:
            return None
        if isinstance(state.value, Aggregate) and not state.value.readable:
            self.error(map.span, f"Loop expression does not support type: {state.value}")
            return None
        if isinstance(state.value, Aggregate):
            self.aggregate_loops.add(node.variable.name)
        return Tuple((state.key, read_type(state.value)))

    def _return(self, node: nodes.Return) -> None:
        type = self.expression(node.value) if node.value is not None else VOID
        if self.calls:
            self.return_from(node, type)
        elif node.value is not None and type is not None and not isinstance(type, Int | Bool):
            self.error(node.span, f"Probe return values can only be integers. Found {type}")


def _in_range(value: int, type: Int) -> bool:
    low = -(1 << (type.bits - 1)) if type.signed else 0
    return low <= value < low + (1 << type.bits)


def _integers_inside(type: Type) -> bool:
    return isinstance(type, Tuple)


def _flexible(type: Type | None) -> bool:
    return isinstance(type, Int) and type.flexible


def _aggregation(node: nodes.Expr) -> nodes.Call | None:
    """The call of `@m = count()`, also at the end of a block."""
    if isinstance(node, nodes.Block) and node.result is not None:
        return _aggregation(node.result)
    return node if isinstance(node, nodes.Call) and node.name in AGGREGATES else None


def _leaves(node: nodes.Statement) -> bool:
    if isinstance(node, nodes.ExprStatement):
        return isinstance(node.value, nodes.Call) and node.value.name == "exit"
    return isinstance(node, nodes.Return | nodes.Break | nodes.Continue)
