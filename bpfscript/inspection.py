"""What is in an object: for those of ours all that the manifest says, for others what ELF tells."""

from __future__ import annotations

from collections.abc import Iterator

from bpfscript.backends import elf, isa, object_file
from bpfscript.backends.foreign import Foreign
from bpfscript.backends.object_file import EXECUTABLE, FUNC, ObjectFile, Symbol
from bpfscript.btf import Btf
from bpfscript.btf_index import BtfError
from bpfscript.codec import ObjectError
from bpfscript.core_relocations import Question, decode
from bpfscript.diagnostics import CompilerBug, MachineError, Source, shown
from bpfscript.manifest import Artifact, CodeFunction, MapDef
from bpfscript.target import Target


def report(data: bytes, target: Target) -> list[str]:
    """Lines of text. target: asked for the places that objects of others name.

    Raises ObjectError for what is no BPF object, or damaged.
    """
    file = object_file.read(data)
    ours = elf.OWN in file.sections
    try:
        artifact = elf.read(data) if ours else None
        lines = list(_artifact(artifact, elf.writer(data)) if artifact else _foreign(file, target))
    except BtfError as error:
        raise ObjectError(f"damaged object file: {error}") from None
    return [*lines, "", "sections", *_sections(file)]


def _artifact(artifact: Artifact, writer: str) -> Iterator[str]:
    manifest = artifact.manifest
    yield f"script {shown(artifact.source_name)}, compiled by {writer}"
    yield f"license {shown(manifest.settings.license)}{', unsafe' if manifest.unsafe else ''}"
    yield from ("", "probes")
    for info in manifest.probes:
        names = ", ".join(info.names[:3]) + (f", … {len(info.names)}" if info.names[3:] else "")
        yield f"    {info.program:<20} {shown(names)}"
    yield from ("", "maps")
    yield from map(_map, manifest.maps)
    if manifest.events:
        yield from ("", "events")
    for number, event in enumerate(manifest.events):
        fields = ", ".join(f"{t} at {o}" for t, o in zip(event.fields, event.offsets, strict=True))
        what = event.text or event.map
        yield f"    {number:<3} {event.kind:<14} {event.size:>5} bytes  {what!r} {fields}".rstrip()
    asked = _questions(artifact)
    yield from _types(artifact, asked)
    for program in artifact.programs:
        for name in program.functions:
            yield from ("", f"{program.section}: {name}")
            yield from _listing(artifact, artifact.functions[name], asked[name])


def _questions(artifact: Artifact) -> dict[str, dict[int, Question]]:
    """By function and instruction what the loader asks of the kernel's types."""
    if not any(function.core for function in artifact.functions.values()):
        return {name: {} for name in artifact.functions}
    own = Btf(artifact.btf)
    return {
        name: {c.instruction: decode(own, c.type, c.access, c.kind)[0] for c in function.core}
        for name, function in artifact.functions.items()
    }


def _types(artifact: Artifact, asked: dict[str, dict[int, Question]]) -> Iterator[str]:
    kinds: dict[str, set[str]] = {}
    for question in (q for questions in asked.values() for q in questions.values()):
        kinds.setdefault(question.what, set()).add(question.kind.name.lower())
    if kinds:
        yield from ("", "relocations: what the loader asks of the kernel's types")
    for what, names in sorted(kinds.items()):
        yield f"    {shown(what):<36} {', '.join(sorted(names))}"
    if artifact.assumes:
        yield from ("", "assumptions: what must be as on the kernel compiled for")
    for assumed in artifact.assumes:
        yield f"    {assumed.kind:<12} {shown(assumed.name):<36} {shown(assumed.value)}"


def _listing(
    artifact: Artifact, function: CodeFunction, asked: dict[int, Question]
) -> Iterator[str]:
    """Instructions under the lines of the script that they come from."""
    source = Source(artifact.source_name, artifact.source_text)
    places = {line.instruction: line.line for line in function.lines}
    relocations = {r.instruction: r for r in function.relocations}
    slot, last = 0, 0
    for insn in _decoded(function.code):
        line = places.get(slot, last)
        if line != last and 0 < line <= source.text.count("\n") + 1:
            yield f"  {line:>4}: {shown(source.line(line)).strip()}"
        last = line
        note = f"  ; {question}" if (question := asked.get(slot)) else ""
        yield f"    {slot:>5}  {shown(isa.text(insn, relocations.get(slot)) + note)}"
        slot += insn.slots


def _map(m: MapDef) -> str:
    key = f"[{m.key}]" if m.key else ""
    value = f" = {m.value}" if m.value else ""
    sizes = f"{m.key_size}+{m.value_size} bytes, {m.max_entries} entries"
    return f"    {shown(m.name + key + value):<36} {m.kind.name.lower()}, {sizes}"


def _foreign(file: ObjectFile, target: Target) -> Iterator[str]:
    """All there is; what `run` would do with it where the object can be understood."""
    yield "not made by bpfscript"
    try:
        foreign = Foreign(file, target)
    except MachineError as error:
        yield f"cannot be run: {shown(str(error))}"
    else:
        yield f"license {shown(foreign.license)}"
        yield from ("", "probes")
        for info in foreign.probes:
            yield f"    {shown(info.program):<20} {shown(info.names[0])}"
        for program, where, why in foreign.left:
            yield f"    {shown(program):<20} {shown(where)}: left out, {shown(why)}"
        yield from ("", "maps")
        yield from map(_map, [*foreign.maps.defined.values(), *foreign.maps.data.values()])
        yield from (f"    {shown(why)}" for why in foreign.maps.left.values())
    for symbol in file.symbols:
        section = file.sections.get(symbol.section)
        if section and symbol.type == FUNC and section.flags & EXECUTABLE:
            yield from ("", f"{shown(symbol.section)}: {shown(symbol.name)}")
            yield from _code(file, symbol)


def _code(file: ObjectFile, symbol: Symbol) -> Iterator[str]:
    section = file.sections[symbol.section]
    relocations = {offset: found for offset, _, found in section.relocations}
    slot = 0
    for insn in _decoded(section.data[symbol.value : symbol.value + symbol.size]):
        found = relocations.get(symbol.value + isa.SLOT * slot)
        yield f"    {slot:>5}  {isa.text(insn)}" + (f"  ; {shown(found.name)}" if found else "")
        slot += insn.slots


def _decoded(code: bytes) -> list[isa.Insn]:
    try:
        return isa.decode(code)
    except CompilerBug as error:  # here it is not ours
        raise ObjectError(f"damaged object file, or newer than we know: {error}") from None


def _sections(file: ObjectFile) -> Iterator[str]:
    for section in file.sections.values():
        relocated = f", {len(section.relocations)} relocations" if section.relocations else ""
        size = section.size if section.type == object_file.NOBITS else len(section.data)
        yield f"    {shown(section.name):<36} {size:>7} bytes{relocated}"
