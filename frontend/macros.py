"""Macros, functions: calls become the bodies that they mean, before the check (LANGUAGE §1.9-10).

What a call expands to is a block at the place of the call. The nodes in it keep their place in the
macro, with the call as its origin; the variables of the body get names that no script can write.
Arguments are expanded where they are used, each time, in the scope of the call.
"""

from __future__ import annotations

from functools import partial
from typing import NoReturn

from bpfscript.diagnostics import Diagnostic, Reporter, ScriptError, Span
from bpfscript.plain import dataclass, field, replace

from . import nodes, stdlib
from .builtins import argument_number, builtin
from .functions import FUNCTIONS, MISPLACED_TYPEOF
from .lexer import BUILTINS as RESERVED
from .overloads import Kind, definitions, matching, no_match

MAX_DEPTH = 120  # of the tree with macros in place: expansion and what follows it recurse
MAX_COPIES = 20_000  # bodies and arguments put in place in one script


def expand(program: nodes.Program, report: Reporter) -> nodes.Program:
    """The program without macros: every call of one has become its body."""
    macros = definitions(program, report)
    functions = _functions(program, report)
    report.raise_errors()
    expander = _Expander(macros, functions, report)
    items: list[nodes.Item] = [
        expander.copy(item, Scope()) if isinstance(item, nodes.Probe) else item
        for item in program.items
        if not isinstance(item, nodes.Macro | nodes.Function)
    ]
    uncalled = [f for name, f in functions.items() if name not in expander.called]
    items += [expander.kept(function) for function in uncalled]
    return nodes.evolve(program, items=tuple(items))


def _functions(program: nodes.Program, report: Reporter) -> dict[str, nodes.Function]:
    """The functions of a program by name. Reports what is defined twice."""
    functions: dict[str, nodes.Function] = {}
    for item in [item for item in program.items if isinstance(item, nodes.Function)]:
        first = functions.setdefault(item.name, item)
        if first is not item:
            original = (first.span, "This is the original definition.")
            report.error(item.span, f"Redefinition of function: {item.name}", None, original)
    return functions


Callee = nodes.Macro | nodes.Function


@dataclass(frozen=True, slots=True)
class Argument:
    """What a parameter stands for: a node, and the scope that it was written in."""

    node: nodes.Node
    scope: Scope
    kind: Kind


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean in the script itself, or in the body of one expansion."""

    arguments: dict[str, Argument] = field(default_factory=dict)
    prefix: str = ""  # of the names that variables get; "" in the script itself
    chain: tuple[Callee, ...] = ()  # what the body is in, the outermost first
    origin: Span | None = None  # the call
    library: bool = False  # a body of `stdlib`, which the script's macros do not change

    def at(self, span: Span) -> Span:
        return span if self.origin is None else replace(span, origin=self.origin)


class _Expander:
    def __init__(
        self,
        macros: dict[str, list[nodes.Macro]],
        functions: dict[str, nodes.Function],
        report: Reporter,
    ) -> None:
        self.macros, self.functions, self.report = macros, functions, report
        self.called: set[str] = set()  # functions
        self.active: list[str] = []  # expansions around the node at hand, arguments among them
        self.depth = self.copies = 0

    def copy(self, node: nodes.N, scope: Scope) -> nodes.N:
        return nodes.rebuild(node, partial(self.expand, scope=scope), scope.at)

    def expand(self, node: nodes.Node, scope: Scope) -> nodes.Node:
        self._enter(scope.at(node.span))
        match node:
            case nodes.Call():
                made = self._call(node, scope)
            case nodes.Identifier():
                made = self._word(node, scope)
            case nodes.Variable():
                made = self._variable(node, scope)
            case nodes.Map():
                made = self._map(node, scope)
            case nodes.TypeName():
                made = self._type(node, scope)
            case nodes.Offsetof():
                made = self._offsetof(node, scope)
            case nodes.Sizeof() | nodes.Typeof() | nodes.Typeinfo():
                made = nodes.rebuild(node, partial(self._inspected, scope=scope), scope.at)
            case _:
                made = self.copy(node, scope)
        self.depth -= 1
        return made

    def _enter(self, span: Span) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self._stop(span, f"nested too deeply (over {MAX_DEPTH} levels)")

    def _stop(self, span: Span, message: str) -> NoReturn:
        raise ScriptError([*self.report.errors, Diagnostic(message, span)])

    def _count(self, span: Span) -> None:
        self.copies += 1
        if self.copies > MAX_COPIES:
            self._stop(span, f"too much comes out of macros (over {MAX_COPIES} copies)")

    # Calls

    def _overloads(self, name: str, scope: Scope) -> list[nodes.Macro]:
        own = [] if scope.library else self.macros.get(name, [])
        return [*own, *stdlib.macros(name)]

    def _call(self, node: nodes.Call, scope: Scope) -> nodes.Node:
        overloads = self._overloads(node.name, scope)
        if not overloads:
            function = None if scope.library else self.functions.get(node.name)
            made = self.copy(node, scope)
            return made if function is None else self._function(function, made, scope)
        return self._chosen(node, overloads, [self._argument(a, scope) for a in node.args], scope)

    def _chosen(
        self,
        node: nodes.Call | nodes.Identifier,
        overloads: list[nodes.Macro],
        given: list[Argument],
        scope: Scope,
    ) -> nodes.Node:
        """The expansion of the macro that takes these arguments."""
        kinds = [argument.kind for argument in given]
        macro = matching(overloads, kinds)
        if macro is not None:
            return self._expansion(macro, node, given, scope)
        if node.name not in FUNCTIONS and builtin(node.name) is None:
            spans = [argument.scope.at(argument.node.span) for argument in given]
            problem = no_match(node.name, overloads, kinds, spans)
            self.report.error(scope.at(node.span), *problem)
        return self.copy(node, scope)

    def _expansion(
        self,
        macro: nodes.Macro,
        node: nodes.Call | nodes.Identifier,
        given: list[Argument],
        scope: Scope,
    ) -> nodes.Node:
        call, name = scope.at(node.span), macro.name
        if self._recursive("macro", macro, call, scope):
            return self.copy(node, scope)
        self._count(call)
        again = self.active.count(name)
        inner = Scope(
            arguments={p.name: a for p, a in zip(macro.parameters, given, strict=True)},
            prefix=f"$${name}{f'#{again}' if again else ''}_",
            chain=(*scope.chain, macro),
            origin=call,
            library=macro in stdlib.macros(name),
        )
        self.active.append(name)
        self._enter(call)
        body = self.copy(macro.body, inner)
        self.depth -= 1
        self.active.pop()
        return nodes.evolve(body, span=call)

    def _recursive(self, kind: str, callee: Callee, call: Span, scope: Scope) -> bool:
        if callee not in scope.chain:
            return False
        circle = (*scope.chain[scope.chain.index(callee) :], callee)
        chain = " > ".join(c.name for c in circle)
        self.report.error(call, f"Recursive {kind} call detected. Call chain: {chain}")
        return True

    def _function(self, function: nodes.Function, call: nodes.Call, scope: Scope) -> nodes.Expr:
        """A call whose arguments are in place already."""
        self.called.add(function.name)
        args = [a for a in call.args if not isinstance(a, nodes.TypeName | nodes.Typeof)]
        if len(args) < len(call.args):
            self.report.error(call.span, MISPLACED_TYPEOF)
        return self.inlined(function, call.span, tuple(args), scope)

    def kept(self, function: nodes.Function) -> nodes.Function:
        """A function that nothing calls: its body is a call, to be checked."""
        call = nodes.Discard(
            span=function.span, value=self.inlined(function, function.span, (), Scope())
        )
        return nodes.evolve(function, body=nodes.Block(span=function.span, statements=(call,)))

    def inlined(
        self, function: nodes.Function, call: Span, args: tuple[nodes.Expr, ...], scope: Scope
    ) -> nodes.Inlined:
        """The body of a function in the place of a call."""
        if self._recursive("function", function, call, scope):
            function = nodes.evolve(function, body=nodes.Block(span=call, statements=()))
        self._count(call)
        prefix, chain = f"$${function.name}_", (*scope.chain, function)
        inner = Scope(prefix=prefix, chain=chain, origin=None if call is function.span else call)
        self._enter(call)
        made = self.copy(function, inner)
        self.depth -= 1
        return nodes.Inlined(
            span=call,
            statements=made.body.statements,
            result=made.body.result,
            name=function.name,
            parameters=made.parameters,
            args=args,
            returns=made.returns,
            returned=nodes.Variable(span=call, name=f"{prefix}return"),
        )

    def _argument(self, node: nodes.Node, scope: Scope) -> Argument:
        match node:
            case nodes.Variable():
                return Argument(node, scope, "variable")
            case nodes.Map(key=None):
                return Argument(node, scope, "map")
            case nodes.Typeof():
                return Argument(node, scope, "type")
            case nodes.Identifier() if node.name in scope.arguments:
                argument = scope.arguments[node.name]
                return argument if argument.kind == "type" else replace(argument, kind="expression")
        return Argument(node, scope, "expression")

    # Names

    def _word(self, node: nodes.Identifier, scope: Scope) -> nodes.Node:
        if node.name in scope.arguments:
            return self._put(scope.arguments[node.name], scope.at(node.span))
        overloads = self._overloads(node.name, scope)
        if not overloads or node.name in RESERVED or argument_number(node.name) is not None:
            return self.copy(node, scope)
        return self._chosen(node, overloads, [], scope)

    def _put(self, argument: Argument, use: Span) -> nodes.Node:
        """An argument in the place of its parameter; it may be read there, not written."""
        scope = argument.scope
        self._count(use)
        made = self.expand(argument.node, scope if scope.origin else replace(scope, origin=use))
        if isinstance(made, nodes.Typeof):
            self.report.error(made.span, MISPLACED_TYPEOF)
        if isinstance(made, nodes.Variable | nodes.Map):
            return nodes.Block(span=made.span, statements=(), result=made)
        return made

    def _variable(self, node: nodes.Variable, scope: Scope) -> nodes.Variable:
        span, name = scope.at(node.span), node.name
        while name in scope.arguments:
            argument = scope.arguments[name]
            assert isinstance(argument.node, nodes.Variable)
            name, scope = argument.node.name, argument.scope
        return nodes.Variable(span=span, name=scope.prefix + name)

    def _map(self, node: nodes.Map, scope: Scope) -> nodes.Map:
        made, name = self.copy(node, scope), node.name
        while name in scope.arguments:
            argument = scope.arguments[name]
            assert isinstance(argument.node, nodes.Map)
            name, scope = argument.node.name, argument.scope
        if scope.chain and isinstance(scope.chain[-1], nodes.Macro):
            text = f"Unhygienic access to map: {name}. Maps must be passed into the macro"
            self.report.error(made.span, f"{text} as arguments.")
        return nodes.evolve(made, name=name)

    # Types

    def _inspected(self, node: nodes.Node, scope: Scope) -> nodes.Node:
        """What `sizeof` and kin ask about: a bare word may stand for an expression."""
        if isinstance(node, nodes.TypeName) and not node.keyword and not node.suffixes:
            argument = scope.arguments.get(node.name)
            if argument is not None and argument.kind != "type":
                return self._put(argument, scope.at(node.span))
        return self.expand(node, scope)

    def _type(self, node: nodes.TypeName, scope: Scope) -> nodes.TypeName | nodes.Typeof:
        """A type that may be made of one passed as `typeof(T)`: `t`, `t*`, `struct t`."""
        argument = scope.arguments.get(node.name)
        if argument is None:
            return self.copy(node, scope)
        made = self.expand(argument.node, argument.scope)
        if isinstance(made, nodes.Typeof):
            if not node.keyword and not node.suffixes:
                return made
            of = made.of
            if isinstance(of, nodes.TypeName) and not (
                node.keyword and (of.keyword or of.suffixes)
            ):
                keyword, suffixes = node.keyword or of.keyword, of.suffixes + node.suffixes
                return nodes.evolve(of, keyword=keyword, suffixes=suffixes)
        macro = scope.chain[-1].name
        self.report.error(
            made.span,
            f"Invalid replacement for macro '{macro}' type parameter '{node.name}' which makes up "
            f"the type '{node.span.text}'",
        )
        return self.copy(node, scope)

    def _offsetof(self, node: nodes.Offsetof, scope: Scope) -> nodes.Offsetof:
        made = nodes.rebuild(node, partial(self._inspected, scope=scope), scope.at)
        if len(node.path) == 1 and (argument := scope.arguments.get(node.path[0])):
            path = _path(argument.node)
            return nodes.evolve(made, path=path) if path else made
        return made


def _path(node: nodes.Node) -> tuple[str, ...]:
    """`a.b.c` as the member argument of offsetof; nothing if it is something else."""
    if isinstance(node, nodes.Identifier):
        return (node.name,)
    if isinstance(node, nodes.FieldAccess) and (path := _path(node.operand)):
        return (*path, node.name)
    return ()
