"""The types of values: one vocabulary for the checker, the manifest and the printer of values.

`size` and `align` are bytes as laid out in BPF memory; `str()` is the name that messages show.
"""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.plain import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from bpfscript.words import AggregateName, Space

TSERIES_AGGREGATES = ("", "avg", "max", "min", "sum")  # by the last of tseries' `params`


@dataclass(frozen=True, slots=True)
class Int:
    """`flexible`: came only from non-negative literals, so it takes on the other side's sign."""

    bits: int
    signed: bool
    flexible: bool = field(default=False, compare=False)
    enum: str | None = None

    @property
    def size(self) -> int:
        return self.bits // 8

    @property
    def align(self) -> int:
        return self.size

    def __str__(self) -> str:
        return f"enum {self.enum}" if self.enum else f"{'' if self.signed else 'u'}int{self.bits}"


@dataclass(frozen=True, slots=True)
class Bool:
    size = align = 1

    def __str__(self) -> str:
        return "bool"


@dataclass(frozen=True, slots=True)
class String:
    """NUL-padded; `size` counts the NUL. A full buffer without NUL is a truncated string."""

    size: int
    align = 1

    def __str__(self) -> str:
        return f"string[{self.size}]" if self.size else "string"


@dataclass(frozen=True, slots=True)
class Buffer:
    """`buf()`: a uint32 length, then `size - 4` bytes of which `length` count."""

    size: int
    align = 4

    def __str__(self) -> str:
        return f"buffer[{self.size}]"


@dataclass(frozen=True, slots=True)
class Pointer:
    to: Type
    space: Space = "none"
    size = align = 8

    def __str__(self) -> str:
        return f"{self.to} *"


@dataclass(frozen=True, slots=True)
class Array:
    of: Type
    count: int

    @property
    def size(self) -> int:
        return self.of.size * self.count

    @property
    def align(self) -> int:
        return self.of.align

    def __str__(self) -> str:
        return f"{self.of}[{self.count}]"


@dataclass(frozen=True, slots=True)
class Struct:
    """`struct S`, `union U` or a typedef by name. Its fields are in the manifest's `structs`."""

    name: str
    size: int
    align: int = 8

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Field:
    """Member of a struct. Bitfields: `bits` wide, `bit_offset` from the lowest bit at `offset`."""

    name: str
    type: Type
    offset: int
    bits: int = 0
    bit_offset: int = 0


@dataclass(frozen=True, slots=True)
class Tuple:
    of: tuple[Type, ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        return _layout(self.of)[0]

    @property
    def size(self) -> int:
        return _layout(self.of)[1]

    @property
    def align(self) -> int:
        return max((t.align for t in self.of), default=1)

    def __str__(self) -> str:
        return f"({','.join(map(str, self.of))})"


@dataclass(frozen=True, slots=True)
class Record:
    names: tuple[str, ...]
    of: tuple[Type, ...]

    @property
    def offsets(self) -> tuple[int, ...]:
        return _layout(self.of)[0]

    @property
    def size(self) -> int:
        return _layout(self.of)[1]

    @property
    def align(self) -> int:
        return max((t.align for t in self.of), default=1)

    def __str__(self) -> str:
        inner = ", ".join(f".{n} = {t}" for n, t in zip(self.names, self.of, strict=True))
        return f"record {{ {inner} }}"


UNWIND_FAILED = (1 << 64) - 1  # in place of the frame where a stack could not be followed further


@dataclass(frozen=True, slots=True)
class Stack:
    """uint64 pid (0 for kernel stacks), then `limit` uint64 addresses, zero-filled at the end."""

    kind: Literal["kernel", "user"]
    mode: str  # bpftrace, perf, raw, build_id
    limit: int
    align = 8

    @property
    def size(self) -> int:
        return 8 + 8 * self.limit

    def __str__(self) -> str:
        return f"{self.kind[0]}stack_{self.mode}_{self.limit}"


@dataclass(frozen=True, slots=True)
class Symbol:
    """An address shown as a name. Kernel: uint64 address. User: uint64 address, uint64 pid."""

    kind: Literal["kernel", "user"]
    align = 8

    @property
    def size(self) -> int:
        return 8 if self.kind == "kernel" else 16

    def __str__(self) -> str:
        return f"{self.kind[0]}sym_t"


@dataclass(frozen=True, slots=True)
class Username:
    size = align = 8  # uid

    def __str__(self) -> str:
        return "username_t"


@dataclass(frozen=True, slots=True)
class Timestamp:
    """int64 ns of the clock `mode`, shown by strftime(3) with `format`."""

    format: str
    mode: str = "boot"  # boot, tai, sw_tai
    size = align = 8

    def __str__(self) -> str:
        return "timestamp"


@dataclass(frozen=True, slots=True)
class TimestampMode:
    mode: str
    size, align = 0, 1

    def __str__(self) -> str:
        return "timestamp_mode"


@dataclass(frozen=True, slots=True)
class Mac:
    size, align = 6, 1

    def __str__(self) -> str:
        return "mac_address"


@dataclass(frozen=True, slots=True)
class Inet:
    """uint32 family (2 or 10), then 16 bytes of address."""

    size, align = 20, 4

    def __str__(self) -> str:
        return "inet"


@dataclass(frozen=True, slots=True)
class CgroupPath:
    """uint64 cgroup id; `filter` is a glob on hierarchy names."""

    filter: str = ""
    size = align = 8

    def __str__(self) -> str:
        return "cgroup_path_t"


@dataclass(frozen=True, slots=True)
class Void:
    size, align = 0, 1

    def __str__(self) -> str:
        return "void"


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A C type the language has no value for (float, bool:1 oddities); prints as null."""

    size: int
    align = 1

    def __str__(self) -> str:
        return "none"


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A value that only maps hold, one per CPU, merged when read.

    Layout, all uint64 or int64:
    count, sum  total
    min, max    value, is_set
    avg, stats  total, count
    hist        65·2^k + 2 buckets; params (k,)
    lhist       (max - min) / step + 2 buckets; params (min, max, step)
    tseries     num × (epoch, value, count); params (interval_ns, num, index in TSERIES_AGGREGATES)
    """

    name: AggregateName
    signed: bool = True
    params: tuple[int, ...] = ()
    align = 8

    @property
    def size(self) -> int:
        match self.name:
            case "count" | "sum":
                return 8
            case "min" | "max" | "avg" | "stats":
                return 16
            case "hist":
                return 8 * ((65 << self.params[0]) + 2)
            case "lhist":
                low, high, step = self.params
                return 8 * ((high - low) // step + 2)
            case "tseries":
                return 24 * self.params[1]

    @property
    def readable(self) -> bool:
        """Whether an expression may read it as an integer."""
        return self.name in ("count", "sum", "min", "max", "avg")

    def __str__(self) -> str:
        unsigned = not self.signed and self.name in ("sum", "min", "max", "avg", "stats")
        return f"{'u' if unsigned else ''}{self.name}_t"


Type = (
    Int | Bool | String | Buffer | Pointer | Array | Struct | Tuple | Record | Stack | Symbol
    | Username | Timestamp | TimestampMode | Mac | Inet | CgroupPath | Void | Unsupported
    | Aggregate
)  # fmt: skip

INT8, INT16, INT32, INT64 = (Int(b, True) for b in (8, 16, 32, 64))
UINT8, UINT16, UINT32, UINT64 = (Int(b, False) for b in (8, 16, 32, 64))
BOOL, VOID = Bool(), Void()


def parts(type: Type) -> Iterator[Type]:
    """A type and all that its values hold; not what they point to."""
    yield type
    match type:
        case Tuple(of=of) | Record(of=of):
            for inner in of:
                yield from parts(inner)
        case Array(of=element):
            yield from parts(element)


def align_up(offset: int, align: int) -> int:
    return (offset + align - 1) // align * align


def _layout(of: tuple[Type, ...]) -> tuple[tuple[int, ...], int]:
    """C-like layout: offset of each element, total size."""
    offsets, end, widest = [], 0, 1
    for t in of:
        end = align_up(end, t.align)
        offsets.append(end)
        end += t.size
        widest = max(widest, t.align)
    return tuple(offsets), align_up(end, widest)
