"""Script text → nodes: the LALR driver over `tables.py`, `lexer.py` and `tree.py`.

`python -m bpfscript.frontend.parser --prebuild` writes the tables into the package.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache

from bpfscript.diagnostics import Source, Span
from bpfscript.frontend import nodes, tables
from bpfscript.frontend.lexer import Lexer, Token
from bpfscript.frontend.literals import LiteralFault, encode
from bpfscript.frontend.tree import Builder, fail

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# Later stages walk the tree by recursion. Parentheses alone add no depth.
MAX_DEPTH = 200

# What is said where one of these rules may begin; the first one counts.
EXPECTED = {
    "expression": "expected expression",
    "unary": "expected expression",
    "primary": "expected expression",
    "config_key": "expected config key",
    "config_value": "expected string, int, boolean, or ident",
    "import_path": "expected string after 'import'",
    "import_end": "expected ';' after import",
    "macro_name": "expected macro name",
    "macro_parameter": "expected macro argument ($var, @map, or identifier)",
    "function_name": "expected function name",
    "function_variable": "expected variable in function argument",
    "map_name": ("root-level let statements need to be map declarations, e.g. let @a = hash(2);"),
    "map_kind": "expected map type name",
    "max_entries": "expected positive integer for map declaration max entries",
    "let_variable": "expected variable after 'let'",
    "for_variable": "expected variable in for loop",
    "else_branch": "expected '{' or 'if' after 'else'",
    "address_operand": "address-of operator (&) can only be used on a map or variable",
    "type_name": "expected type name",
    "tag": "expected identifier",
    "member": "expected field name",
    "record_name": "expected identifier",
}
# Otherwise, the first of these that may come.
CLOSERS = (")", "]", ";", "}", "_CLOSE_PREDICATE", "{", ":", "..", "=", ",", "(", "IDENT")
SPELLING = {
    "_CLOSE_PREDICATE": "'/' to close predicate",
    "..": "map or range in for loop",
    "IDENT": "identifier",
}
TOO_LATE = {
    "config": "config must appear before probes and functions",
    "import": "root imports must appear before probes and functions",
    "C_DEFINITION": "C definitions must appear before probes and functions",
}


def parse(source: Source) -> nodes.Program:
    """The tree of a script. Raises ScriptError."""
    lexer = _lexer(source)
    program: nodes.Program = _Run(source, lexer, "program").parse(lexer.script())
    return program


def parse_expression(source: Source) -> nodes.Expr:
    """The tree of a text that is one expression, as the body of a C macro. Raises ScriptError."""
    lexer = _lexer(source)
    expression: nodes.Expr = _Run(source, lexer, "lone_expression").parse(lexer.expression())
    return expression


def _lexer(source: Source) -> Lexer:
    try:
        encode(source.text)
    except LiteralFault as e:
        fail(Span(source, e.start, e.end), e.message)
    return Lexer(source.text)


@cache
def _tables() -> tables.Tables:
    return tables.load()


class _Run:
    """One parse. The four stacks have one entry for each symbol; `states` has one more below.

    values   a Token, what an action returned, or a list to splice
    spans    offsets (start, end)
    depths   of the tree so far
    """

    def __init__(self, source: Source, lexer: Lexer, start: str) -> None:
        self.source, self.lexer = source, lexer
        self.tables, self.builder = _tables(), Builder()
        self.end = self.tables.ends[start]
        self.states = [self.tables.starts[start]]
        self.values: list[Any] = []
        self.spans: list[tuple[int, int]] = []
        self.depths: list[int] = []

    def parse(self, tokens: Iterator[Token]) -> Any:
        previous: Token | None = None
        for token in tokens:
            while (action := self._action(self.states[-1], token)) is not None and action < 0:
                self._reduce(~action)
                if token.kind == "$END" and self.states[-1] == self.end:
                    return self.values[-1]
            if action is None:
                self._refuse(token, previous)
            if token.fault:
                fail(Span(self.source, token.fault.start, token.fault.end), token.fault.message)
            self.states.append(action)
            self.values.append(token)
            self.spans.append((token.start, token.end))
            self.depths.append(0)
            previous = token
        raise AssertionError("the lexer ended without $END")

    def _action(self, state: int, token: Token) -> int | None:
        row = self.tables.actions[state]
        action = row.get(token.kind)
        if action is None and token.text.isascii() and token.text.isidentifier():
            return row.get("IDENT")  # a word that is no keyword here
        return action

    def _reduce(self, number: int) -> None:
        origin, size, picks, action = self.tables.rules[number]
        first = len(self.values) - size
        taken, depths = self.values[first:], self.depths[first:]
        if taken:
            span = self.spans[first][0], self.spans[-1][1]
        else:
            end = self.spans[-1][1] if self.spans else 0
            span = end, end
        depth = max(depths, default=0)
        del self.states[first + 1 :], self.values[first:], self.spans[first:], self.depths[first:]

        if action == "":
            value = taken[0]
        elif action == "*":
            value = _children(picks, taken)
        else:
            where = Span(self.source, *span)
            children = _children(picks, taken)
            value = getattr(self.builder, action)(where, *children)
            if len(children) != 1 or value is not children[0]:
                depth += 1
                if depth > MAX_DEPTH:
                    fail(where, f"nested too deeply (over {MAX_DEPTH} levels)")
        self.values.append(value)
        self.spans.append(span)
        self.depths.append(depth)
        self.states.append(self.tables.gotos[self.states[-1]][origin])

    # Faults

    def _refuse(self, token: Token, previous: Token | None) -> NoReturn:
        start, end = self.lexer.place(token.start)
        if token.kind == "C_DEFINITION":
            end = token.end
        message = self._message(token, previous)
        if previous and message == EXPECTED["map_name"]:
            start, end = previous.start, previous.end
        fail(Span(self.source, start, end), message)

    def _message(self, token: Token, previous: Token | None) -> str:
        states = self._settled()
        gotos, row = self.tables.gotos[states[-1]], self.tables.actions[states[-1]]
        if token.kind in TOO_LATE and "probe" in gotos:
            return TOO_LATE[token.kind]
        if token.kind == "$END" and gotos and row.get("}", -1) >= 0:
            return "expected '}'"
        if "field_name" in gotos and previous:
            return f"expected field name after '{previous.text}'"
        for rule, message in EXPECTED.items():
            if rule in gotos:
                return message
        for kind in CLOSERS:
            if self._after(states, kind):
                return "expected " + SPELLING.get(kind, f"'{kind}'")
        return "unexpected end of file" if token.kind == "$END" else "unexpected input"

    def _settled(self) -> list[int]:
        """The states after the reductions that come whatever the next token is."""
        states = self.states.copy()
        while len(choices := set(self.tables.actions[states[-1]].values())) == 1:
            (action,) = choices
            if action >= 0:
                break
            self._pop(states, ~action)
        return states

    def _after(self, states: list[int], kind: str) -> bool:
        """Would a token of this kind be shifted?"""
        states = states.copy()
        while (action := self.tables.actions[states[-1]].get(kind)) is not None and action < 0:
            self._pop(states, ~action)
        return action is not None

    def _pop(self, states: list[int], number: int) -> None:
        origin, size, *_ = self.tables.rules[number]
        del states[len(states) - size :]
        states.append(self.tables.gotos[states[-1]][origin])


def _children(picks: tuple[int | None, ...], taken: list[Any]) -> list[Any]:
    """What a rule keeps. A list in front is taken over: long lists are built in linear time."""
    if picks and picks[0] is not None and picks[0] < 0:
        children: list[Any] = taken[~picks[0]]
        picks = picks[1:]
    else:
        children = []
    for pick in picks:
        if pick is None:
            children.append(None)
        elif pick < 0:
            children.extend(taken[~pick])
        else:
            children.append(taken[pick])
    return children


if __name__ == "__main__":
    if sys.argv[1:] != ["--prebuild"]:
        sys.exit("usage: python -m bpfscript.frontend.parser --prebuild")
    tables.prebuild()
