"""Plain C definitions: structs, unions and enums of a script, read without a compiler.

    struct S { int a : 3; union { char name[16]; void *(*f)(int); }; } __attribute__((packed))

What is not plain (#include, #if, types that nobody knows, wrong C) is left to clang.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from bpfscript.diagnostics import Diagnostic, ScriptError
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
)

from . import nodes
from .c_layout import Layout, Member, lay_out
from .c_tokens import Reader, Token, Unreadable, tokens

if TYPE_CHECKING:
    from .c_definitions import CDefinitions

Resolve = Callable[[str | None, str], Type | None]
_DEFINE = re.compile(r"#\s*define\s+([A-Za-z_]\w*)(\(?)(.*)", re.S)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_WIDTHS = {"char": 8, "short": 16, "int": 32, "long": 64}
_SIGNS, _TAGGED = ("signed", "unsigned"), ("struct", "union", "enum")
_LARGEST = 1 << 31  # bytes
_QUALIFIERS = ("const", "volatile", "restrict", "__restrict", "__extension__")


def read_definitions(
    definitions: Sequence[nodes.CDefinition],
    include_dirs: Sequence[str],
    include_files: Sequence[str],
    resolve: Resolve,
) -> PlainDefinitions | CDefinitions:
    """What definitions define. Raises ScriptError for wrong ones, and where clang is missing."""
    why = "--include"
    if not include_files:
        try:
            return PlainDefinitions(definitions, resolve)
        except Unreadable as error:
            why = str(error)
        except RecursionError:
            why = "nested too deeply"
    from .c_definitions import CDefinitions, span_of

    try:
        return CDefinitions(definitions, include_dirs, include_files)
    except ImportError:
        text = f"This needs libclang: {why}"
        hint = "pip install 'bpfscript[headers]'"
        raise ScriptError([Diagnostic(text, span_of(definitions), hint=hint)]) from None


class PlainDefinitions:
    """What definitions define; `resolve` knows the other types. Raises Unreadable."""

    def __init__(self, definitions: Sequence[nodes.CDefinition], resolve: Resolve) -> None:
        self._resolve = resolve
        self._macros: dict[str, str] = {}
        self._types: dict[str, Type] = {}  # by "struct S"
        self._layouts: dict[str, Layout] = {}
        self._enums: dict[str, dict[int, str]] = {}
        self._constants: dict[str, tuple[int, str]] = {}
        self._anonymous = 0
        replaced: dict[str, list[Token]] = {}
        for definition in definitions:
            if definition.text.startswith("#"):
                self._define(definition.text, replaced)
                continue
            self._read = Reader(definition.text, replaced)
            self._read.constants = {name: value for name, (value, _) in self._constants.items()}
            self._read.size_of = lambda: self._declared_type().size
            self._base()
            self._attributes()
            self._read.accept(";")
            if self._read.next != "":
                raise Unreadable(f"unexpected '{self._read.next}' after a definition")

    def named(self, keyword: str | None, name: str) -> Type | None:
        """`struct S`, `enum E`: its type, or None."""
        words = (keyword,) if keyword else _TAGGED
        return next((t for w in words if (t := self._types.get(f"{w} {name}"))), None)

    def fields(self, struct: Struct) -> tuple[Field, ...] | None:
        """Members, those of anonymous members with their offset; None if it is not ours."""
        layout = self._layouts.get(struct.name)
        return None if layout is None else layout.fields

    def enum_constant(self, name: str) -> tuple[int, str] | None:
        return self._constants.get(name)

    def enum(self, name: str) -> dict[int, str] | None:
        return self._enums.get(name)

    def macro(self, name: str) -> str | None:
        """Text that an object-like #define puts for the name."""
        return self._macros.get(name)

    def _define(self, text: str, replaced: dict[str, list[Token]]) -> None:
        match = _DEFINE.fullmatch(text)
        if match is None:
            raise Unreadable(f"{text.split()[0]}")
        name, parameters, body = match[1], match[2], _COMMENT.sub(" ", match[3]).strip()
        if parameters or not body:
            return
        self._macros[name] = body
        try:
            replaced[name] = tokens(body)
        except Unreadable:  # a string, say: of use in the script, not in definitions
            replaced.pop(name, None)

    # Types

    def _base(self) -> Type:
        """`unsigned long`, `struct S`, `enum { A }`, `u32`: what declarators come after."""
        read, words = self._read, []
        while True:
            if read.accept(*_QUALIFIERS):
                continue
            if tag := read.accept(*_TAGGED):
                return self._tagged(tag)
            if word := read.accept(*_SIGNS, *_WIDTHS, "double"):
                words.append(word)
                continue
            break
        while read.accept(*_QUALIFIERS):
            pass
        if words:
            return _arithmetic(words)
        name = read.word()
        while read.accept(*_QUALIFIERS):
            pass
        if name == "float":
            return Unsupported(4)
        found = self._resolve(None, name)  # void and _Bool, too
        if found is None:
            raise Unreadable(f"unknown type name '{name}'")
        return found

    def _declared_type(self) -> Type:
        """A type without a name of a member: in sizeof."""
        return self._declarator(self._base())[1]

    def _tagged(self, tag: str) -> Type:
        packed, least = self._attributes()
        read = self._read
        name = "" if read.next == "{" else read.word()
        if not read.accept("{"):
            return self._referred(tag, name)
        if not name:
            self._anonymous += 1
        full = f"{tag} {name or f'{{{self._anonymous}}}'}"
        if full in self._layouts or (tag == "enum" and full in self._types):
            raise Unreadable(f"redefinition of '{full}'")
        if tag == "enum":
            return self._enum(full)
        self._types[full] = Struct(full, 0)  # while its members are read
        members = self._members()
        after = self._attributes()
        layout = lay_out(
            members, union=tag == "union", packed=packed or after[0], least=max(least, after[1])
        )
        if layout.size > _LARGEST:
            raise Unreadable(f"'{full}' is too large")
        self._layouts[full] = layout
        self._types[full] = made = Struct(full, layout.size, layout.align)
        return made

    def _referred(self, tag: str, name: str) -> Type:
        known = self._types.get(f"{tag} {name}") or self._resolve(tag, name)
        if known is None and tag == "enum":
            raise Unreadable(f"unknown enum '{name}'")
        return known or Struct(f"{tag} {name}", 0)

    def _enum(self, full: str) -> Type:
        read, name = self._read, full.removeprefix("enum ")
        values: dict[int, str] = {}
        following = 0
        while not read.accept("}"):
            constant = read.word()
            self._attributes()
            if read.accept("="):
                following = read.constant()
            values[following] = constant
            self._constants[constant] = (following, name)
            read.constants[constant] = following
            following += 1
            if not read.accept(","):
                read.expect("}")
                break
        wide = any(not -(1 << 31) <= value < 1 << 32 for value in values)
        self._enums[name] = values
        self._types[full] = made = Int(64 if wide else 32, False, enum=name)
        return made

    # Members

    def _members(self) -> list[Member]:
        members: list[Member] = []
        read = self._read
        while not read.accept("}"):
            if read.accept(";"):
                continue
            base = self._base()
            if read.next == ";" and isinstance(base, Struct) and "{" in base.name:
                fields = self.fields(base)
                members.append(Member("", base, inner=fields))
            elif read.next != ";":
                members.append(self._member(base))
                while read.accept(","):
                    members.append(self._member(base))
            read.expect(";")
        return members

    def _member(self, base: Type) -> Member:
        name, type = ("", base) if self._read.next == ":" else self._declarator(base)
        bits = self._read.constant() if self._read.accept(":") else None
        packed, least = self._attributes()
        if bits is not None and (not isinstance(type, Int) and type != BOOL):
            raise Unreadable(f"bitfield '{name}' of type '{type}'")
        if bits is not None and not 0 <= bits <= 8 * type.size:
            raise Unreadable(f"bitfield '{name}' is {bits} bits wide")
        incomplete = isinstance(type, Struct) and not type.size and type.name not in self._layouts
        if bits is None and incomplete:
            raise Unreadable(f"member '{name}' has incomplete type '{type}'")
        return Member(name, type, bits, packed, least)

    def _declarator(self, type: Type) -> tuple[str, Type]:
        """`*name[3]`, `(*name)(int)`: the name, "" if there is none, and the type."""
        read = self._read
        while read.accept("*"):
            type = Pointer(type)
            while read.accept(*_QUALIFIERS):
                pass
        self._attributes()
        if read.accept("("):
            return self._parenthesised(type)
        token = read.next
        name = read.word() if isinstance(token, str) and token.isidentifier() else ""
        return name, self._suffixes(type)

    def _parenthesised(self, type: Type) -> tuple[str, Type]:
        """`(*name)(int)`, `(*name)[4]`, and pointers to functions in arrays: `(*name[2])(int)`."""
        read, pointers, counts = self._read, 0, []
        while read.accept("*"):
            pointers += 1
            while read.accept(*_QUALIFIERS):
                pass
        if not pointers:
            raise Unreadable("parentheses around a member")
        name = read.word() if read.next != ")" else ""
        while read.accept("["):
            counts.append(0 if read.next == "]" else read.constant())
            read.expect("]")
        read.expect(")")
        type = self._suffixes(type)
        for _ in range(pointers):
            type = Pointer(type)
        for count in reversed(counts):
            type = Array(type, count)
        return name, type

    def _suffixes(self, type: Type) -> Type:
        read, counts = self._read, []
        if read.accept("("):
            read.skip_parentheses()
            return VOID  # a function
        while read.accept("["):
            counts.append(0 if read.next == "]" else read.constant())
            read.expect("]")
        if any(count < 0 for count in counts):
            raise Unreadable("an array of negative length")
        for count in reversed(counts):
            type = String(count) if type == INT8 and count else Array(type, count)
        return type

    def _attributes(self) -> tuple[bool, int]:
        """Whether `packed` is among them, and the alignment that they ask for."""
        read, packed, least = self._read, False, 0
        while read.accept("__attribute__", "__attribute"):
            read.expect("(")
            read.expect("(")
            while not read.accept(")"):
                word = read.word().strip("_")
                packed |= word == "packed"
                if word == "aligned" and read.accept("("):
                    least = max(least, read.constant())
                    read.expect(")")
                elif word == "aligned":
                    least = max(least, 16)
                elif read.accept("("):
                    read.skip_parentheses()
                read.accept(",")
            read.expect(")")
        return packed, least


def _arithmetic(words: list[str]) -> Type:
    """`unsigned long int` and kin, in any order."""
    unsigned = "unsigned" in words
    kinds = [word for word in words if word not in _SIGNS]
    if "double" in kinds:
        return Unsupported(16 if "long" in kinds else 8)
    width = next((_WIDTHS[kind] for kind in ("char", "short", "long") if kind in kinds), 32)
    return Int(width, not unsigned)
