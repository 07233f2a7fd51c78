"""What an object asks of a kernel's types, and what a kernel's BTF answers: CO-RE relocations.

A question is text, `KIND TYPE:step:step…`: `byte_offset struct task_struct:se:vruntime`. Steps are
names of members, or numbers of elements; of an enum, the name of a constant. In an object it is
libbpf's record: a type of the object's own BTF that has no more members than are asked for, and
indexes into it. Meanings are those of enum bpf_core_relo_kind (include/uapi/linux/bpf.h), and so is
what counts as the same member on another kernel, as libbpf has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

from bpfscript.btf import Btf, BtfMember, BtfType
from bpfscript.btf_index import BtfError
from bpfscript.plain import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    _Row = TypeVar("_Row")

Steps = tuple[str | int, ...]
_MODIFIERS = ("typedef", "const", "volatile", "restrict", "type_tag")
_COMPOSITE = ("struct", "union")
_ENUMS = ("enum", "enum64")
_DEPTH = 32  # of modifiers and anonymous members; a damaged BTF may refer in circles


class CoreKind(IntEnum):
    """enum bpf_core_relo_kind"""

    BYTE_OFFSET = 0
    BYTE_SIZE = 1
    FIELD_EXISTS = 2
    SIGNED = 3
    LSHIFT_U64 = 4
    RSHIFT_U64 = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12


EXISTS = (CoreKind.FIELD_EXISTS, CoreKind.TYPE_EXISTS, CoreKind.ENUMVAL_EXISTS)
"""Kinds whose answer is 0, not an error, for what is not there."""


@dataclass(frozen=True, slots=True)
class Question:
    """`root`: keyword and name of a type."""

    kind: CoreKind
    root: str
    steps: Steps = ()

    def __str__(self) -> str:
        return f"{self.kind.name.lower()} {':'.join((self.root, *map(str, self.steps)))}"

    @property
    def what(self) -> str:
        """The thing asked about, as messages show it: `struct task_struct.se.vruntime`."""
        steps = "".join(f"[{s}]" if isinstance(s, int) else f".{s}" for s in self.steps)
        return self.root + steps


def parse(text: str) -> Question:
    """The question of a text. Raises ValueError for any other."""
    kind, _, rest = text.partition(" ")
    root, *steps = rest.split(":")
    if kind.upper() not in CoreKind.__members__ or not root:
        raise ValueError(f"no question about types: {text!r}")
    named = (int(s) if s.isdecimal() else s for s in steps)
    return Question(CoreKind[kind.upper()], root, tuple(named))


@dataclass(frozen=True, slots=True)
class Found:
    """A member: its type without modifiers, where it is in the root; `bits` of a bitfield."""

    type: BtfType
    bit_offset: int
    bits: int = 0


def plain(btf: Btf, number: int) -> BtfType:
    """A type without typedefs and qualifiers."""
    type = btf.type(number)
    for _ in range(_DEPTH):
        if type.kind not in _MODIFIERS:
            return type
        type = btf.type(type.to)
    raise BtfError("BTF types refer in circles")


def size_of(btf: Btf, type: BtfType) -> int:
    """Bytes of a type without modifiers; 0 for what has none."""
    count = 1
    for _ in range(_DEPTH):
        if type.kind != "array":
            return count * (8 if type.kind == "ptr" else type.size)
        element, number = btf.array(type)
        count, type = count * number, plain(btf, element)
    raise BtfError("BTF types refer in circles")


def root_of(btf: Btf, root: str) -> Iterator[BtfType]:
    """The types of that keyword and name."""
    keyword, _, name = root.partition(" ")
    kinds = _ENUMS if keyword == "enum" else ("struct",) if keyword == "struct" else ("union",)
    return btf.find_all(name, *kinds) if keyword in ("struct", "union", "enum") else iter(())


def member(btf: Btf, type: BtfType, name: str, depth: int = 0) -> tuple[BtfMember, int] | None:
    """A member by name, those of anonymous members among them, and its offset in bits."""
    if depth > _DEPTH or type.kind not in _COMPOSITE:
        return None
    for found in btf.members(type):
        if found.name == name:
            return found, found.bit_offset
        if not found.name:
            inner = member(btf, plain(btf, found.type), name, depth + 1)
            if inner:
                return inner[0], found.bit_offset + inner[1]
    return None


def walk(
    btf: Btf, root: BtfType, steps: Steps, like: Sequence[tuple[Btf, BtfType]] = ()
) -> Found | None:
    """What the steps lead to; None if it is not there.

    like: for each step a type of another BTF that its type must be compatible with.
    """
    found = Found(root, 0)
    for n, step in enumerate(steps):
        if isinstance(step, int):
            if found.type.kind != "array":
                return None
            number, count = btf.array(found.type)
            if step >= count > 0:
                return None
            type = plain(btf, number)
            found = Found(type, found.bit_offset + 8 * step * size_of(btf, type))
        else:
            part = member(btf, found.type, step)
            if part is None:
                return None
            type = plain(btf, part[0].type)
            found = Found(type, found.bit_offset + part[1], _bits(btf, part[0], type))
        if n < len(like) and not compatible(*like[n], btf, found.type):
            return None
    return found


def _bits(btf: Btf, found: BtfMember, type: BtfType) -> int:
    """Width of a bitfield, which an old compiler keeps in its type; 0 for other members."""
    if found.bits or type.kind != "int":
        return found.bits
    bits = btf.integer(type)[0]
    return bits if bits != 8 * type.size else 0


def compatible(one: Btf, a: BtfType, other: Btf, b: BtfType) -> bool:
    """Whether a member of type `a` may be taken for one of type `b`."""
    for _ in range(_DEPTH):
        if a.kind in _COMPOSITE and b.kind in _COMPOSITE:
            return True
        if a.kind in _ENUMS and b.kind in _ENUMS:
            return not a.name or not b.name or a.name == b.name
        if a.kind != b.kind:
            return False
        if a.kind != "array":
            return a.kind in ("int", "ptr", "float") or (a.kind == "fwd" and a.name == b.name)
        a, b = plain(one, one.array(a)[0]), plain(other, other.array(b)[0])
    return False


def measure(btf: Btf, kind: CoreKind, found: Found) -> int | None:
    """The answer about a member that is there; None for what cannot be said."""
    size = size_of(btf, found.type)
    at, bits = found.bit_offset // 8, found.bits or 8 * size
    if found.bits:
        at = found.bit_offset // 8 // size * size if size else at
        while size and found.bit_offset + bits - 8 * at > 8 * size:
            if size >= 8:
                return None  # no load covers it
            size *= 2
            at = found.bit_offset // 8 // size * size
    match kind:
        case CoreKind.FIELD_EXISTS:
            return 1
        case CoreKind.BYTE_OFFSET:
            return at
        case CoreKind.BYTE_SIZE:
            return size
        case CoreKind.LSHIFT_U64:
            return 64 - (found.bit_offset + bits - 8 * at) if size <= 8 else None
        case CoreKind.RSHIFT_U64:
            return 64 - bits if size <= 8 else None
        case CoreKind.SIGNED:
            type = found.type
            return int(type.flag if type.kind in _ENUMS else btf.integer(type)[1])
    return None


def answer(btf: Btf, question: Question) -> int | None:
    """What a BTF says; None for what is not there."""
    for root in root_of(btf, question.root):
        if (value := _answer(btf, root, question, ())) is not None:
            return value
    return 0 if question.kind in EXISTS else None


def _answer(
    btf: Btf, root: BtfType, question: Question, like: Sequence[tuple[Btf, BtfType]]
) -> int | None:
    match question.kind:
        case CoreKind.TYPE_EXISTS:
            return 1
        case CoreKind.TYPE_SIZE:
            return root.size
        case CoreKind.TYPE_ID_TARGET:
            return root.id
        case CoreKind.ENUMVAL_EXISTS | CoreKind.ENUMVAL_VALUE if len(question.steps) == 1:
            value = btf.enumerators(root).get(str(question.steps[0]))
            exists = question.kind == CoreKind.ENUMVAL_EXISTS
            return value if value is None or not exists else 1
    if not question.steps or question.kind > CoreKind.RSHIFT_U64:
        return None
    found = walk(btf, root, question.steps, like)
    return measure(btf, question.kind, found) if found else None


def decode(own: Btf, type: int, access: str, kind: int) -> tuple[Question, list[BtfType]]:
    """The question that a record asks by a type of its object; for each step, what it leads to.

    Raises BtfError for what makes no sense.
    """
    root = plain(own, type)
    parts = access.split(":")
    if not all(p.isdecimal() and len(p) < 10 for p in parts) or kind not in set(CoreKind):
        raise BtfError(f"no access string: {access!r} of kind {kind}")
    numbers = [int(p) for p in parts]
    steps: list[str | int] = []
    types: list[BtfType] = []
    if root.kind in _ENUMS and kind in (CoreKind.ENUMVAL_EXISTS, CoreKind.ENUMVAL_VALUE):
        steps.append(_at(list(own.enumerators(root)), numbers[0]))
    else:
        at = root
        for number in numbers[1:]:
            if at.kind == "array":
                steps.append(number)
                at = plain(own, own.array(at)[0])
            elif at.kind in _COMPOSITE:
                found = _at(own.members(at), number)
                at = plain(own, found.type)
                if not found.name:
                    continue  # what is in it is found by name
                steps.append(found.name)
            else:
                raise BtfError(f"access {access} into {at.kind} {at.name}")
            types.append(at)
    keyword = "enum" if root.kind in _ENUMS else root.kind
    name = root.name.partition("___")[0]  # a flavour: libbpf's way to have several of one name
    return Question(CoreKind(kind), f"{keyword} {name}", tuple(steps)), types


def _at(rows: Sequence[_Row], number: int) -> _Row:
    if number >= len(rows):
        raise BtfError(f"there is no member {number}")
    return rows[number]


def resolve(own: Btf, type: int, access: str, kind: int, kernel: Btf) -> int | None:
    """The answer of a kernel to a record of an object; None for what is not there.

    Raises BtfError for damaged data.
    """
    question, types = decode(own, type, access, kind)
    if question.kind == CoreKind.TYPE_ID_LOCAL:
        return type
    like = [(own, t) for t in types]
    for root in root_of(kernel, question.root):
        if (value := _answer(kernel, root, question, like)) is not None:
            return value
    return 0 if question.kind in EXISTS else None


def layout(btf: Btf, what: str) -> str:
    """What tells the layout of a struct, or of a member's, from others; nothing if there is none.

    what: `struct S`, or with steps behind as in a question.
    """
    from hashlib import sha256

    steps = parse(f"byte_offset {what}")
    for root in root_of(btf, steps.root):
        if found := walk(btf, root, steps.steps):
            return sha256(_layout(btf, found.type, 0).encode()).hexdigest()[:16]
    return ""


def _layout(btf: Btf, type: BtfType, depth: int) -> str:
    if type.kind == "array":
        element, count = btf.array(type)
        return f"{count}*{_layout(btf, plain(btf, element), depth + 1)}"
    if type.kind not in _COMPOSITE or depth > _DEPTH:
        return f"{type.kind} {size_of(btf, type)}"
    rows = [
        f"{m.name}@{m.bit_offset}.{m.bits}={_layout(btf, plain(btf, m.type), depth + 1)}"
        for m in btf.members(type)
    ]
    return f"{type.kind} {type.size} {{{';'.join(rows)}}}"
