"""Parse tables of `grammar.lark`: read from the prebuilt file, or else made by lark.

Lark is imported only to make them. The prebuilt file holds the grammar text it was made from; when
that is not the text beside it, it is passed over. Neither path writes anything.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

STARTS = ("program", "lone_expression")
GRAMMAR = os.path.join(os.path.dirname(__file__), "grammar.lark")
PREBUILT = os.path.join(os.path.dirname(__file__), "grammar.tables")  # JSON


class Rule(NamedTuple):
    """What a reduction does: take `size` values, give `picks` of them to `action`.

    A pick is an index, ~index of a list to splice, or None for an absent optional. An action of ""
    passes the one child on; "*" makes a list, to be spliced.
    """

    origin: str
    size: int
    picks: tuple[int | None, ...]
    action: str


class Tables(NamedTuple):
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
        found = json.loads(_text(PREBUILT))
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("grammar") != grammar:
        return build(grammar)
    rules = [Rule(origin, size, tuple(picks), act) for origin, size, picks, act in found["rules"]]
    return Tables(found["starts"], found["ends"], found["actions"], found["gotos"], rules)


def prebuild() -> None:
    """Write the prebuilt file into the package."""
    grammar = _text(GRAMMAR)
    text = json.dumps({"grammar": grammar, **build(grammar)._asdict()}, separators=(",", ":"))
    with open(PREBUILT, "w", encoding="utf-8") as file:
        file.write(text + "\n")


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
    nonterminals = {rule.origin for rule in rules} | set(STARTS)
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
    return Rule(origin, len(symbols), tuple(picks), action)
