"""Types of IR values: integers, and pointers that carry the memory they point into."""

from __future__ import annotations

from bpfscript.plain import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Space = Literal["ctx", "stack", "map", "rodata", "ring", "map_object", "btf", "kernel", "user"]

SPACES: tuple[Space, ...] = (
    "ctx", "stack", "map", "rodata", "ring", "map_object", "btf", "kernel", "user"
)  # fmt: skip
DIRECT: frozenset[Space] = frozenset(("ctx", "stack", "map", "rodata", "ring", "btf"))
"""Spaces that load and store reach; kernel and user memory are read by probe reads only."""


@dataclass(frozen=True, slots=True)
class I:  # noqa: E742 - the field's own name
    bits: int  # 1, 8, 16, 32, 64

    def __str__(self) -> str:
        return f"i{self.bits}"


@dataclass(frozen=True, slots=True)
class Ptr:
    """`ring`, and `map` as the result of a lookup, may be null until compared (op `is_null`).

    `btf` is kernel memory whose type the verifier knows: read-only; what is not there reads as 0.
    """

    space: Space

    def __str__(self) -> str:
        return f"ptr<{self.space}>"


@dataclass(frozen=True, slots=True)
class Void:
    def __str__(self) -> str:
        return "void"


Type = I | Ptr | Void
I1, I8, I16, I32, I64 = (I(b) for b in (1, 8, 16, 32, 64))
CTX, STACK, MAP, RODATA, RING, MAP_OBJECT, BTF, KERNEL, USER = (
    Ptr(s) for s in ("ctx", "stack", "map", "rodata", "ring", "map_object", "btf", "kernel", "user")
)
VOID = Void()
