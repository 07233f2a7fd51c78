r"""A tracepoint's `format` file in tracefs → what `args` has.

    field:const char * filename;	offset:24;	size:8;	signed:0;

Width and sign of integers are those that the file states: they say how the record is laid out,
whatever the declared type. So only pointers, structs and unknown typedefs need the kernel's types.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from bpfscript.plain import dataclass
from bpfscript.types import (
    BOOL,
    INT64,
    UINT8,
    VOID,
    Array,
    Int,
    Pointer,
    String,
    Struct,
    Type,
    Unsupported,
)

from .ctypes import BASIC
from .typed import Argument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.words import Space

    from .ctypes import CTypes

COMMON_SIZE = 8  # bytes of `common_*` fields at the start of every record, which BPF may not read

_WORDS = frozenset(("char", "short", "int", "long", "unsigned", "signed"))
_FIELD = (
    r"^\s*field:(?P<type>.+?)\s*\b(?P<name>\w+)(?P<array>(?:\[[^\]]*\])*);"
    r"\s*offset:(?P<offset>\d+);\s*size:(?P<size>\d+);(?:\s*signed:(?P<signed>\d);)?"
)
_QUALIFIER = r"\b(const|volatile|restrict|__user|__rcu|__percpu|__iomem|__private|__seg_\w+)\b"


@dataclass(frozen=True, slots=True)
class FormatField:
    """One line of the file. Offset and size in bytes."""

    name: str
    type: str  # as declared, `*` included, without `[…]`
    array: bool
    offset: int
    size: int
    signed: bool

    @property
    def located(self) -> bool:
        """Whether the record holds only where the data are, after the other fields."""
        return self.type.startswith("__data_loc")


def fields(text: str) -> list[FormatField]:
    """The fields of an event, without the common ones."""
    found = []
    for line in re.finditer(_FIELD, text, re.MULTILINE):
        field = FormatField(
            line["name"], line["type"], bool(line["array"]), int(line["offset"]),
            int(line["size"]), line["signed"] == "1",
        )  # fmt: skip
        if field.offset >= COMMON_SIZE:
            found.append(field)
    return found


EXIT_FIELDS = (
    FormatField("__syscall_nr", "int", False, 8, 4, True),
    FormatField("ret", "long", False, 16, 8, True),
)
"""Every `sys_exit_X` event has these: struct syscall_trace_exit, kernel/trace/trace.h."""


def record_arguments(
    of: Sequence[FormatField], wanted: Collection[str] | None, ctypes: CTypes, space: Space
) -> dict[str, Argument]:
    """Arguments read from the record. `wanted`: only these names; None: all."""
    found = {}
    for field in of:
        if wanted is None or field.name in wanted:
            source = "data_loc" if field.located else "context"
            type = type_of(field, ctypes, space)
            found[field.name] = Argument(field.name, type, source, field.offset)
    return found


def syscall_arguments(
    of: Sequence[FormatField], wanted: Collection[str] | None, ctypes: CTypes
) -> dict[str, Argument]:
    """Arguments of a system call, or its return value, read from the registers."""
    found = {}
    registers = [f.name for f in of if f.name not in ("__syscall_nr", "ret")]
    for field in of:
        if wanted is not None and field.name not in wanted:
            continue
        source, index = "syscall", 0
        if field.name == "__syscall_nr":
            source = "syscall_number"
        elif field.name == "ret":
            source = "syscall_return"
        else:
            index = registers.index(field.name)
        type = type_of(field, ctypes, "user")
        found[field.name] = Argument(field.name, type, source, index)
    return found


def type_of(field: FormatField, ctypes: CTypes, space: Space) -> Type:
    """Type of a field; pointers point into `space`."""
    if field.located:
        return INT64  # the address of the data
    words = re.sub(_QUALIFIER, " ", field.type).replace("*", " * ").split()
    stars = words.count("*")
    name = " ".join(word for word in words if word != "*")
    if not stars and not field.array:
        return _scalar(name, field, ctypes, space)
    type = _pointee(name, ctypes)
    for _ in range(stars):
        type = Pointer(type, space)
    if not field.array:
        return type
    if name == "char" and not stars:
        return String(field.size)
    if not type.size or field.size % type.size:
        return Unsupported(field.size)
    return Array(type, field.size // type.size)


def _scalar(name: str, field: FormatField, ctypes: CTypes, space: Space) -> Type:
    if name in ("bool", "_Bool") and field.size == 1:
        return BOOL
    keyword, tag = _split(name)
    if keyword != "enum" and (keyword or _is_typedef(name)):
        named = ctypes.named(keyword, tag)
        if isinstance(named, Pointer) and field.size == named.size:
            return Pointer(named.to, space)
        if isinstance(named, Struct | Array) and field.size == named.size:
            return named
    if field.size not in (1, 2, 4, 8):
        return Unsupported(field.size)
    return Int(8 * field.size, field.signed, enum=tag if keyword == "enum" else None)


def _pointee(name: str, ctypes: CTypes) -> Type:
    if name == "void":
        return VOID
    if name == "char":
        return UINT8  # the kernel's char is unsigned
    if name in ("bool", "_Bool"):
        return BOOL
    keyword, tag = _split(name)
    plain = " ".join(word for word in name.split() if word != "int") or "int"
    named = ctypes.named(keyword, tag) or ctypes.named(None, plain)
    if named is None:
        return Struct(name, 0) if keyword in ("struct", "union") else VOID
    return named


def _split(name: str) -> tuple[str | None, str]:
    keyword, _, tag = name.rpartition(" ")
    return (keyword, tag) if keyword in ("struct", "union", "enum") else (None, name)


def _is_typedef(name: str) -> bool:
    """Whether a name may stand for anything; C's own integer types are told by their words."""
    return name not in BASIC and not set(name.split()) & _WORDS
