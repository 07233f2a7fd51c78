"""Functions of imported C as the language sees them (LANGUAGE §1.8)."""

from __future__ import annotations

from bpfscript.c_library import CFunction
from bpfscript.types import VOID, Bool, Int, Pointer, Struct, Type

from .ctypes import CTypes


def signature(function: CFunction) -> tuple[dict[str, Type], Type]:
    """Types of the parameters by their names, and of the result."""
    types, btf = CTypes(lambda: None), function.btf
    rows = btf.parameters(function.type)
    parameters = {name or f"#{n}": types.of(btf.type(to)) for n, (name, to) in enumerate(rows, 1)}
    return parameters, types.of(btf.type(function.type.to))


def passes(type: Type) -> bool:
    """Whether a register holds values of a type, or there are none."""
    return type == VOID or isinstance(type, Int | Bool | Pointer)


def alike(wanted: Type, type: Type) -> bool:
    """Whether what both point to, if they are pointers, is the same."""
    match wanted, type:
        case Pointer(to=Pointer() as one), Pointer(to=Pointer() as other):
            return alike(one, other)
        case Pointer(to=Struct(name=one)), Pointer(to=Struct(name=other)):
            return one == other  # C may only have declared it
        case Pointer(to=one), Pointer(to=other):
            return one == other
    return True
