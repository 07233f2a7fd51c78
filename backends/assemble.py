"""Machine code of functions → Artifact: constants, internal maps, types, programs. Shared by the
backends.
"""

from __future__ import annotations

from collections.abc import Iterable

from bpfscript.backends import btf
from bpfscript.backends.linking import closure, described, reached
from bpfscript.c_library import CONSTANTS_ALIGN, moved
from bpfscript.diagnostics import CompilerBug, Source
from bpfscript.ir.core import Function, Module
from bpfscript.ir.types import I
from bpfscript.manifest import (
    Artifact,
    CodeFunction,
    CoreRelocation,
    Internal,
    Manifest,
    MapDef,
    MapType,
    Program,
    in_c,
)
from bpfscript.plain import replace
from bpfscript.target import Target
from bpfscript.types import UINT64, align_up

_ALIGN = 8  # of each constant


def constants(module: Module) -> tuple[bytes, dict[bytes, int]]:
    """What `.rodata` holds, and the offset of each `rodata` instruction's bytes in it."""
    offsets: dict[bytes, int] = {}
    out = bytearray()
    for function in module.functions:
        for instr in function.instructions():
            data = instr.attrs.get("data")
            if instr.op == "rodata" and isinstance(data, bytes) and data not in offsets:
                offsets[data] = len(out)
                out += data.ljust(max(align_up(len(data), _ALIGN), _ALIGN), b"\0")
    return bytes(out), offsets


def assemble(
    module: Module, target: Target, source: Source, code: Iterable[CodeFunction]
) -> Artifact:
    """The artifact of a module whose functions are compiled.

    Strings of the line table and types are filled in here. The manifest gets what the module
    knows: probes, maps, events.
    """
    rodata, _ = constants(module)
    compiled = {c.name: c for c in code}
    linked = reached(module.library, compiled.values())
    maps = list(module.maps.values())
    if any(r.name == Internal.RODATA for f in linked.values() for r in f.relocations):
        start = align_up(len(rodata), CONSTANTS_ALIGN)
        rodata = rodata.ljust(start, b"\0") + module.library.constants
        linked = {name: moved(f, start) for name, f in linked.items()}
    used = {r.name for f in linked.values() for r in f.relocations}
    maps += [m for m in module.library.maps.values() if m.name in used]
    if rodata:
        maps.append(MapDef(Internal.RODATA, MapType.ARRAY, None, None, 4, len(rodata), 1))
    if any(i.op == "opaque" for f in module.functions for i in f.instructions()):
        maps.append(MapDef(Internal.ZERO, MapType.ARRAY, None, UINT64, 4, 8, 1))
    whole = compiled | linked
    programs = [
        Program(f.name, f.entry.type, f.entry.section, tuple(closure([f.name], whole)))
        for f in module.functions
        if f.entry
    ]
    probes = [f.entry.probe for f in module.functions if f.entry]
    artifact = Artifact(
        programs, {}, Manifest(probes, maps, list(module.events)), rodata,
        source_name=source.name, source_text=source.text,
    )  # fmt: skip
    types = btf.Writer()
    names = symbols(artifact, [*compiled, *linked])
    for function in module.functions:
        artifact.functions[function.name] = _described(
            function, compiled[function.name], names[function.name], types, source
        )
    for name, imported in linked.items():
        known = module.library.functions[name]
        artifact.functions[name] = described(imported, known, names[name], types)
    _ask_kernel(artifact, types, target)
    _describe_data(artifact, types)
    for section in sorted({p.section for p in programs}):
        types.string(section)
    artifact.btf = types.data() if programs else b""  # the kernel takes none without a type
    return artifact


def _ask_kernel(artifact: Artifact, types: btf.Writer, target: Target) -> None:
    """Questions about the kernel's types become records. The record of a local type is its own."""
    asked = {r.name for f in artifact.functions.values() for r in f.relocations if r.kind == "core"}
    if not asked:
        return
    from bpfscript.backends.core_types import CoreTypes
    from bpfscript.core_relocations import parse

    if target.btf is None:
        raise CompilerBug("a target without BTF is asked for types")
    questions = {text: parse(text) for text in sorted(asked)}
    local = CoreTypes(target.btf, types, questions.values())
    for name, function in artifact.functions.items():
        rows = tuple(
            CoreRelocation(r.instruction, questions[r.name].kind, *local.record(questions[r.name]))
            for r in function.relocations
            if r.kind == "core"
        )
        rest = tuple(r for r in function.relocations if r.kind != "core")
        artifact.functions[name] = replace(function, relocations=rest, core=(*function.core, *rows))
        for row in rows:
            types.string(row.access)


def _described(
    function: Function, code: CodeFunction, symbol: str, types: btf.Writer, source: Source
) -> CodeFunction:
    linkage = btf.GLOBAL if function.entry else btf.STATIC
    params = [
        (f"a{n}", types.u64() if isinstance(p.type, I) else types.pointer())
        for n, p in enumerate(function.params)
    ]
    file = types.string(source.name)
    lines = tuple(
        replace(line, file=file, text=types.string(source.line(line.line))) for line in code.lines
    )
    return replace(code, lines=lines, type_id=types.function(symbol, params, linkage))


# Names in objects


def symbols(artifact: Artifact, functions: Iterable[str] | None = None) -> dict[str, str]:
    """C identifiers for the names of maps and functions: `@x` is `AT_x`, `.events` is `events`."""
    out: dict[str, str] = {}
    taken: set[str] = set()
    maps = (m.name for m in artifact.manifest.maps)
    for name in [*maps, *(artifact.functions if functions is None else functions)]:
        plain = "".join(c if c.isascii() and c.isalnum() else "_" for c in in_c(name).lstrip(".@"))
        plain = f"AT_{plain}" if name.startswith("@") else plain
        plain = f"_{plain}" if not plain or plain[0].isdigit() else plain
        symbol, number = plain, 1
        while symbol in taken:
            number += 1
            symbol = f"{plain}_{number}"
        taken.add(symbol)
        if name in out:
            raise CompilerBug(f"two things are called {name}")
        out[name] = symbol
    return out


def data_sections(artifact: Artifact) -> dict[str, str]:
    """Maps whose value is addressed directly, with the section that is libbpf's way to do that."""
    relocations = [r for f in artifact.functions.values() for r in f.relocations]
    direct = {r.name for r in relocations if r.kind == "map_value"} | {Internal.RODATA}
    names = symbols(artifact)
    return {
        m.name: ".rodata" if m.name == Internal.RODATA else f".data.{names[m.name]}"
        for m in artifact.manifest.maps
        if m.name in direct
    }


def map_sizes(artifact: Artifact, types: btf.Writer) -> dict[str, tuple[int, int]]:
    """BTF variable and size in `.maps` of each map that lies there, in order."""
    names, data = symbols(artifact), data_sections(artifact)
    return {
        m.name: types.map(names[m.name], m) for m in artifact.manifest.maps if m.name not in data
    }


def _describe_data(artifact: Artifact, types: btf.Writer) -> None:
    names, offset, placed = symbols(artifact), 0, []
    for variable, size in map_sizes(artifact, types).values():
        placed.append((variable, offset, size))
        offset += size
    if placed:
        types.section(".maps", placed)
    sections = data_sections(artifact)
    for definition in artifact.manifest.maps:
        if section := sections.get(definition.name):
            type = types.sized(definition.value, definition.value_size)
            variable = types.variable(names[definition.name], type)
            types.section(section, [(variable, 0, definition.value_size)])
    for section in (".text", "license"):
        types.string(section)
