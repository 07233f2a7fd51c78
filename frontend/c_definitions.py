"""C definitions of a script (structs, unions, enums, #define, #include), parsed by libclang.

The text is parsed as the file `definitions.h` with its lines where the script has them, so that
clang's messages point at the script.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from bpfscript.diagnostics import CFault, Diagnostic, MachineError, Span
from bpfscript.types import (
    BOOL,
    INT8,
    VOID,
    Array,
    Field,
    Int,
    Pointer,
    String,
    Struct,
    Type,
    Unsupported,
)  # fmt: skip

from . import nodes

_UNSIGNED = ["UCHAR", "USHORT", "UINT", "ULONG", "ULONGLONG", "CHAR_U"]
_SIGNED = ["SCHAR", "SHORT", "INT", "LONG", "LONGLONG", "CHAR_S"]


class CDefinitions:
    """What C text defines. Raises CFault where clang finds a fault in it."""

    def __init__(
        self,
        definitions: Sequence[nodes.CDefinition],
        include_dirs: Sequence[str] = (),
        include_files: Sequence[str] = (),
    ) -> None:
        from clang.cindex import Index, TranslationUnit  # loaded only for scripts that need it

        text = "".join(
            f"{d.text};\n" if not d.text.startswith("#") else f"{d.text}\n" for d in definitions
        )
        args = [
            "-xc",
            "-std=gnu11",
            "-target",
            "x86_64-linux-gnu",
            "-fms-extensions",
            "-Wno-everything",
        ]
        args += [f"-I{directory}" for directory in include_dirs]
        for file in include_files:
            args += ["-include", file]
        self._macros_wanted = TranslationUnit.PARSE_DETAILED_PROCESSING_RECORD
        self._unit = Index.create().parse(
            "definitions.h", args, [("definitions.h", text)], self._macros_wanted
        )
        faults = [d for d in self._unit.diagnostics if d.severity >= d.Error]
        if faults and definitions:
            raise CFault([Diagnostic(_message(d), span_of(definitions)) for d in faults])
        if faults:  # of files that the command line includes
            error = MachineError(f"{_kind(faults[0])}: {faults[0].spelling}")
            error.status = CFault.status
            raise error

    def named(self, keyword: str | None, name: str) -> Type | None:
        """`struct S`, `enum E`, a typedef: its type, or None."""
        cursor = self._declared.get(f"{keyword} {name}" if keyword else f"typedef {name}")
        if cursor is None and keyword is None:
            cursor = next(
                (
                    c
                    for k in ("struct", "union", "enum")
                    if (c := self._declared.get(f"{k} {name}"))
                ),
                None,
            )
        return self._type(cursor.type) if cursor is not None else None

    def fields(self, struct: Struct) -> tuple[Field, ...] | None:
        """Fields of a struct of ours, those of anonymous members with their offset, or None."""
        type = self._structs.get(struct.name)
        return tuple(self._fields(type)) if type is not None else None

    def enum_constant(self, name: str) -> tuple[int, str] | None:
        return self._constants.get(name)

    def enum(self, name: str) -> dict[int, str] | None:
        cursor = self._enums.get(name)
        return {c.enum_value: c.spelling for c in cursor.get_children()} if cursor else None

    def macro(self, name: str) -> str | None:
        """Text that an object-like #define puts for the name."""
        return self._macros.get(name)

    @cached_property
    def _declared(self) -> dict[str, Any]:
        from clang.cindex import CursorKind

        words = {
            CursorKind.STRUCT_DECL: "struct",
            CursorKind.UNION_DECL: "union",
            CursorKind.ENUM_DECL: "enum",
            CursorKind.TYPEDEF_DECL: "typedef",
        }
        found: dict[str, Any] = {}
        for cursor in self._unit.cursor.get_children():
            word = words.get(cursor.kind)
            key = f"{word} {cursor.spelling}"
            if word and (cursor.is_definition() or key not in found):
                found[key] = cursor
        return found

    @cached_property
    def _structs(self) -> dict[str, Any]:
        return {
            name: c.type for name, c in self._declared.items() if name[:6] in ("struct", "union ")
        }

    @cached_property
    def _constants(self) -> dict[str, tuple[int, str]]:
        return {
            constant.spelling: (constant.enum_value, name)
            for name, cursor in self._enums.items()
            for constant in cursor.get_children()
        }

    @cached_property
    def _enums(self) -> dict[str, Any]:
        return {_enum_name(cursor): cursor for cursor in _enums_in(self._unit.cursor)}

    @cached_property
    def _macros(self) -> dict[str, str]:
        from clang.cindex import CursorKind

        found = {}
        for cursor in self._unit.cursor.get_children():
            if cursor.kind == CursorKind.MACRO_DEFINITION and cursor.location.file:
                name, *rest = (t.spelling for t in cursor.get_tokens())
                if rest and not _is_function_like(cursor):
                    found[name] = " ".join(rest)
        return found

    def _type(self, type: Any) -> Type:
        from clang.cindex import TypeKind

        type = type.get_canonical()
        kind, size = type.kind, type.get_size()
        if kind == TypeKind.VOID:
            return VOID
        if kind == TypeKind.BOOL:
            return BOOL
        if kind.name in _UNSIGNED or kind.name in _SIGNED:
            return Int(8 * size, kind.name in _SIGNED)
        if kind == TypeKind.ENUM:
            return Int(8 * size, False, enum=_enum_name(type.get_declaration()))
        if kind == TypeKind.POINTER:
            return Pointer(self._type(type.get_pointee()))
        if kind in (TypeKind.CONSTANTARRAY, TypeKind.INCOMPLETEARRAY):
            of = self._type(type.get_array_element_type())
            count = max(type.get_array_size(), 0)
            return String(count) if of == INT8 and count else Array(of, count)
        if kind == TypeKind.RECORD:
            return self._struct(type)
        if kind in (TypeKind.FUNCTIONPROTO, TypeKind.FUNCTIONNOPROTO):
            return VOID
        return Unsupported(max(size, 0))

    def _struct(self, type: Any) -> Struct:
        declaration = type.get_declaration()
        keyword = "union" if declaration.kind.name == "UNION_DECL" else "struct"
        name = f"{keyword} {declaration.spelling}"
        if not declaration.spelling or " " in declaration.spelling:
            name = f"{keyword} {{{declaration.location.offset}}}"
        if type.get_size() >= 0:  # also one that is defined inside of another
            self._structs.setdefault(name, type)
        return Struct(name, max(type.get_size(), 0), max(type.get_align(), 1))

    def _fields(self, type: Any, base: int = 0) -> Iterator[Field]:
        """Fields at bit `base`. An unnamed struct inside adds its own."""
        for cursor in type.get_fields():
            at = base + cursor.get_field_offsetof()
            if not cursor.spelling or " " in cursor.spelling:  # "union (unnamed at …)"
                yield from self._fields(cursor.type.get_canonical(), at)
                continue
            bits = cursor.get_bitfield_width() if cursor.is_bitfield() else 0
            yield Field(
                cursor.spelling, self._type(cursor.type), at // 8, bits, at % 8 if bits else 0
            )


def _enums_in(cursor: Any) -> Iterator[Any]:
    """Definitions of enums, those inside of structs among them."""
    for inner in cursor.get_children():
        if inner.kind.name == "ENUM_DECL" and inner.is_definition():
            yield inner
        elif inner.kind.name in ("STRUCT_DECL", "UNION_DECL"):
            yield from _enums_in(inner)


def _enum_name(cursor: Any) -> str:
    """Its name, or one made of its place that no script can write."""
    name: str = cursor.spelling
    return f"{{{cursor.location.offset}}}" if not name or " " in name else name


def _is_function_like(cursor: Any) -> bool:
    """`#define f(x) …`: the parenthesis follows the name without a blank."""
    tokens = [t.extent for t in cursor.get_tokens()]
    spelled = [t.spelling for t in cursor.get_tokens()]
    return len(spelled) > 1 and spelled[1] == "(" and tokens[0].end.offset == tokens[1].start.offset


def _message(fault: Any) -> str:
    where = fault.location
    return f"definitions.h:{where.line}:{where.column}: {_kind(fault)}: {fault.spelling}"


def _kind(fault: Any) -> str:
    return "fatal error" if fault.severity > fault.Error else "error"


def span_of(definitions: Sequence[nodes.CDefinition]) -> Span:
    from bpfscript.diagnostics import Source

    return (
        definitions[0].span.to(definitions[-1].span) if definitions else Span(Source("", ""), 0, 0)
    )
