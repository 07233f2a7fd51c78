"""Types of the kernel as C text: declarations, definitions, parameters of functions.

struct list_head {
    struct list_head *next;
    struct list_head *prev;
};
"""

from __future__ import annotations

from bpfscript.btf import Btf, BtfType

_QUALIFIERS = ("const", "volatile", "restrict")
_ALIAS = {"fwd": "struct"}  # a struct that is only declared


def declaration(btf: Btf, number: int, name: str = "", depth: int = 0) -> str:
    """`char *name[3]` for a type by its number. Unnamed structs are written out, indented by
    `depth` tabs."""
    text, before = name, ""
    while True:
        type = btf.type(number)
        if type.kind == "ptr":
            text = f"*{' ' if text.startswith(_QUALIFIERS) else ''}{text}"
        elif type.kind in _QUALIFIERS:
            if _is_pointer(btf, type.to):
                text = f"{type.kind} {text}".rstrip()
            else:
                before += f"{type.kind} "
        elif type.kind == "array":
            element, count = btf.array(type)
            text, number = f"{_grouped(text)}[{count or ''}]", element
            continue
        elif type.kind == "func_proto":
            text = f"{_grouped(text)}({_prototype(btf, type)})"
        elif type.kind != "type_tag":
            return f"{before}{_base(btf, type, depth)} {text}".rstrip()
        number = type.to


def definition(btf: Btf, type: BtfType, depth: int = 0) -> str:
    """A struct, union or enum with what is in it, without the `;`. Padding is not shown."""
    margin = "\t" * (depth + 1)
    if type.kind in ("enum", "enum64"):
        lines = [f"{name} = {value}," for name, value in btf.enumerators(type).items()]
    else:
        lines = []
        for member in btf.members(type):
            bits = f": {member.bits}" if member.bits else ""
            lines.append(f"{declaration(btf, member.type, member.name, depth + 1)}{bits};")
    head = f"{type.kind.removesuffix('64')} {type.name}".rstrip()
    inside = "".join(f"{margin}{line}\n" for line in lines)
    return f"{head} {{\n{inside}{margin[1:]}}}"


def parameters(btf: Btf, function: str) -> list[tuple[str, str]]:
    """(type, name) of a kernel function's parameters; empty for one that BTF does not know."""
    found = btf.find(function, "func")
    if found is None:
        return []
    return [
        (declaration(btf, to), name)
        for name, to in btf.parameters(btf.type(found.to))
        if to  # 0 ends a variadic list
    ]


def result(btf: Btf, function: str) -> str | None:
    """Type of what a kernel function returns; None for nothing, or if BTF does not know it."""
    found = btf.find(function, "func")
    if found is None or not (returned := btf.type(found.to).to):
        return None
    return declaration(btf, returned)


def members(btf: Btf, type: BtfType) -> list[tuple[str, str]]:
    """(type, name) of a struct's members, those of unnamed structs inside among them."""
    found: list[tuple[str, str]] = []
    for member in btf.members(type):
        if member.name:
            found.append((declaration(btf, member.type), member.name))
        elif (inner := btf.type(member.type)).kind in ("struct", "union"):
            found += members(btf, inner)
    return found


def _is_pointer(btf: Btf, number: int) -> bool:
    type = btf.type(number)
    while type.kind in _QUALIFIERS:
        type = btf.type(type.to)
    return type.kind == "ptr"


def _grouped(text: str) -> str:
    return f"({text})" if text.startswith("*") else text


def _prototype(btf: Btf, type: BtfType) -> str:
    given = [declaration(btf, to, name) if to else "..." for name, to in btf.parameters(type)]
    return ", ".join(given) or "void"


def _base(btf: Btf, type: BtfType, depth: int) -> str:
    if type.kind == "void":
        return "void"
    if type.kind in ("struct", "union", "enum", "enum64", "fwd"):
        if not type.name:
            return definition(btf, type, depth)
        keyword = "union" if type.kind == "fwd" and type.flag else _ALIAS.get(type.kind, type.kind)
        return f"{keyword.removesuffix('64')} {type.name}"
    return type.name
