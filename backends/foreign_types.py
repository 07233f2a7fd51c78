"""Types of BTF as types of values: what maps of an object hold that was not made here."""

from __future__ import annotations

from bpfscript.btf import Btf, BtfType
from bpfscript.codec import ObjectError
from bpfscript.types import (
    VOID,
    Array,
    Bool,
    Field,
    Int,
    Pointer,
    String,
    Struct,
    Type,
    Unsupported,
)

_TRANSPARENT = ("typedef", "volatile", "const", "restrict", "type_tag")
_DEPTH = 32  # types inside each other; more than that refers to itself
_CHARACTERS = ("char", "signed char")
_INTEGERS = (1, 2, 4, 8)  # bytes


class Types:
    """Reads the types of one BTF. structs, enums: what `Manifest` needs of those met."""

    def __init__(self, btf: Btf) -> None:
        self.btf = btf
        self.structs: dict[str, tuple[Field, ...]] = {}
        self.enums: dict[str, dict[int, str]] = {}

    def plain(self, number: int) -> BtfType:
        """A type without typedefs and qualifiers. Raises ObjectError for those without end."""
        for _ in range(_DEPTH):
            type = self.btf.type(number)
            if type.kind not in _TRANSPARENT:
                return type
            number = type.to
        raise ObjectError("damaged object file: a type refers to itself")

    def of(self, number: int, depth: int = 0) -> Type:
        """Raises ObjectError for a type that holds itself."""
        if depth > _DEPTH:
            raise ObjectError("damaged object file: a type holds itself")
        type = self.plain(number)
        match type.kind:
            case "int":
                _, signed, truth = self.btf.integer(type)
                if truth:
                    return Bool()
                return Int(8 * type.size, signed) if type.size in _INTEGERS else _other(type.size)
            case "enum" | "enum64" if type.size in _INTEGERS:
                return self._enum(type)
            case "ptr":
                return Pointer(VOID)
            case "array":
                return self._array(type, depth)
            case "struct" | "union":
                return self._struct(type, depth)
        return _other(type.size)

    def variables(self, section: str, size: int, places: dict[str, int]) -> Struct:
        """The variables of a data section as a struct; places: offset of each by name."""
        fields = []
        found = self.btf.find(section, "datasec")
        rows = self.btf.section(found) if found else []
        for number, _, _ in rows:
            variable = self.btf.type(number)
            if variable.kind == "var" and variable.name in places:
                type = self.of(variable.to)
                if places[variable.name] + type.size <= size:
                    fields.append(Field(variable.name, type, places[variable.name]))
        self.structs[section] = tuple(sorted(fields, key=lambda f: f.offset))
        return Struct(section, size)

    def _enum(self, type: BtfType) -> Int:
        if not type.name:
            return Int(8 * type.size, type.flag)
        self.enums[type.name] = {v: name for name, v in self.btf.enumerators(type).items()}
        return Int(8 * type.size, type.flag, enum=type.name)

    def _array(self, type: BtfType, depth: int) -> Type:
        element, count = self.btf.array(type)
        inner = self.plain(element)
        if inner.kind == "int" and inner.name in _CHARACTERS:
            return String(count)
        return Array(self.of(element, depth + 1), count)

    def _struct(self, type: BtfType, depth: int) -> Struct:
        name = f"{type.kind} {type.name or f'#{type.id}'}"
        if name not in self.structs:
            fields = []
            for member in self.btf.members(type):
                inner = self.of(member.type, depth + 1)
                offset, bit = divmod(member.bit_offset, 8)
                end = offset + ((bit + member.bits + 7) // 8 if member.bits else inner.size)
                if end > type.size or (bit and not member.bits):
                    raise ObjectError(f"damaged object file: {name} is larger than it says")
                fields.append(Field(member.name, inner, offset, member.bits, bit))
            self.structs[name] = tuple(fields)
        return Struct(name, type.size)


def _other(size: int) -> Unsupported:
    return Unsupported(size)
