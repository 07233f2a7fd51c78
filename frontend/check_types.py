"""Types as written, casts, and asking about types (LANGUAGE §2.1, §2.2, §2.11)."""

from __future__ import annotations

from bpfscript.plain import replace
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
    Aggregate,
    Array,
    Bool,
    Buffer,
    CgroupPath,
    Field,
    Inet,
    Int,
    Mac,
    Pointer,
    Record,
    String,
    Struct,
    Timestamp,
    Tuple,
    Type,
    Username,
)

from . import nodes
from .check_access import Access
from .config import unstable_text
from .join import base_name, unsigned_type
from .lexer import BUILTINS as RESERVED
from .typed import Constant

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.words import AggregateName, Space

TYPEINFO = ("btf_id", "base_type", "full_type")
AGGREGATE_NAMES: tuple[AggregateName, ...] = ("count", "sum", "min", "max", "avg", "stats")
NAMED: dict[str, Type] = {
    "bool": BOOL, "void": VOID, "string": String(0), "buffer": Buffer(0), "inet": Inet(),
    "int8": INT8, "int16": INT16, "int32": INT32, "int64": INT64,
    "uint8": UINT8, "uint16": UINT16, "uint32": UINT32, "uint64": UINT64,
    "username_t": Username(), "macaddr_t": Mac(), "cgroup_path_t": CgroupPath(),
    "timestamp": Timestamp(""),
    **{f"{name}_t": Aggregate(name) for name in AGGREGATE_NAMES},
    **{f"u{name}_t": Aggregate(name, signed=False) for name in AGGREGATE_NAMES[1:]},
}  # fmt: skip

KERNEL_PROBES = frozenset(
    ("kprobe", "kretprobe", "fentry", "fexit", "tracepoint", "rawtracepoint", "iter")
)
USER_PROBES = frozenset(("uprobe", "uretprobe", "usdt"))


class Types(Access):
    @property
    def space(self) -> Space:
        """Where plain pointers of this probe point to."""
        if self.instance.kind in KERNEL_PROBES:
            return "kernel"
        return "user" if self.instance.kind in USER_PROBES else "none"

    def fields_of(self, struct: Struct) -> tuple[Field, ...]:
        """Members of a struct, kept for lowering."""
        if struct.name not in self.checked.structs:
            if struct == self.instance.args_type:
                return ()
            fields = self.names.fields(struct)
            if not fields:
                return ()
            self.checked.structs[struct.name] = fields
            if self.checked.options.portable and self.names.of_kernel(*struct.name.split(" ", 1)):
                self.checked.of_kernel.add(struct.name)
        return self.checked.structs[struct.name]

    def named_type(
        self, node: nodes.TypeName | nodes.Typeof, of: Type | None = None
    ) -> Type | None:
        if isinstance(node, nodes.Typeof):
            return self.inspected(node.of)
        type, suffixes = self._base_type(node), list(node.suffixes)
        if type is None:
            shown = f"{node.keyword} {node.name}" if node.keyword else node.name
            self.error(node.span, f'Cannot resolve unknown type "{shown}"', self.missing_types())
            return None
        if isinstance(type, String | Buffer | Inet) and suffixes and isinstance(suffixes[0], int):
            type = type if isinstance(type, Inet) else replace(type, size=suffixes[0])
            del suffixes[0]
        for suffix in suffixes:
            if suffix == "*":
                type = Pointer(type, self.space)
            elif suffix is None:
                type = Array(type, of.size // type.size if of is not None and type.size else 0)
            else:
                type = Array(type, suffix)
        return type

    def _base_type(self, node: nodes.TypeName) -> Type | None:
        if node.keyword == "enum":
            return Int(64, False, enum=node.name) if self.names.enum(node.name) else None
        if node.keyword is None and node.name in NAMED:
            return NAMED[node.name]
        return self.names.named(node.keyword, node.name)

    def inspected(self, node: nodes.TypeName | nodes.Typeof | nodes.Expr) -> Type | None:
        """Type of what `sizeof` and kin ask about. A bare map that has keys stands for its key."""
        if isinstance(node, nodes.TypeName) and not node.keyword and not node.suffixes:
            constant = self.names.enum_constant(node.name)
            if constant and not self._base_type(node):
                return Int(64, False, enum=constant[1])
        if isinstance(node, nodes.TypeName | nodes.Typeof):
            return self.named_type(node)
        if isinstance(node, nodes.Identifier) and (bare := self._bare_type(node)) is not None:
            return bare
        if isinstance(node, nodes.Map) and node.key is None:
            state = self.map_state(node)
            if state.keyed is not False:
                self.types[node] = state.value or VOID
                return state.key
        type = self.expression(node)
        return self.aggregate_read(node) or type

    def _bare_type(self, node: nodes.Identifier) -> Type | None:
        if node.name in RESERVED:  # `pid` is never the kernel's struct
            return None
        return NAMED.get(node.name) or self.names.named(None, node.name)

    def sizeof(self, node: nodes.Sizeof) -> Type | None:
        type = self.inspected(node.of)
        if type is None:
            return None
        asked = isinstance(type, Struct) and self.asked(node, type.size, "TYPE_SIZE", type.name)
        return self.literal(node, type.size, UINT64 if asked else unsigned_type(type.size))

    def offsetof(self, node: nodes.Offsetof) -> Type | None:
        type, offset = self.inspected(node.of), 0
        root = type
        for name in node.path:
            while isinstance(type, Pointer):
                type = type.to
            if type is None:
                return None
            if not isinstance(type, Struct):
                self.error(node.span, f"'{type}' is not a C type.")
                return None
            member = next((f for f in self.fields_of(type) if f.name == name), None)
            if member is None:
                self.error(node.span, f"'{type}' has no field named '{name}'")
                return None
            type, offset = member.type, offset + member.offset
        asked = isinstance(root, Struct) and self.asked(
            node, offset, "BYTE_OFFSET", root.name, *node.path
        )
        return self.literal(node, offset, UINT64 if asked else unsigned_type(offset))

    def typeinfo(self, node: nodes.Typeinfo) -> Type | None:
        if self.configuration.unstable("typeinfo") == "error":
            self.error(node.span, unstable_text("typeinfo"))
            return None
        type = self.inspected(node.of)
        if type is None:
            return None
        texts = [f"{text}\0".encode() for text in (base_name(type), str(type))]
        record = Record(TYPEINFO, (UINT64, *(String(len(text)) for text in texts)))
        return self.literal(node, bytes(8) + b"".join(texts), record)

    def typeinfo_field(self, operand: nodes.Typeinfo, node: nodes.FieldAccess) -> Type | None:
        if self.expression(operand) is None:
            return None
        type = self.inspected(operand.of)
        if type is None:
            return None
        texts = (base_name(type).encode(), str(type).encode())
        values: dict[str, Constant] = dict(zip(TYPEINFO, (0, *texts), strict=True))
        if node.name not in values:
            self.error(node.span, f"Record does not contain a field named '{node.name}'")
            return None
        return self.literal(node, values[node.name])

    # Casts

    def cast(self, node: nodes.Cast) -> Type | None:
        to = node.to
        if isinstance(to, nodes.TypeName) and to.keyword == "enum" and not self._base_type(to):
            self.error(node.span, f"Unknown enum: {to.name}")
            return None
        have = self.expression(node.operand)
        want = self.named_type(node.to, have)
        if have is None or want is None:
            return want if isinstance(want, Int | Bool | Pointer) else None
        same = have == want
        if isinstance(have, Pointer) and isinstance(want, Pointer):
            same = have == replace(want, space=have.space)
            want = want if have.space == "none" else replace(want, space=have.space)
        if isinstance(want, String) and not want.size and isinstance(have, String):
            want, same = have, True
        if isinstance(want, Int) and want.enum:
            self._check_enum(node, want.enum)
        if not castable(have, want):
            self._refuse_cast(node, have, want)
            return want
        literal = isinstance(want, Bool) and node.operand in self.constants
        redundant = same and not literal and not self._reads_aggregate(node.operand)
        if redundant and isinstance(node.to, nodes.TypeName):
            self.report.warning(
                node.place, f"Unnecessary cast: expression is already of type {have}"
            )
        return want

    def _reads_aggregate(self, node: nodes.Expr) -> bool:
        if isinstance(node, nodes.FieldAccess) and isinstance(node.operand, nodes.Variable):
            return node.name == "1" and node.operand.name in self.aggregate_loops
        return self.aggregate_read(node) is not None

    def _check_enum(self, node: nodes.Cast, name: str) -> None:
        value = self.constants.get(node.operand)
        if isinstance(value, int) and value not in (self.names.enum(name) or {}):
            self.error(node.place, f"Enum: {name} doesn't contain a variant value of {int(value)}")

    def _refuse_cast(self, node: nodes.Cast, have: Type, want: Type) -> None:
        if isinstance(have, Struct):
            self.error(node.place, f'Cannot cast from C type "{have}"')
        elif isinstance(want, Struct):
            self.error(node.place, f'Cannot cast to "{want}"')
        else:
            self.error(node.place, f'Cannot cast from "{have}" to "{want}"')


def castable(have: Type, want: Type) -> bool:
    """Whether `(want)have` means something."""
    match want:
        case Int():
            if isinstance(have, Array):
                return isinstance(have.of, Int | Bool) and have.size == want.size
            return isinstance(have, Int | Bool | Pointer)
        case Bool():
            return isinstance(have, Int | Bool | Pointer | String)
        case Pointer():
            return isinstance(have, Int | Bool | Pointer)
        case Username():
            return isinstance(have, Int | Username)
        case Array():
            return _castable_to_array(have, want)
        case String() | Buffer():
            return type_of_same_kind(have, want) and want.size >= have.size
        case Tuple() | Record():
            return have == want
    return have == want and not isinstance(have, Struct)


def type_of_same_kind(have: Type, want: Type) -> bool:
    return have.__class__ is want.__class__


def _castable_to_array(have: Type, want: Array) -> bool:
    if isinstance(have, Array):
        return have == want
    if not isinstance(want.of, Int | Bool):
        return False
    if isinstance(have, String):
        return isinstance(want.of, Int) and want.of.bits == 8 and have.size == want.size
    if isinstance(have, Int | Bool):
        return want.size == have.size or have.size < want.size <= 8
    return False
