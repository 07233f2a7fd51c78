"""What a row of OPS says about one instruction: its result's type, and whether it keeps the row.

The builder asks before it appends, the verifier again after every pass. Nothing here looks beyond
the instruction itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bpfscript.diagnostics import CompilerBug
from bpfscript.ir.core import Instr
from bpfscript.ir.helpers import HELPERS
from bpfscript.ir.ops import OPS, OpDef
from bpfscript.ir.types import BTF, DIRECT, I1, I64, MAP, RING, VOID, I, Ptr, Type

TARGETS = {"jump": 1, "branch": 2}
"""How many ways out each terminator has; all other instructions have none."""

HELPER_RESULTS: dict[str, Type] = {"i64": I64, "map?": MAP, "ring?": RING, "btf": BTF}
"""IR type of each `helpers.Result`."""

ATTR_TYPES: dict[str, type] = (
    dict.fromkeys(("value", "size", "off", "from", "index", "limit", "count", "event"), int)
    | dict.fromkeys(("map", "helper", "function", "name", "kind", "op", "of"), str)
    | {"data": bytes, "offsets": tuple, "sizes": tuple}
)

# Operations that hold an integer in memory, where i1 has no size.
_IN_MEMORY = ("load", "store", "read_int", "pack", "emit", "map_read", "map_write")


def is_kind(kind: str, type: Type) -> bool:
    """Whether a type is of a kind that operand lists of OPS name; not for `=`, `second`, `any`."""
    match kind:
        case "I":
            return isinstance(type, I)
        case "P":
            return isinstance(type, Ptr)
        case "D":
            return isinstance(type, Ptr) and type.space in DIRECT
        case "F":
            return isinstance(type, Ptr) and type.space in ("kernel", "user")
        case "V" | "V*":
            return type != VOID
        case "-":
            return type == VOID
    return kind in (str(type), type.space if isinstance(type, Ptr) else None)


def result_type(op: str, args: Sequence[Type], given: Type | None) -> Type:
    """Type of an instruction's result, VOID for none. `given` is for rows whose result is `any`.

    Raises CompilerBug if the row wants a type and there is none, or the other way round.
    """
    result = OPS[op].result
    if (result == "any") != (given is not None):
        raise CompilerBug(f"{op}: {'a type is missing' if given is None else 'takes no type'}")
    if given is not None:
        return given
    if result in ("=", "second"):
        index = ("=", "second").index(result)
        if index >= len(args):
            raise CompilerBug(f"{op}: {len(args)} operands")
        return args[index]
    fixed: dict[str, Type] = {"-": VOID, "i1": I1, "i64": I64}
    return fixed[result] if result in fixed else Ptr(result)  # type: ignore[arg-type]  # a space


def faults(instr: Instr) -> Iterator[str]:
    """Every way in which an instruction breaks its row: operands, result, attributes, targets."""
    row = OPS.get(instr.op)
    if row is None:
        yield f"there is no instruction {instr.op}"
        return
    args = [a.type for a in instr.args]
    result = instr.result.type if instr.result else VOID
    attrs_ok = True
    for fault in _attr_faults(row, instr):
        attrs_ok = False
        yield fault
    if len(instr.targets) != TARGETS.get(instr.op, 0):
        yield f"has {len(instr.targets)} targets"
    operands = list(_operand_faults(row, args))
    yield from operands
    if operands:
        return
    expected = result if row.result == "any" else result_type(instr.op, args, None)
    if result != expected:
        yield f"its result is {result}, not {expected}"
    elif attrs_ok:
        yield from _special_faults(instr, args, result)


def _attr_faults(row: OpDef, instr: Instr) -> Iterator[str]:
    known = {name.rstrip("?") for name in row.attrs}
    for name in row.attrs:
        if not name.endswith("?") and name not in instr.attrs:
            yield f"attribute {name} is missing"
    for name, value in instr.attrs.items():
        if name not in known:
            yield f"unknown attribute {name}"
        elif type(value) is not ATTR_TYPES.get(name, type(value)):
            yield f"attribute {name} is {value!r}, not of type {ATTR_TYPES[name].__name__}"


def _operand_faults(row: OpDef, args: list[Type]) -> Iterator[str]:
    kinds = list(row.args)
    if kinds and kinds[-1] == "V*":
        kinds[-1:] = ["V"] * (len(args) - len(kinds) + 1)
    if len(kinds) != len(args):
        yield f"has {len(args)} operands, not {len(kinds)}"
        return
    width: Type | None = None
    for i, (kind, arg) in enumerate(zip(kinds, args, strict=True)):
        expected = str(args[i - 1]) if kind == "=" else kind
        if not (arg == args[i - 1] if kind == "=" else is_kind(kind, arg)):
            yield f"operand {i + 1} is {arg}, not {expected}"
        elif kind == "I":
            width = width or arg
            if arg != width:
                yield f"operand {i + 1} is {arg}, not {width}"


def _special_faults(instr: Instr, args: list[Type], result: Type) -> Iterator[str]:
    """Rules of single instructions that the table has no column for."""
    op, attrs = instr.op, instr.attrs
    if op in _IN_MEMORY and I1 in (result, *args):
        yield "an i1 has no place in memory; extend it"
    if op in ("const", "load", "read_int", "map_read") and not isinstance(result, I):
        yield f"its result is {result}, not an integer"
    if op in ("store", "cmpxchg", "fill", "copy") and args[0] in (Ptr("ctx"), Ptr("rodata"), BTF):
        yield f"writes to {args[0]}, which is read-only"
    match op:
        case "zext" | "sext" | "trunc":
            if not isinstance(result, I) or not isinstance(args[0], I):
                yield f"its result is {result}, not an integer"
            elif (result.bits <= args[0].bits) != (op == "trunc") or result == args[0]:
                yield f"from {args[0]} to {result} is the wrong way"
        case "bswap":
            if result not in (I(16), I(32), I(64)):
                yield f"there are no bytes to swap in {result}"
        case "to_ptr":
            if not is_kind("F", result) and result != BTF:
                yield f"its result is {result}, not kernel or user memory"
        case "divide":
            if attrs["op"] not in ("udiv", "urem"):
                yield f"attribute op is {attrs['op']!r}"
        case "pack":
            if not len(args) == len(_tuple(attrs["offsets"])) == len(_tuple(attrs["sizes"])):
                yield "offsets, sizes and operands differ in number"
        case "string_eq" | "string_find":
            if len(_tuple(attrs["sizes"])) != 2:
                yield "attribute sizes does not have two entries"
        case "call":
            name = _text(attrs["helper"])
            helper = HELPERS.get(name)
            if helper is None:
                yield f"there is no helper {name}"
            elif len(args) != helper.args:
                yield f"{name} takes {helper.args} operands, not {len(args)}"
            elif result != HELPER_RESULTS[helper.result]:
                yield f"its result is {result}, not {HELPER_RESULTS[helper.result]}"


def _text(attr: object) -> str:
    assert isinstance(attr, str)
    return attr


def _tuple(attr: object) -> tuple[int, ...]:
    assert isinstance(attr, tuple)
    return attr
