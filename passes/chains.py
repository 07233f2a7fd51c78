"""Chains of functions that call each other, or that loops call back: they share a stack."""

from __future__ import annotations

from bpfscript.ir.core import Module


def chain_lengths(module: Module) -> dict[str, int]:
    """By name of each function: how many the longest chain of calls has that it is part of.

    Linear in instructions and in calls times their depth.
    """
    callees: dict[str, set[str]] = {f.name: set() for f in module.functions}
    callers: dict[str, set[str]] = {f.name: set() for f in module.functions}
    for function in module.functions:
        for instr in function.instructions():
            if "function" in instr.attrs:
                callee = str(instr.attrs["function"])
                callees[function.name].add(callee)
                callers[callee].add(function.name)

    def longest(name: str, next: dict[str, set[str]]) -> int:
        return 1 + max((longest(n, next) for n in next[name]), default=0)

    return {name: longest(name, callees) + longest(name, callers) - 1 for name in callees}
