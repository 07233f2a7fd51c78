"""Artifact ↔ ELF object that libbpf loads.

    section               holds
    <Program.section>     programs, one function symbol each
    .text                 callbacks and functions that programs share, static by their BTF
    .maps                 a variable for each map, described by BTF
    .rodata, .data.<map>  constants; arrays of one value that code addresses directly
    license               of the code
    .BTF, .BTF.ext        types; function and line tables (Documentation/bpf/btf.rst)
    .bpfscript            the rest of the artifact as JSON (codec.py)

Functions of the kernel are symbols without a section, which only our runtime resolves. Otherwise
sections and relocations are libbpf's; names of maps and functions become C identifiers
(`assemble.symbols`). The original names are in `.bpfscript`, from which `read` takes them.
"""

from __future__ import annotations

import struct

from bpfscript import codec
from bpfscript.backends import btf, object_file
from bpfscript.backends.assemble import data_sections, map_sizes, symbols
from bpfscript.backends.isa import SLOT
from bpfscript.backends.object_file import ALLOC, EXECUTABLE, WRITE, ObjectFile, Section, Symbol
from bpfscript.codec import ObjectError
from bpfscript.diagnostics import CompilerBug
from bpfscript.identity import VERSION
from bpfscript.manifest import Artifact, CodeFunction, Internal, Relocation
from bpfscript.plain import replace

OWN = ".bpfscript"
FORMAT = 3  # of what stands there; another one cannot be read
_TEXT = ".text"
_KINDS = ("map", "map_value", "call", "callback")  # of relocations against what an object has
_EXT_HEADER = struct.Struct("<HBBIIIIIII")


def write(artifact: Artifact) -> bytes:
    """The object's bytes. Raises ObjectError for what libbpf has no way to express."""
    file = ObjectFile({}, [])
    places = _add_code(file, artifact)
    _add_data(file, artifact)
    _add_plain(file, "license", artifact.manifest.settings.license.encode() + b"\0", WRITE | ALLOC)
    _add_plain(file, ".BTF", artifact.btf, align=4)
    _add_plain(file, ".BTF.ext", _ext(artifact, places), align=4)
    head = f"bpfscript {FORMAT} {VERSION}\n".encode()
    _add_plain(file, OWN, head + codec.dumps(_without_bodies(artifact)))
    _relocate(file, artifact, places)
    return object_file.write(file)


def read(data: bytes) -> Artifact:
    """The artifact of an object that `write` made. Raises ObjectError for any other bytes."""
    file = object_file.read(data)
    by, text = _own(file)
    try:
        artifact = codec.loads(Artifact, text)
    except ObjectError as error:
        if by == f"bpfscript {VERSION}":
            raise
        raise ObjectError(f"{error}; it was written by {by}", "compile the script again") from None
    code = {s.name: _body(file, s) for s in file.symbols if s.type == object_file.FUNC}
    try:
        names = symbols(artifact)
    except CompilerBug as error:
        raise ObjectError(f"damaged object file: {error}") from None
    for name, function in artifact.functions.items():
        if names[name] not in code or function.name != name:
            raise ObjectError(f"damaged object file: there is no code of {name}")
        artifact.functions[name] = replace(function, code=code[names[name]])
    _check(artifact)
    artifact.rodata = file.sections[".rodata"].data if ".rodata" in file.sections else b""
    artifact.btf = file.sections[".BTF"].data if ".BTF" in file.sections else b""
    return artifact


def writer(data: bytes) -> str:
    """Which bpfscript wrote an object. Raises ObjectError as `read` does."""
    return _own(object_file.read(data))[0]


def _own(file: ObjectFile) -> tuple[str, bytes]:
    """Who wrote it, and the artifact as JSON."""
    if OWN not in file.sections:
        raise ObjectError("the object was not made by bpfscript")
    head, _, rest = file.sections[OWN].data.partition(b"\n")
    name, _, words = head.decode("ascii", "replace").partition(" ")
    number, _, version = words.partition(" ")
    if name != "bpfscript" or not number.isdecimal() or not version.isprintable():
        raise ObjectError(f"damaged object file: {OWN} does not say what it is")
    if int(number[:9]) != FORMAT:
        raise ObjectError(
            f"the object has format {number[:9]}, and this bpfscript reads format {FORMAT}",
            f"run it with bpfscript {version}, or compile the script again",
        )
    return f"bpfscript {version}", rest


def _body(file: ObjectFile, symbol: Symbol) -> bytes:
    section = file.sections.get(symbol.section)
    body = section.data[symbol.value : symbol.value + symbol.size] if section else b""
    if len(body) != symbol.size or not body or len(body) % SLOT:
        raise ObjectError(f"damaged object file: no code at {symbol.name}")
    return body


def _check(artifact: Artifact) -> None:
    """Whatever names or numbers something must find it."""
    maps = {m.name for m in artifact.manifest.maps}
    for program in artifact.programs:
        if not program.functions or not set(program.functions) <= artifact.functions.keys():
            raise ObjectError(f"damaged object file: {program.name} lacks functions")
        reached = {
            r.name
            for name in program.functions
            for r in artifact.functions[name].relocations
            if r.kind in ("call", "callback")
        }
        if not reached <= {*program.functions}:
            raise ObjectError(f"damaged object file: {program.name} lacks functions")
    for function in artifact.functions.values():
        slots = range(len(function.code) // SLOT)
        for r in function.relocations:
            known = maps if r.kind.startswith("map") else artifact.functions.keys()
            last = r.instruction + (r.kind not in ("call", "kfunc"))
            there = (r.name in known and r.kind in _KINDS) or _extern(r)
            if r.instruction not in slots or last not in slots or not there:
                raise ObjectError(f"damaged object file: no {r.kind} {r.name}")
        if any(c.instruction not in slots for c in function.core):
            raise ObjectError(f"damaged object file: types asked for by {function.name}")
        if any(n.instruction not in slots for n in function.lines):
            raise ObjectError(f"damaged object file: lines of {function.name}")


def _without_bodies(artifact: Artifact) -> Artifact:
    hollow = {name: replace(f, code=b"") for name, f in artifact.functions.items()}
    return replace(artifact, functions=hollow, rodata=b"", btf=b"")


def _add_plain(file: ObjectFile, name: str, data: bytes, flags: int = 0, align: int = 1) -> None:
    if data:
        file.sections[name] = Section(name, data, flags=flags, align=align)


def _sections(artifact: Artifact) -> dict[str, list[CodeFunction]]:
    """Functions by section; libbpf wants those that are no programs in `.text`."""
    entries = {p.functions[0]: p.section for p in artifact.programs}
    out: dict[str, list[CodeFunction]] = {}
    for function in artifact.functions.values():
        out.setdefault(entries.get(function.name, _TEXT), []).append(function)
    return out


def _add_code(file: ObjectFile, artifact: Artifact) -> dict[str, Symbol]:
    """Sections of code; the symbol of each function."""
    names = symbols(artifact)
    places: dict[str, Symbol] = {}
    for section, functions in _sections(artifact).items():
        code = b""
        for f in functions:
            symbol = Symbol(names[f.name], section, len(code), len(f.code), object_file.FUNC)
            places[f.name] = symbol
            code += f.code
        file.sections[section] = Section(section, code, flags=ALLOC | EXECUTABLE, align=8)
    file.symbols += places.values()
    return places


def _add_data(file: ObjectFile, artifact: Artifact) -> None:
    names, data = symbols(artifact), data_sections(artifact)
    offset = 0
    for name, (_, size) in map_sizes(artifact, btf.Writer()).items():
        file.symbols.append(Symbol(names[name], ".maps", offset, size, object_file.OBJECT))
        offset += size
    _add_plain(file, ".maps", bytes(offset), WRITE | ALLOC, align=8)
    for definition in artifact.manifest.maps:
        if section := data.get(definition.name):
            constant = definition.name == Internal.RODATA
            initial = definition.initial or bytes(definition.value_size)
            body = artifact.rodata if constant else initial
            _add_plain(file, section, body, ALLOC if constant else WRITE | ALLOC, align=8)
            symbol = names[definition.name]
            file.symbols.append(Symbol(symbol, section, 0, len(body), object_file.OBJECT))


def _extern(relocation: Relocation) -> bool:
    return relocation.kind == "kfunc"


def _relocate(file: ObjectFile, artifact: Artifact, places: dict[str, Symbol]) -> None:
    names, data = symbols(artifact), data_sections(artifact)
    externs = {r.name for f in artifact.functions.values() for r in f.relocations if _extern(r)}
    file.symbols += [Symbol(name, "") for name in sorted(externs)]
    by_name = {s.name: s for s in file.symbols}
    for function in artifact.functions.values():
        place = places[function.name]
        for r in function.relocations:
            if r.kind == "map" and r.name in data:
                raise ObjectError(f"an object cannot use {r.name} both by helpers and directly")
            call = r.kind in ("call", "kfunc")
            kind = object_file.R_BPF_64_32 if call else object_file.R_BPF_64_64
            where = place.value + SLOT * r.instruction
            row = (where, kind, by_name[r.name if r.kind == "kfunc" else names[r.name]])
            file.sections[place.section].relocations.append(row)


def _ext(artifact: Artifact, places: dict[str, Symbol]) -> bytes:
    """`.BTF.ext`: a function table and a line table, each by section."""
    if not artifact.btf:
        return b""
    functions = struct.pack("<I", 8)
    lines = struct.pack("<I", 16)
    for section, members in _sections(artifact).items():
        name = btf.find_string(artifact.btf, section)
        head = struct.pack("<II", name, len(members))
        functions += head + b"".join(
            struct.pack("<II", places[f.name].value, f.type_id) for f in members
        )
        rows = [
            struct.pack(
                "<IIII", start + SLOT * n.instruction, n.file, n.text, n.line << 10 | n.column
            )
            for start, f in ((places[f.name].value, f) for f in members)
            for n in f.lines
        ]
        if rows and all(f.lines for f in members):
            lines += struct.pack("<II", name, len(rows)) + b"".join(rows)
    if len(lines) == 4:
        lines = b""
    core = _core(artifact, places)
    after = len(functions) + len(lines)
    sizes = (0, len(functions), len(functions), len(lines), after, len(core))
    header = _EXT_HEADER.pack(btf.MAGIC, btf.VERSION, 0, _EXT_HEADER.size, *sizes)
    return header + functions + lines + core


def _core(artifact: Artifact, places: dict[str, Symbol]) -> bytes:
    """Arrays of struct bpf_core_relo {insn_off, type_id, access_str_off, kind}, by section."""
    out = b""
    for section, members in _sections(artifact).items():
        rows = [
            struct.pack(
                "<IIII", places[f.name].value + SLOT * r.instruction, r.type,
                btf.find_string(artifact.btf, r.access), r.kind,
            )
            for f in members
            for r in f.core
        ]  # fmt: skip
        if rows:
            out += struct.pack("<II", btf.find_string(artifact.btf, section), len(rows))
            out += b"".join(rows)
    return struct.pack("<I", 16) + out if out else b""
