"""Kernel memory whose type the verifier knows (PTR_TO_BTF_ID) is loaded, not copied by a helper.

%t = current_task; %p = read_int %t {off=8}  →  %t = call get_current_task_btf; %p = load %t {off=8}

The walk here follows btf_struct_walk (kernel/bpf/btf.c), but knows less: of a union, a bitfield or
a tagged pointer nothing is known. A pointer that the verifier knows the type of is no number any
more: it is loaded only where the script does nothing with it but read behind it.
"""

from __future__ import annotations

from bpfscript.btf import Btf, BtfType
from bpfscript.ir.core import Function, Instr, Value
from bpfscript.ir.types import BTF, I64, I

from .code import Code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

_READS = ("read_int", "read_sized", "read_mem", "read_string", "read_buffer")
_MODIFIERS = ("typedef", "const", "volatile", "restrict")
_TASK = "task_struct"
Known = tuple[Value, BtfType, int]


def typed_task(code: Code) -> Value:
    return code.call("get_current_task_btf")


def addresses(function: Function) -> set[Value]:
    """Values that nothing is done with but reading behind them."""
    uses: dict[Value, list[tuple[Instr, int]]] = {}
    passed = set()
    for instr in function.instructions():
        for i, value in enumerate(instr.args):
            uses.setdefault(value, []).append((instr, i))
        passed |= {value for edge in instr.targets for value in edge.args}
    made = {i.result: i for i in function.instructions() if i.result}

    def moves(instr: Instr) -> bool:
        step = made.get(instr.args[1]) if instr.op == "ptr_add" else None
        return instr.op in ("to_ptr", "to_int") or (step is not None and step.op == "const")

    def only(value: Value) -> bool:
        return value not in passed and all(
            i == 0
            and (
                instr.op in _READS
                or (moves(instr) and instr.result is not None and only(instr.result))
            )
            for instr, i in uses.get(value, ())
        )

    return {instr.result for instr in made.values() if instr.result and only(instr.result)}


def load(code: Code, pointer: Value, instr: Instr) -> Value | None:
    """An integer of kernel memory, loaded; None if the verifier would not let it."""
    offset = instr.attrs["off"]
    assert instr.result and isinstance(instr.result.type, I) and isinstance(offset, int)
    if not code.target.has("get_current_task_btf") or (btf := code.target.btf) is None:
        return None
    known = _known(code, btf, pointer)
    if known is None:
        return None
    base, type, at = known
    member = member_at(btf, type, at + offset, instr.result.type.bits // 8)
    if member is None or (member != "number" and instr.result not in code.addresses):
        return None

    wanted = instr.result.type

    def read() -> Value:
        place = base if base.type == BTF else code.value("to_ptr", base, type=BTF)
        return code.load(place, wanted, at + offset)

    if base.type == BTF:
        value = read()
    else:  # null has no members
        value = code.choose(code.op("ne", base, 0), read, lambda: code.const(0, wanted))
    if member != "number":
        code.typed[value] = member
    return value


def _known(code: Code, btf: Btf, pointer: Value) -> Known | None:
    """(what points to a struct, the struct, offset in it)."""
    if pointer in code.typed:
        return pointer, code.typed[pointer], 0
    made = code.definitions.get(pointer)
    if made is None:
        return None
    match made.op:
        case "to_ptr" | "to_int":
            return _known(code, btf, made.args[0])
        case "ptr_add":
            step = code.definitions.get(made.args[1])
            known = _known(code, btf, made.args[0])
            if known and step and step.op == "const":
                by = step.attrs["value"]
                assert isinstance(by, int)
                return known[0], known[1], known[2] + by
        case "call" if made.attrs["helper"] == "get_current_task":
            task = btf.find(_TASK, "struct")
            return (typed_task(code), task, 0) if task else None
    return None


def member_at(btf: Btf, type: BtfType, at: int, size: int) -> BtfType | Literal["number"] | None:
    """What the verifier takes `size` bytes of a struct for: a number, or a pointer to a struct."""
    for member in btf.members(type):
        start = member.bit_offset // 8
        if member.bits:
            if start < at + size and at < start + (member.bit_offset % 8 + member.bits + 7) // 8:
                return None
            continue
        inner = _plain(btf, member.type)
        room = _size(btf, inner)
        if at < start + room and start < at + size:
            whole = start <= at and at + size <= start + room
            return _inside(btf, inner, at - start, size) if whole else None
    return None


def _inside(btf: Btf, type: BtfType, at: int, size: int) -> BtfType | Literal["number"] | None:
    match type.kind:
        case "int" | "enum" | "enum64":
            return "number"
        case "struct":
            return member_at(btf, type, at, size)
        case "array":
            element = _plain(btf, btf.array(type)[0])
            return "number" if element.kind in ("int", "enum", "enum64") else None
        case "ptr" if (at, size) == (0, 8):
            to = _plain(btf, type.to)
            if to.kind == "struct":
                return to
            return "number" if to.kind in ("void", "int", "func_proto", "ptr", "fwd") else None
    return None


def _plain(btf: Btf, number: int) -> BtfType:
    type = btf.type(number)
    while type.kind in _MODIFIERS:
        type = btf.type(type.to)
    return type


def _size(btf: Btf, type: BtfType) -> int:
    """Bytes; 0 for what has none, or what nothing is known of."""
    if type.kind == "array":
        element, count = btf.array(type)
        return count * _size(btf, _plain(btf, element))
    return 8 if type.kind == "ptr" else type.size


def words(code: Code, to: Value, base: Value, offset: int, size: int) -> None:
    """Copy a number of whole words."""
    for at in range(0, size, 8):
        code.store(to, code.load(base, I64, offset + at), at)
