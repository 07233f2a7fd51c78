"""Runs the stages in order: text → nodes → types → IR → legal IR → artifact.

The only module that sees them all.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain

from bpfscript.diagnostics import Diagnostic, Source
from bpfscript.frontend.typed import Checked, Options
from bpfscript.ir.core import Module
from bpfscript.manifest import Artifact, Assumption
from bpfscript.plain import dataclass, field, replace
from bpfscript.target import OlderTarget, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from bpfscript.c_library import CLibrary
    from bpfscript.pieces import Plan

STAGES = {
    "nodes": "the syntax tree",
    "types": "the type of every expression",
    "ir": "the script in IR, as lowered",
    "opt": "IR after the optimising passes",
    "legal": "IR after all passes",
    "plan": "what the passes chose, with the reason",
    "llvm": "LLVM IR text",
    "asm": "eBPF instructions",
    "elf": "sections of the object",
}
"""What `-d` prints, in the order in which it is made."""


@dataclass(slots=True)
class Result:
    """A compiled script: what to run, and what there is to say about it."""

    artifact: Artifact
    warnings: list[Diagnostic] = field(default_factory=list)


def compile(
    source: Source,
    target: Target,
    options: Options | None = None,
    *,
    backend: str = "native",
    optimise: bool = True,
    verify: bool = False,
    show: Callable[[str, str], None] | None = None,
    wanted: frozenset[str] = frozenset(),
) -> Result:
    """Compile a script for a target. Pure: the same inputs give the same bytes.

    `show(stage, text)` is called for each stage in `wanted`, keys of STAGES. `verify` checks the IR
    after each pass. Raises ScriptError for faults of the script, MachineError for what the target
    lacks, CompilerBug for ours.
    """
    from bpfscript.backends import backend as backend_named
    from bpfscript.frontend.check import check
    from bpfscript.frontend.lower import lower
    from bpfscript.frontend.parser import parse
    from bpfscript.passes.pipeline import run

    def tell(stage: str, text: Callable[[], str]) -> None:
        if show and stage in wanted:
            show(stage, text())

    def after(name: str, module: Module) -> None:
        if name == "near-keys":  # the last that only optimises
            tell("opt", lambda: _ir(module))

    options = options or Options()
    machine = target
    if options.portable:
        older: Any = OlderTarget(target, oldest=options.oldest)
        target = older
    options = replace(options, read_object=_object)
    program = parse(source)
    tell("nodes", lambda: _nodes(program))
    checked = check(program, target, options)
    tell("types", lambda: _types(checked))
    module = lower(checked, target)
    tell("ir", lambda: _ir(module))
    if verify:
        from bpfscript.ir.verify import verify as verify_ir

        verify_ir(module)
    run(module, target, optimise=optimise, verify=verify, print_after=after)
    tell("legal", lambda: _ir(module))
    tell("plan", lambda: _plan(module))
    tell("llvm", lambda: _llvm(module, source))
    artifact = backend_named(backend).emit(module, target, source)
    assumes = module.assumes if options.portable else _bound_to(checked, target)
    if ("release", "") in assumes:
        assumes["release", ""] = ".".join(map(str, machine.release))
    artifact.assumes = tuple(Assumption(*what, value) for what, value in sorted(assumes.items()))
    artifact.manifest.settings = checked.settings
    shown = {name: fields for name, fields in checked.structs.items() if name in checked.shown}
    artifact.manifest.structs, artifact.manifest.enums = shown, checked.enums
    renewed = (name for name in checked.enums if f"enum {name}" in checked.of_kernel)
    artifact.kernel_enums = tuple(sorted(renewed))
    artifact.manifest.unsafe = options.unsafe
    tell("asm", lambda: _asm(artifact))
    tell("elf", lambda: _elf(artifact))
    return Result(artifact, checked.warnings)


def _bound_to(checked: Checked, target: Target) -> dict[tuple[str, str], str]:
    """The kernel's release, if the script reads structs as that kernel lays them out."""
    tags = [name.partition(" ")[2].partition(" {")[0] for name in checked.structs]
    btfs = chain([target.btf], map(target.module_btf, target.modules)) if tags else ()
    known = any(btf.own(tag, "struct", "union") for btf in btfs if btf for tag in tags if tag)
    return {("release", ""): ".".join(map(str, target.release))} if known else {}


def make_native(plan: Plan) -> bytes:
    """An object of native code that shows events. Slow: LLVM is loaded if it is not there."""
    from bpfscript.backends.host import make_native

    return make_native(plan)


def make_order() -> bytes:
    """The same for a map's entries in order."""
    from bpfscript.backends.host_order import make_order

    return make_order()


def _object(name: str, data: bytes) -> CLibrary:
    """What an object has that a script imports. Raises ObjectError."""
    from bpfscript.backends.foreign_library import read

    return read(name, data)


def _nodes(program: object) -> str:
    from bpfscript.frontend.nodes import Program
    from bpfscript.frontend.printer import dump

    assert isinstance(program, Program)
    return dump(program)


def _types(checked: Checked) -> str:
    """One line an expression: place, type, text."""
    from bpfscript.frontend.nodes import Node

    def order(item: tuple[Node, object]) -> tuple[int, int]:
        return item[0].span.start, -item[0].span.end

    lines = []
    for node, type in sorted(checked.types.items(), key=order):
        text = " ".join(node.span.text.split())
        lines.append(f"{node.span.place:<20} {type!s:<24} {text}")
    maps = [f"{m.name}[{m.key or ''}] = {m.value}" for m in checked.maps.values()]
    return "\n".join(maps + lines)


def _ir(module: Module) -> str:
    from bpfscript.ir.printer import print_module

    return print_module(module)


def _plan(module: Module) -> str:
    return "\n".join(
        f"{what} {where}: {choice.how} ({choice.why})"
        for (what, where), choice in module.plan.items()
    )


def _llvm(module: Module, source: Source) -> str:
    from bpfscript.backends.llvm_text import to_text

    return to_text(module, source)


def _asm(artifact: Artifact) -> str:
    from bpfscript.backends.isa import disassemble

    return "\n\n".join(map(disassemble, artifact.functions.values()))


def _elf(artifact: Artifact) -> str:
    from io import BytesIO

    from elftools.elf.elffile import ELFFile

    from bpfscript.backends.elf import write

    elf = ELFFile(BytesIO(write(artifact)))
    sections = [(s.name, s["sh_type"], s["sh_size"]) for s in elf.iter_sections() if s.name]
    return "\n".join(f"{name:<36} {kind:<14} {size:>7} bytes" for name, kind, size in sections)
