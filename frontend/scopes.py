"""Which variable a name means: lexical blocks, first assignment or `let` (LANGUAGE §2.7)."""

from __future__ import annotations

from bpfscript.diagnostics import Span
from bpfscript.types import VOID

from . import nodes
from .typed import Local


class Scopes:
    """The blocks that are open while a body is walked, innermost last.

    Walking the same body again meets the same `Local`s, with the types that they have got since.
    """

    def __init__(self) -> None:
        self.bindings: dict[nodes.Variable, Local] = {}
        self.restart()

    def restart(self) -> None:
        """Begin another walk of the body."""
        self._blocks: list[dict[str, tuple[Local, int]]] = [{}]
        self._calls = 0  # bodies of map loops around here: each is a function of its own
        self._assigned: set[Local] = set()
        self.declared: list[tuple[Local, Span]] = []  # by `let`, in order

    def open(self, callback: bool = False) -> None:
        self._blocks.append({})
        self._calls += callback

    def close(self, callback: bool = False) -> None:
        self._blocks.pop()
        self._calls -= callback

    def find(self, name: str) -> Local | None:
        """The variable that a name means here."""
        for block in reversed(self._blocks):
            if name in block:
                local, calls = block[name]
                local.captured |= calls < self._calls
                return local
        return None

    def declare(self, node: nodes.Variable, span: Span) -> Local:
        """A new variable of the innermost block. Until its type is known, it is VOID."""
        local = self.bindings.get(node)
        if local is None:
            local = self.bindings[node] = Local(node.name, VOID, span)
        self._blocks[-1][node.name] = (local, self._calls)
        return local

    def assign(self, local: Local) -> None:
        self._assigned.add(local)

    def assigned(self, local: Local) -> bool:
        """Whether an assignment has been walked over."""
        return local in self._assigned
