"""C types by name: the script's own, then what every C program knows, then the kernel's and its
modules' from BTF.

Within a script every struct and enum has a name of its own. That of a module is put behind a name
that the kernel has, too: `struct file {nfs}`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property

from bpfscript.btf import Btf, BtfType
from bpfscript.types import (
    BOOL,
    INT8,
    INT16,
    INT32,
    INT64,
    UINT8,
    UINT16,
    UINT32,
    UINT64,
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.btf import Kind

    from .c_definitions import CDefinitions
    from .c_reader import PlainDefinitions
    from .program_types import ProgramTypes

BASIC: dict[str, Type] = {
    "void": VOID, "bool": BOOL, "_Bool": BOOL, "char": INT8, "signed char": INT8, "short": INT16,
    "int": INT32, "long": INT64, "long long": INT64, "unsigned char": UINT8,
    "unsigned short": UINT16, "unsigned int": UINT32, "unsigned": UINT32,
    "unsigned long": UINT64, "unsigned long long": UINT64, "int8_t": INT8, "int16_t": INT16,
    "int32_t": INT32, "int64_t": INT64, "uint8_t": UINT8, "uint16_t": UINT16,
    "uint32_t": UINT32, "uint64_t": UINT64, "s8": INT8, "s16": INT16,
    "s32": INT32, "s64": INT64, "u8": UINT8, "u16": UINT16, "u32": UINT32, "u64": UINT64,
    "__s8": INT8, "__s16": INT16, "__s32": INT32, "__s64": INT64, "__u8": UINT8, "__u16": UINT16,
    "__u32": UINT32, "__u64": UINT64, "size_t": UINT64, "ssize_t": INT64, "uintptr_t": UINT64,
    "intptr_t": INT64, "pid_t": INT32, "uid_t": UINT32, "gid_t": UINT32, "loff_t": INT64,
    "off_t": INT64, "umode_t": UINT16, "mode_t": UINT16, "dev_t": UINT32, "gfp_t": UINT32,
    "sector_t": UINT64, "ino_t": UINT64,
}  # fmt: skip
"""Names that mean the same on every 64-bit Linux."""

_SUGARED = ("typedef", "const", "volatile", "restrict", "type_tag", "var")


class CTypes:
    """Types, fields, enum constants and macros that a script may name.

    `btf` is called, once, when a name is neither the script's nor basic, `modules` when it is not
    the kernel's either.
    """

    def __init__(
        self,
        btf: Callable[[], Btf | None],
        definitions: Sequence[nodes.CDefinition] = (),
        include_dirs: Sequence[str] = (),
        include_files: Sequence[str] = (),
        modules: Callable[[], Iterable[Btf]] = tuple,
    ) -> None:
        self._btf_of, self._modules = btf, modules
        self._given = (tuple(definitions), tuple(include_dirs), tuple(include_files))
        self._records: dict[str, BtfType] = {}  # of those that BTF does not know by their name here
        self.programs: dict[str, ProgramTypes] = {}  # by path

    @cached_property
    def _btf(self) -> Btf | None:
        return self._btf_of()

    @cached_property
    def _own(self) -> PlainDefinitions | CDefinitions | None:
        definitions, directories, files = self._given
        if not definitions and not files:
            return None
        from .c_reader import read_definitions

        return read_definitions(definitions, directories, files, self._others)

    def read_own(self) -> None:
        """Read the script's definitions. Raises ScriptError for wrong ones."""
        _ = self._own

    def _others(self, keyword: str | None, name: str) -> Type | None:
        """A type that definitions may name and do not define."""
        if keyword is None and name in BASIC:
            return BASIC[name]
        return self._kernel(keyword, name)

    def named(self, keyword: str | None, name: str) -> Type | None:
        """`struct task_struct`, `enum e`, `uint64_t`: the type, or None if nobody knows it."""
        return self.general(keyword, name) or self._kernel(keyword, name)

    def _kernel(self, keyword: str | None, name: str) -> Type | None:
        if keyword == "enum":
            record = self._find(name, "enum", "enum64")
        elif keyword in ("struct", "union"):
            record = self._find(name, "struct" if keyword == "struct" else "union")
        else:
            record = self._find(name, "typedef", "int") or self._find(
                name, "struct", "union", "enum", "enum64"
            )
        return self.of(record) if record else None

    def general(self, keyword: str | None, name: str) -> Type | None:
        """A type that is the script's, or every C program's."""
        if self._own and (found := self._own.named(keyword, name)):
            return found
        if (keyword, name) == (None, "char"):  # has no sign since Linux 6.2
            return self._kernel(None, "char") or INT8
        return BASIC.get(name) if keyword is None else None

    def knows(self, name: str) -> bool:
        """Whether `struct S`, or `enum E`, means something already."""
        if any(program.has(name) for program in self.programs.values()):
            return True
        keyword, _, tag = name.partition(" ")
        return self.named(keyword, tag) is not None

    def fields(self, struct: Struct) -> tuple[Field, ...]:
        """Fields of a struct, those of its anonymous members among them, with their offset."""
        if self._own and (found := self._own.fields(struct)) is not None:
            return found
        for program in self.programs.values():
            if (found := program.own_fields(struct)) is not None:
                return found
        record = self._record(struct)
        return tuple(self._fields(record)) if record else ()

    def enum_constant(self, name: str) -> tuple[int, str] | None:
        """(value, name of its enum) of an enum constant."""
        if self._own and (found := self._own.enum_constant(name)):
            return found
        for btf in self._btfs():
            if constant := btf.enumerator(name):
                value, record = constant
                return value, self._enum_name(record)
        return None

    def enum(self, name: str) -> dict[int, str] | None:
        """value → name of an enum."""
        if self._own and (found := self._own.enum(name)):
            return found
        for program in self.programs.values():
            if found := program.own_enum(name):
                return found
        record = self._records.get(f"enum {name}") or self._find(name, "enum", "enum64")
        if record is None:
            return None
        return {value: n for n, value in record.of.enumerators(record).items()}

    def of_kernel(self, keyword: str, name: str) -> bool:
        """Whether a struct, union or enum is the kernel's, or a module's."""
        tag = f"{keyword} {name}"
        if self._own and self._own.named(keyword, name):
            return False
        if tag in self._records:
            return True
        if any(program.has(tag) for program in self.programs.values()):
            return False
        return self._find(name, "struct", "union", "enum", "enum64") is not None

    def macro(self, name: str) -> str | None:
        """Text of an object-like #define of the script."""
        return self._own.macro(name) if self._own else None

    # BTF

    def _btfs(self) -> Iterator[Btf]:
        if self._btf:
            yield self._btf
            yield from self._modules()

    def _find(self, name: str, *kinds: Kind) -> BtfType | None:
        return next(filter(None, (btf.own(name, *kinds) for btf in self._btfs())), None)

    def _enum_name(self, record: BtfType) -> str:
        return self._name("enum", record).removeprefix("enum ")

    def _name(self, keyword: Kind, record: BtfType) -> str:
        """Its name in the script; one that no script can write, if it has none to itself."""
        of, name = record.of, f"{keyword} {record.name}"
        if not record.name:
            name = f"{keyword} {{{of.module}#{record.id}}}"
        elif of.base and of.base.find(record.name, record.kind):
            name = f"{name} {{{of.module}}}"
        else:
            return name
        self._records[name] = record
        return name

    def _record(self, struct: Struct) -> BtfType | None:
        if struct.name in self._records:
            return self._records[struct.name]
        keyword, _, name = struct.name.partition(" ")
        if not name:
            return None
        return self._find(name, "struct" if keyword == "struct" else "union")

    def of(self, record: BtfType, depth: int = 0) -> Type:
        """A type of BTF as one of the language."""
        btf = record.of
        if depth > 64:  # a damaged BTF may refer in circles
            return Unsupported(0)
        match record.kind:
            case "int":
                _, signed, boolean = btf.integer(record)
                if boolean:
                    return BOOL
                if record.size not in (1, 2, 4, 8):
                    return Unsupported(record.size)
                return Int(8 * record.size, signed)
            case "ptr":
                to = btf.type(record.to)
                return Pointer(self.of(to, depth + 1))
            case "array":
                return self._array(record, depth)
            case "struct" | "union":
                return self._struct(record)
            case "fwd":
                return Struct(f"{'union' if record.flag else 'struct'} {record.name}", 0)
            case "enum" | "enum64":
                return Int(8 * record.size, record.flag, enum=self._enum_name(record))
            case "float":
                return Unsupported(record.size)
            case kind if kind in _SUGARED:
                return self.of(btf.type(record.to), depth + 1)
        return VOID

    def _array(self, record: BtfType, depth: int) -> Type:
        element, count = record.of.array(record)
        member = record.of.type(element)
        of = self.of(member, depth + 1)
        text = isinstance(of, Int) and of.size == 1  # whatever its sign
        return String(count) if text and count else Array(of, count)

    def _struct(self, record: BtfType) -> Struct:
        return Struct(self._name(record.kind, record), record.size, 8)

    def _fields(self, record: BtfType, base: int = 0) -> Iterator[Field]:
        for member in record.of.members(record):
            at = base + member.bit_offset
            type = self.of(record.of.type(member.type))
            if not member.name and isinstance(type, Struct):
                inner = self._record(type)
                if inner:
                    yield from self._fields(inner, at)
            else:
                yield Field(member.name, type, at // 8, member.bits, at % 8 if member.bits else 0)
