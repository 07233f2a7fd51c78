"""Parse tables of `grammar.lark`: read from the prebuilt file, or else made by lark.

Lark is imported only to make them. The prebuilt file holds the grammar text it was made from; when
that is not the text beside it, it is passed over. Neither path writes anything.
"""

from __future__ import annotations

import marshal
import os
from sys import intern

from bpfscript.plain import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

STARTS = ("program", "lone_expression")
GRAMMAR = os.path.join(os.path.dirname(__file__), "grammar.lark")
PREBUILT = os.path.join(os.path.dirname(__file__), "grammar.tables")  # marshalled


Rule = tuple[str, int, tuple[int | None, ...], str]
"""What a reduction does: its rule's name, how many values it takes, which of them (picks) it gives
to which action.

A pick is an index, ~index of a list to splice, or None for an absent optional. An action of ""
passes the one child on; "*" makes a list, to be spliced.
"""


@dataclass(slots=True)
class Tables:
    """`actions[state][terminal]` is a state to shift to, or ~rule; `gotos[state][rule name]`."""

    starts: dict[str, int]
    ends: dict[str, int]
    actions: list[dict[str, int]]
    gotos: list[dict[str, int]]
    rules: list[Rule]


def load() -> Tables:
    """The tables of the grammar beside this file."""
    grammar = _text(GRAMMAR)
    try:
        with open(PREBUILT, "rb") as file:
            found = marshal.load(file)
    except (OSError, EOFError, TypeError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("grammar") != grammar:
        return build(grammar)
    return Tables(*found["tables"])


def prebuild() -> None:
    """Write the prebuilt file into the package."""
    grammar = _text(GRAMMAR)
    made = build(grammar)
    rows: dict[str, dict[str, int]] = {}  # equal ones are kept once

    def shared(row: dict[str, int]) -> dict[str, int]:
        return rows.setdefault(repr(row), {intern(name): number for name, number in row.items()})

    actions, gotos = list(map(shared, made.actions)), list(map(shared, made.gotos))
    rules = [(intern(origin), *rest) for origin, *rest in made.rules]
    tables = (made.starts, made.ends, actions, gotos, rules)
    with open(PREBUILT, "wb") as file:
        marshal.dump({"grammar": grammar, "tables": tables}, file)


def _text(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def build(grammar: str) -> Tables:
    """Have lark make the tables. Deterministic."""
    from lark import Lark
    from lark.grammar import Rule as LarkRule
    from lark.lexer import Lexer, TerminalDef

    class NoLexer(Lexer):
        def __init__(self, conf: object) -> None:
            pass

        def lex(self, lexer_state: object, parser_state: object) -> Any:
            raise NotImplementedError

    lark = Lark(grammar, parser="lalr", lexer=NoLexer, start=list(STARTS), maybe_placeholders=True)
    data, memo = lark.memo_serialize([TerminalDef, LarkRule])
    spelling = {
        entry["name"]: entry["pattern"]["value"]
        for entry in memo.values()
        if entry["__type__"] == "TerminalDef"
    }
    numbers: dict[int, int] = {}
    rules: list[Rule] = []
    written = [(key, entry) for key, entry in memo.items() if entry["__type__"] == "Rule"]
    for key, entry in sorted(written, key=lambda pair: repr(pair[1])):
        numbers[int(key)] = len(rules)
        rules.append(_rule(entry))

    parser = data["parser"]["parser"]
    tokens = {int(number): name for number, name in parser["tokens"].items()}
    nonterminals = {origin for origin, *_ in rules} | set(STARTS)
    # Lark numbers states in hash order; here it is the order in which they are reached.
    order = [parser["start_states"][start] for start in STARTS]
    rank = {state: number for number, state in enumerate(order)}
    actions: list[dict[str, int]] = []
    gotos: list[dict[str, int]] = []
    for state in order:
        row: dict[str, int] = {}
        goto: dict[str, int] = {}
        named = {tokens[int(n)]: entry for n, entry in parser["states"][state].items()}
        for name, (reduces, target) in sorted(named.items()):
            if reduces:
                row[spelling.get(name, name)] = ~numbers[target["@"]]
                continue
            if target not in rank:
                rank[target] = len(order)
                order.append(target)
            (goto if name in nonterminals else row)[spelling.get(name, name)] = rank[target]
        actions.append(row)
        gotos.append(goto)
    starts, ends = parser["start_states"], parser["end_states"]
    return Tables(
        {start: rank[starts[start]] for start in STARTS},
        {start: rank[ends[start]] for start in STARTS},
        actions,
        gotos,
        rules,
    )


def _rule(entry: dict[str, Any]) -> Rule:
    origin, symbols, options = entry["origin"]["name"], entry["expansion"], entry["options"]
    absent = list(options["empty_indices"]) or [False] * len(symbols)
    picks: list[int | None] = []
    index = 0
    for missing in absent:
        if missing:
            picks.append(None)
            continue
        symbol = symbols[index]
        if symbol["__type__"] == "NonTerminal":
            picks.append(~index if symbol["name"].startswith("_") else index)
        elif options["keep_all_tokens"] or not symbol["filter_out"]:
            picks.append(index)
        index += 1
    action = entry["alias"] or origin
    if origin.startswith("_"):
        action = "*"
    elif options["expand1"] and not entry["alias"] and len(picks) == 1:
        action = ""
    return origin, len(symbols), tuple(picks), action
