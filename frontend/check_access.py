"""Fields, elements and indices (LANGUAGE §2.5, §2.6)."""

from __future__ import annotations

from bpfscript.plain import replace
from bpfscript.types import (
    INT8,
    VOID,
    Array,
    Bool,
    Int,
    Pointer,
    Record,
    String,
    Struct,
    Tuple,
    Type,
    Unsupported,
)

from . import nodes
from .check_operators import Operators
from .config import KEYS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.words import Space


class Access(Operators):
    def field_access(self, node: nodes.FieldAccess) -> Type | None:
        operand, name = node.operand, node.name
        if isinstance(operand, nodes.Identifier) and operand.name == "args":
            return self._argument(node)
        if isinstance(operand, nodes.Identifier) and operand.name == "config" and name in KEYS:
            value = self.configuration.value(name)
            return self.literal(node, value.encode() if isinstance(value, str) else value)
        if isinstance(operand, nodes.Typeinfo):
            return self.typeinfo_field(operand, node)
        type = self.expression(operand)
        space: Space = "none"
        while isinstance(type, Pointer):
            space, type = type.space, type.to
        match type:
            case None:
                return None
            case Tuple() if name.isdecimal() and not isinstance(self.types[operand], Pointer):
                return self._element(node, type, int(name))
            case Record():
                return self._record_field(node, type)
            case Struct():
                return self._struct_field(node, type, space)
        what = "index" if name.isdecimal() else "field"
        whole = self.types[operand] if name.isdecimal() else type
        self.error(node.span, f"Can not access {what} '{name}' on expression of type '{whole}'")
        return None

    def _argument(self, node: nodes.FieldAccess) -> Type | None:
        if self.expression(node.operand) is None:
            return None
        arguments = self.instance.arguments or {}
        if node.name in arguments:
            found = arguments[node.name]
            if not isinstance(found.type, Unsupported):
                return found.type
            nowhere = found.source == "nowhere"
            why = "is not where a program can read it" if nowhere else "has unsupported type"
            self.error(node.span, f"{node.name} {why}")
            return None
        if self.instance.kind == "uprobe":
            self.error(node.span, f"Can't find function parameter {node.name}")
        elif self.instance.kind == "tracepoint" and node.name.startswith("common_"):
            self.error(node.span, "BPF does not support accessing common tracepoint fields")
        else:
            struct = self.instance.args_type
            name = f"struct {struct.name.removeprefix('struct ')}" if struct else "args"
            self._no_field(node, name)
        return None

    def _no_field(self, node: nodes.FieldAccess, struct: str) -> None:
        self.error(
            node.span,
            f"Struct/union of type '{struct}' does not contain a field named '{node.name}'",
        )

    def _element(
        self, node: nodes.FieldAccess | nodes.Index, type: Tuple, index: int
    ) -> Type | None:
        if not 0 <= index < len(type.of):
            self.error(
                node.span,
                f"Invalid tuple index: {index}. Found {len(type.of)} elements in tuple.",
            )
            return None
        operand = self.elements.get(node.operand, node.operand)
        if isinstance(operand, nodes.TupleLiteral):
            self._fold_to(node, operand.elements[index])
        return type.of[index]

    def _fold_to(self, node: nodes.Expr, element: nodes.Expr) -> None:
        """Note which element of a literal an access means."""
        self.elements[node] = element
        if element in self.constants:
            self.constants[node] = self.constants[element]

    def _record_field(self, node: nodes.FieldAccess, type: Record) -> Type | None:
        if node.name not in type.names:
            self.error(node.span, f"Record does not contain a field named '{node.name}'")
            return None
        index = type.names.index(node.name)
        operand = self.elements.get(node.operand, node.operand)
        if isinstance(operand, nodes.RecordLiteral):
            self._fold_to(node, operand.elements[operand.names.index(node.name)])
        return type.of[index]

    def _struct_field(self, node: nodes.FieldAccess, struct: Struct, space: Space) -> Type | None:
        fields = self.fields_of(struct)
        found = next((f for f in fields if f.name == node.name), None)
        if found is None:
            if fields:
                self._no_field(node, struct.name)
            else:
                self.error(
                    node.span, f"Unknown struct/union: '{struct.name}'", self.missing_types()
                )
            return None
        if isinstance(found.type, Pointer) and found.type.space == "none":
            return replace(found.type, space=space)
        return found.type

    def index(self, node: nodes.Index) -> Type | None:
        type, index = self.expression(node.operand), self.expression(node.index)
        if type is None or index is None:
            return None
        match type:
            case Tuple():
                at = self.number(node.index)
                if at is not None:
                    return self._element(node, type, at)
                self.error(
                    node.span, "Array-style access for tuples only valid for integer literals"
                )
                return None
            case Array():
                return type.of if self._index_fits(node, index, type.count) else None
            case String():
                return self._character(node, type, index)
            case Pointer(to=to):
                if to == VOID:
                    self.error(
                        node.span,
                        "The array index operator [] cannot be used on a pointer to an unsized "
                        "type (void *).",
                    )
                    return None
                return to if self._index_fits(node, index, None) else None
        self.error(
            node.span,
            "The array index operator [] can only be used on arrays, pointers, and tuples, "
            f"found {type}.",
        )
        return None

    def _index_fits(self, node: nodes.Index, index: Type, count: int | None) -> bool:
        at = self.number(node.index)
        unsigned = isinstance(index, Int) and (not index.signed or index.flexible)
        if not (isinstance(index, Bool) or unsigned or (count is None and at is not None)):
            self.error(
                node.span,
                "The array index operator [] only accepts non-negative integer indices. "
                f"Got: {index}",
            )
            return False
        if count and at is not None and at >= count:
            self.error(node.span, f"the index {at} is out of bounds for array of size {count}")
            return False
        return True

    def _character(self, node: nodes.Index, type: String, index: Type) -> Type | None:
        if not self._index_fits(node, index, type.size):
            return None
        text, at = self.constants.get(node.operand), self.number(node.index)
        if isinstance(text, bytes) and at is not None:
            return self.literal(node, (text + b"\0")[at], INT8)
        return INT8
