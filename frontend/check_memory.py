"""Strings, buffers and bytes (LANGUAGE §5.2)."""

from __future__ import annotations

from bpfscript.types import (
    BOOL,
    INT32,
    UINT64,
    VOID,
    Array,
    Bool,
    Buffer,
    Inet,
    Int,
    Mac,
    Pointer,
    String,
    Type,
)

from . import nodes
from .check_output import Output
from .join import base_name, unsigned_type
from .literals import encode

STRING_LIKE = "string-like values must be either strings, arrays or pointers"


class Memory(Output):
    def string(self, node: nodes.Call) -> Type | None:
        what, type = self.argument(node, 0), self.type_at(node, 0)
        if what is None or type is None:
            return None
        if not isinstance(type, String | Int | Pointer | Bool) and not is_characters(type):
            self.error(
                node.span,
                "str() expects a string, integer or a pointer type as first argument "
                f"({type} provided)",
            )
            return None
        length = self._literal_length(node)
        if length is not None and length < 0:
            self.error(node.span, f"str cannot use negative length ({length})")
            return None
        text = self._literal_text(what)
        if text is not None and (len(node.args) == 1 or length is not None):
            return self.literal(node, text if length is None else text[:length])
        if length is None:
            return String(self.string_size)
        if length >= self.limits.max_strlen:
            self.report.warning(
                node.span,
                f"length param ({length}) is too long and will be shortened to "
                f"{self.limits.max_strlen} bytes (see BPFTRACE_MAX_STRLEN)",
            )
        return String(min(length + 1, self.string_size))

    def _literal_length(self, node: nodes.Call) -> int | None:
        return self.number_at(node, 1)

    def _literal_text(self, node: nodes.Expr) -> bytes | None:
        """The text that `str(literal)` gives: of a parameter, what was written."""
        if isinstance(node, nodes.Positional) and node.index:
            return encode(self.parameter(node.index))
        if isinstance(node, nodes.Binary) and isinstance(node.left, nodes.Positional):
            skipped = self.number(node.right)
            if node.op == "+" and skipped is not None and skipped >= 0 and node.left.index:
                return encode(self.parameter(node.left.index))[skipped:]
        value = self.constants.get(node)
        if value is None or isinstance(value, bytes):
            return value
        return str(value).lower().encode() if isinstance(value, bool) else str(value).encode()

    def parameter(self, index: int) -> str:
        """Text of `$index`, empty if it is not given."""
        given = self.checked.options.positional
        return given[index - 1] if index <= len(given) else ""

    def buffer(self, node: nodes.Call) -> Type | None:
        type = self.type_at(node, 0)
        if type is None:
            return None
        if not isinstance(type, Int | Pointer | String | Array | Bool):
            self.error(
                node.span,
                f"buf() expects an integer, string, or array argument but saw {base_name(type)}",
            )
            return None
        room = self.limits.max_strlen - 4
        if len(node.args) == 1:
            if not isinstance(type, Array):
                self.error(
                    node.span,
                    f"buf() expects a length argument for non-array type {base_name(type)}",
                )
                return None
            return Buffer(4 + min(type.size, room))
        length = self._literal_length(node)
        if length is None:
            return Buffer(4 + room)
        if length < 0:
            self.error(node.span, f"buf cannot use negative length ({length})")
            return None
        return Buffer(4 + min(length, room))

    def strlen(self, node: nodes.Call) -> Type | None:
        return UINT64 if self._string_like(node, 0) else None

    def strcap(self, node: nodes.Call) -> Type | None:
        type = self.type_at(node, 0)
        if type is None or not self._string_like(node, 0):
            return None
        if isinstance(type, Pointer):
            return UINT64
        return self.literal(node, type.size, unsigned_type(type.size))

    def _string_like(self, node: nodes.Call, index: int) -> bool:
        type = self.type_at(node, index)
        if type is None or isinstance(type, String) or is_characters(type):
            return type is not None
        self.error(node.span, STRING_LIKE)
        return False

    def two_strings(self, node: nodes.Call) -> Type | None:
        return BOOL if node.name == "strcontains" else INT32

    def compare_strings(self, node: nodes.Call) -> Type | None:
        count = self.number_at(node, 2)
        if count is None or count < 0:
            self.error(node.span, "Builtin strncmp requires a non-negative literal")
            return None
        for index in (0, 1):
            type = self.type_at(node, index)
            if type is not None and not isinstance(type, String):
                self.error(
                    node.span,
                    f"strncmp() only supports string arguments ({base_name(type)} provided)",
                )
                return None
        return UINT64

    def swapped(self, node: nodes.Call) -> Type | None:
        type = self.type_at(node, 0)
        return Int(type.bits, False) if isinstance(type, Int) else None

    def mac(self, node: nodes.Call) -> Type | None:
        type = self.typed_at(node, 0)
        if type is None:
            return None
        if node.args[0] in self.constants and isinstance(type, String):
            self.error(node.span, "macaddr() does not support literal string arguments")
        elif isinstance(type, Array | String) and type.size < 6:
            text = f"macaddr() argument must be at least 6 bytes in size ({type.size} provided)"
            self.error(node.span, text)
        elif not isinstance(type, Int | Pointer | Array | String):
            self.error(
                node.span,
                f"macaddr() only supports array or pointer arguments ({base_name(type)} provided)",
            )
        else:
            return Mac()
        return None

    def inet(self, node: nodes.Call) -> Type | None:
        types = [self.typed_at(node, index) for index in range(len(node.args))]
        what = types[-1]
        if what is None:
            return None
        if len(types) == 2 and types[0] is not None and not isinstance(types[0], Int):
            shown = base_name(types[0])
            self.error(node.span, f"ntop() only supports int arguments ({shown} provided)")
        elif not isinstance(what, Int | Array | String) or (
            not isinstance(what, Int) and what.size not in (4, 16)
        ):
            text = f"ntop() expects an integer or array argument of 4 or 16 bytes, got {what}"
            self.error(node.span, text)
        else:
            return Inet()
        return None

    def path_text(self, node: nodes.Call) -> Type:
        size = self.number_at(node, 1)
        return String(size if size is not None else self.limits.max_strlen)


def is_characters(type: Type) -> bool:
    """Arrays of bytes, and pointers to them."""
    of = type.of if isinstance(type, Array) else type.to if isinstance(type, Pointer) else VOID
    return isinstance(of, Int) and of.bits == 8
