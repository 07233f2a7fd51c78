"""Questions about the kernel's types as records of an object: types of its own, indexes into them.

A local type has the members that are asked for and no others, where the kernel compiled for has
them; members of anonymous members are its own. So libbpf (relo_core.c) and `core_relocations` find
by name the same member in another kernel.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpfscript import core_relocations as core
from bpfscript.backends import btf
from bpfscript.btf import Btf, BtfType
from bpfscript.core_relocations import Question
from bpfscript.diagnostics import CompilerBug

Tree = dict[str | int, "Tree"]  # by step; elements of an array share the one at 0


class CoreTypes:
    """The local types of all questions of a module. `kernel`: the types compiled for."""

    def __init__(self, kernel: Btf, types: btf.Writer, questions: Iterable[Question]) -> None:
        self._kernel, self._types = kernel, types
        self._trees: dict[str, Tree] = {}
        for question in sorted(set(questions), key=str):
            tree = self._trees.setdefault(question.root, {})
            for step in question.steps:
                tree = tree.setdefault(0 if isinstance(step, int) else step, {})
        self._ids = {root: self._root(root, tree) for root, tree in self._trees.items()}

    def record(self, question: Question) -> tuple[int, str]:
        """(type id, access string) of a question."""
        tree, type = self._trees[question.root], self._type(question.root)
        if type.kind in ("enum", "enum64") and question.steps:
            return self._ids[question.root], str(sorted(map(str, tree)).index(str(*question.steps)))
        numbers = [0]
        for step in question.steps:
            if isinstance(step, int):
                numbers.append(step)
                type = core.plain(self._kernel, self._kernel.array(type)[0])
            else:
                rows = self._members(type, tree)
                numbers.append([name for name, *_ in rows].index(step))
                type = rows[numbers[-1]][1]
            tree = tree[0 if isinstance(step, int) else step]
        return self._ids[question.root], ":".join(map(str, numbers))

    def _type(self, root: str) -> BtfType:
        found = next(core.root_of(self._kernel, root), None)
        if found is None:
            raise CompilerBug(f"the target has no {root}")
        return found

    def _root(self, root: str, tree: Tree) -> int:
        type = self._type(root)
        if type.kind not in ("enum", "enum64"):
            return self._local(type, tree)
        values = self._kernel.enumerators(type)
        rows = [(name, values[name]) for name in sorted(map(str, tree))]
        return self._types.enum(type.name, type.size, type.flag, rows)

    def _members(self, type: BtfType, tree: Tree) -> list[tuple[str, BtfType, int, int]]:
        """(name, type, offset in bits, bits of a bitfield) of the members asked for."""
        rows = []
        for name in map(str, tree):
            found = core.member(self._kernel, type, name)
            if found is None:
                raise CompilerBug(f"the target's {type.name} has no {name}")
            part, offset = found
            rows.append((name, core.plain(self._kernel, part.type), offset, part.bits))
        return sorted(rows, key=lambda row: (row[2], row[0]))

    def _local(self, type: BtfType, tree: Tree) -> int:
        kernel, types = self._kernel, self._types
        match type.kind:
            case "int":
                _, signed, boolean = kernel.integer(type)
                return types.integer(type.name, type.size, signed | 4 * boolean)
            case "ptr":
                return types.pointer()
            case "array":
                element, count = kernel.array(type)
                of = self._local(core.plain(kernel, element), tree.get(0, {}))
                return types.array(of, count)
            case "enum" | "enum64":
                return types.enum(type.name, type.size, type.flag, ())
            case "struct" | "union":
                members = [
                    (name, self._local(part, tree[name]), offset, bits)
                    for name, part, offset, bits in self._members(type, tree)
                ]
                return types.composite(type.kind == "union", type.name, type.size, members)
        return types.blob(type.size)
