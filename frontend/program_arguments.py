"""Parameters of a function → where a probe at its start finds them.

By the rules of System V ABI for x86-64, section 3.2.3, unless the function says where they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bpfscript.target import FunctionType, Place
from bpfscript.types import Array, Field, Pointer, String, Struct, Type, Unsupported, align_up

from .typed import Argument

_FLOAT_REGISTERS = 8
_WORD = 8
FieldsOf = Callable[[Struct], tuple[Field, ...]]


def arguments(function: FunctionType, registers: int, fields_of: FieldsOf) -> dict[str, Argument]:
    """Every parameter by name. Floating-point ones have a type that cannot be read.

    registers: how many there are for integers.
    """
    if function.places is not None:
        return {
            name: _placed(name, _in_user_space(type), place, fields_of)
            for (name, type), place in zip(function.parameters, function.places, strict=True)
        }
    integers, floats, stack = 0, 0, _WORD  # the return address lies at the stack pointer
    if _in_memory(function.result, fields_of):
        integers = 1  # the first register says where the result goes
    found = {}
    for i, (name, type) in enumerate(function.parameters):
        name, classes = name or f"__{i}", _classes(type, fields_of)
        whole, real = classes.count("integer"), classes.count("float")
        if classes and integers + whole <= registers and floats + real <= _FLOAT_REGISTERS:
            if real:
                found[name] = Argument(name, Unsupported(type.size), "float", 0)
            else:
                source = "registers" if isinstance(type, Struct | Array) else "register"
                found[name] = Argument(name, _in_user_space(type), source, integers)
            integers, floats = integers + whole, floats + real
        else:
            found[name] = Argument(name, _in_user_space(type), "stack", stack)
            stack += align_up(type.size, _WORD)
    return found


def _placed(name: str, type: Type, place: Place | None, fields_of: FieldsOf) -> Argument:
    if place is None:
        return Argument(name, Unsupported(type.size), "nowhere", 0)
    if not place.registers:
        return Argument(name, type, "stack", place.stack)
    parts = [(offset, part.size) for offset, part in _scalars(type, fields_of)]
    if len(parts) != len(place.registers):
        return Argument(name, Unsupported(type.size), "nowhere", 0)
    pairs = zip(place.registers, parts, strict=True)
    return Argument(name, type, "pieces", 0, tuple((name, *part) for name, part in pairs))


def _in_user_space(type: Type) -> Type:
    return Pointer(_in_user_space(type.to), "user") if isinstance(type, Pointer) else type


def _in_memory(type: Type, fields_of: FieldsOf) -> bool:
    return isinstance(type, Struct) and not _classes(type, fields_of)


def _classes(type: Type, fields_of: FieldsOf) -> list[str]:
    """`integer` or `float` for each 8 bytes; nothing for what is passed on the stack."""
    if not 0 < type.size <= 2 * _WORD or (isinstance(type, Unsupported) and type.size > _WORD):
        return []
    found = ["float"] * (align_up(type.size, _WORD) // _WORD)
    for offset, scalar in _scalars(type, fields_of):
        if isinstance(scalar, Unsupported) and scalar.size > _WORD:
            return []
        if not isinstance(scalar, Unsupported) and offset // _WORD < len(found):
            found[offset // _WORD] = "integer"
    return found


def _scalars(type: Type, fields_of: FieldsOf, base: int = 0) -> Iterator[tuple[int, Type]]:
    """(offset, type) of all that a value consists of."""
    match type:
        case Struct():
            for field in fields_of(type):
                yield from _scalars(field.type, fields_of, base + field.offset)
        case Array(of=of, count=count):
            for i in range(count):
                yield from _scalars(of, fields_of, base + i * of.size)
        case String(size=size):
            yield from ((base + i, type) for i in range(0, size, _WORD))
            yield base + size - 1, type
        case _:
            yield base, type
