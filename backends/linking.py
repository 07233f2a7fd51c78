"""Imported C beside the code of a script: what is reached of it, described in the artifact's BTF.

Functions become static: so the kernel's verifier walks each with what its caller passes, rather
than by its declaration alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping

from bpfscript.backends import btf, isa
from bpfscript.btf import BtfType
from bpfscript.c_library import CFunction, CLibrary
from bpfscript.codec import ObjectError
from bpfscript.manifest import CodeFunction
from bpfscript.plain import replace

_DEPTH = 32  # types inside each other; more than that refers to itself


def closure(names: Iterable[str], code: Mapping[str, CodeFunction]) -> list[str]:
    """Functions, then all that they call or hand out, in order of first mention."""
    found = list(names)
    known = set(found)
    for name in found:
        for relocation in code[name].relocations:
            if relocation.kind in ("call", "callback") and relocation.name not in known:
                known.add(relocation.name)
                found.append(relocation.name)
    return found


def reached(library: CLibrary, compiled: Iterable[CodeFunction]) -> dict[str, CodeFunction]:
    """Functions of a library that those compiled call, and so on."""
    own = {code.name: code for code in compiled}
    theirs = {name: function.code for name, function in library.functions.items()}
    return {name: theirs[name] for name in closure(own, theirs | own) if name not in own}


def described(
    code: CodeFunction, function: CFunction, symbol: str, types: btf.Writer
) -> CodeFunction:
    """The code, whose type, lines and questions to the kernel refer to `types`. Immediates are
    what relocations add to, as libbpf wants it."""
    own, body = function.btf, bytearray(code.code)
    for r in code.relocations:
        value = r.addend if r.kind == "map_value" else -1 if r.kind in ("call", "kfunc") else 0
        struct.pack_into("<i", body, isa.SLOT * r.instruction + 4, value)

    def string(offset: int) -> int:
        return types.string(own.string(offset))

    lines = tuple(replace(n, file=string(n.file), text=string(n.text)) for n in code.lines)
    core = tuple(replace(row, type=_copied(own.type(row.type), types)) for row in code.core)
    for row in core:
        types.string(row.access)
    params = [(name, types.u64()) for name, _ in own.parameters(function.type)]
    number = types.function(symbol, params, btf.STATIC)
    return replace(code, code=bytes(body), lines=lines, core=core, type_id=number)


def _copied(type: BtfType, types: btf.Writer, depth: int = 0) -> int:
    """A type of another BTF as far as questions to the kernel go: not beyond a pointer."""
    if depth > _DEPTH:
        raise ObjectError("damaged object file: a type holds itself")
    own = type.of

    def inner(number: int) -> int:
        return _copied(own.type(number), types, depth + 1)

    match type.kind:
        case "int":
            _, signed, boolean = own.integer(type)
            return types.integer(type.name, type.size, signed | 4 * boolean)
        case "ptr":
            return types.pointer()
        case "array":
            of, count = own.array(type)
            return types.array(inner(of), count)
        case "enum" | "enum64":
            return types.enum(type.name, type.size, type.flag, list(own.enumerators(type).items()))
        case "struct" | "union":
            members = [(m.name, inner(m.type), m.bit_offset, m.bits) for m in own.members(type)]
            return types.composite(type.kind == "union", type.name, type.size, members)
        case "typedef":
            return types.typedef(type.name, inner(type.to))
        case "const" | "volatile" | "restrict" | "type_tag":
            return inner(type.to)
        case "void":
            return 0
    return types.blob(type.size)
