"""Which macro a call means: by the number of its arguments and by their kinds (LANGUAGE §1.9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from bpfscript.diagnostics import Reporter, Span
from bpfscript.plain import replace

from . import nodes

Kind = Literal["variable", "map", "expression", "type"]
SHOWN = {"variable": "a variable", "map": "a map", "expression": "an expression", "type": "a type"}

Message = tuple[str, None, *tuple[tuple[Span, str], ...]]  # text, no hint, further places


def definitions(program: nodes.Program, report: Reporter) -> dict[str, list[nodes.Macro]]:
    """The macros of a program by name, in their order. Reports what is defined twice."""
    macros: dict[str, list[nodes.Macro]] = {}
    for macro in program.items:
        if not isinstance(macro, nodes.Macro):
            continue
        overloads = macros.setdefault(macro.name, [])
        _check_parameters(macro, report)
        other = matching(overloads, list(map(_wanted, macro.parameters)))
        if other is not None:
            original = (_heading(other), "This is the original definition.")
            report.error(_heading(macro), f"Redefinition of macro: {macro.name}", None, original)
        overloads.append(macro)
    return macros


def _check_parameters(macro: nodes.Macro, report: Reporter) -> None:
    words = {nodes.Variable: "Variable", nodes.Map: "Map", nodes.Identifier: "Ident"}
    seen: set[str] = set()
    for parameter in macro.parameters:
        if parameter.name in seen:
            text = f"{words[type(parameter)]} for macro argument has already been used"
            report.error(parameter.span, f"{text}: {parameter.name}")
        seen.add(parameter.name)


def matching(overloads: list[nodes.Macro], kinds: Sequence[Kind]) -> nodes.Macro | None:
    """The first that takes arguments of these kinds."""
    for macro in overloads:
        if len(macro.parameters) == len(kinds) and not _mismatches(macro, kinds):
            return macro
    return None


def no_match(
    name: str, overloads: list[nodes.Macro], kinds: Sequence[Kind], spans: Sequence[Span]
) -> Message:
    """What is wrong with a call that no macro takes. `kinds` and `spans` are of its arguments."""
    text = f"Call to {name}() has arguments that do not match any definition."
    alike = [macro for macro in overloads if len(macro.parameters) == len(kinds)]
    if not alike:
        count = (
            f"The closest definition of {name}() has a different number of arguments. "
            f"Expected: {len(overloads[0].parameters)} but got {len(kinds)}"
        )
        return text, None, (_heading(overloads[0]), count)
    closest = min(alike, key=lambda macro: len(_mismatches(macro, kinds)))
    wrong = _mismatches(closest, kinds)[0]
    parameter = closest.parameters[wrong]
    fault = (
        f"Mismatched arg. {name}() expects {SHOWN[_wanted(parameter)]} for arg {parameter.name} "
        f"but got {SHOWN[kinds[wrong]]}."
    )
    where = "This is the argument in the closest definition."
    return text, None, (spans[wrong], fault), (parameter.span, where)


def _wanted(parameter: nodes.Variable | nodes.Map | nodes.Identifier) -> Kind:
    match parameter:
        case nodes.Variable():
            return "variable"
        case nodes.Map():
            return "map"
    return "expression"


def _mismatches(macro: nodes.Macro, kinds: Sequence[Kind]) -> list[int]:
    """Arguments that a macro of so many parameters does not take. A bare word takes any."""
    pairs = zip(map(_wanted, macro.parameters), kinds, strict=True)
    return [i for i, (want, kind) in enumerate(pairs) if want not in ("expression", kind)]


def _heading(macro: nodes.Macro) -> Span:
    """`macro name`."""
    text, start = macro.span.source.text, macro.span.start
    end = text.index(macro.name, start + len("macro")) + len(macro.name)
    return replace(macro.span, end=end)
