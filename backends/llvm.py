"""The LLVM backend: LLVM IR text → object → functions of an Artifact. The only file with llvmlite.

The passes have optimised the module, so LLVM only generates code. Its own passes on IR move code
over the checks that the kernel's verifier wants to see, and so do three of its code generator's:
loop strength reduction, hoisting out of loops, merging of tails. An error in LLVM's code generator
ends the process: nothing it refuses may reach it (signed division, inline assembly, six arguments).
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import llvmlite.binding as llvm

from bpfscript.backends import isa, object_file
from bpfscript.backends.assemble import assemble
from bpfscript.backends.frames import fitting
from bpfscript.backends.llvm_instructions import MAY_CONTINUE, number
from bpfscript.backends.llvm_text import SECTION, to_text
from bpfscript.codec import ObjectError
from bpfscript.diagnostics import CompilerBug, Source
from bpfscript.ir.core import Function, Module
from bpfscript.manifest import Artifact, CodeFunction, Internal, Line, Relocation
from bpfscript.passes.pipeline import SAFE
from bpfscript.target import Target

_OPTIONS = (
    "-disable-block-placement",  # loops entered in the middle: 6.1 wants a jump back to a head
    "-disable-lsr",
    "-disable-machine-licm",
    "-disable-postra-machine-licm",
    "-enable-tail-merge=false",
    "-bpf-stack-size=65536",  # beyond it LLVM ends the process; `fitting` checks the limit
)
_ARGUMENTS = 5  # r1–r5


class LlvmBackend:
    """IR → Artifact by way of LLVM."""

    name = "llvm"
    needs = SAFE

    def emit(self, module: Module, target: Target, source: Source) -> Artifact:
        """Compile a legal module. Raises CompilerBug for one that no BPF program can hold."""
        for function in module.functions:
            if len(function.params) > _ARGUMENTS:
                raise CompilerBug(f"{function.name} takes {len(function.params)} arguments")
        cpu = "v3" if target.release >= (5, 1, 0) else "v2"

        def compiled() -> list[CodeFunction]:
            return _functions(_compile(to_text(module, source), cpu), module)

        return assemble(module, target, source, fitting(module, target, compiled))


@cache
def _machine(cpu: str) -> Any:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    for option in _OPTIONS:
        llvm.set_option("bpfscript", option)
    return llvm.Target.from_triple("bpfel").create_target_machine(cpu=cpu, opt=2)


def _compile(text: str, cpu: str) -> bytes:
    machine = _machine(cpu)
    context = llvm.create_context()
    try:
        parsed = llvm.parse_assembly(text, context)
    except RuntimeError as error:
        raise CompilerBug(f"LLVM refuses our text: {error}\n{text}") from None
    with parsed:
        compiled: bytes = machine.emit_object(parsed)
    return compiled


def _functions(data: bytes, module: Module) -> list[CodeFunction]:
    try:
        file = object_file.read(data)
    except ObjectError as error:
        raise CompilerBug(f"LLVM wrote an object that we cannot read: {error}") from None
    lines = _lines(file)
    out = []
    for function in module.functions:
        section = file.sections[SECTION + function.name]
        out.append(_function(function, section, lines.get(section.name, [])))
    return out


def _function(function: Function, section: object_file.Section, lines: list[Line]) -> CodeFunction:
    answers = {
        str(i.attrs["of"]): number(i.attrs["value"])
        for i in function.instructions()
        if i.op == "core"
    }
    instructions = isa.decode(section.data)
    relocations = {r.instruction: r for r in map(_relocation, section.relocations)}
    filled = []
    slot = 0
    for insn in instructions:
        found = relocations.get(slot)
        if found and found.kind == "map_value":
            insn = isa.Insn(insn.code, insn.dst, imm=found.addend)
        elif found and found.kind == "core":
            insn = isa.Insn(insn.code, insn.dst, imm=answers[found.name])
        filled.append(insn)
        slot += insn.slots
    code, moved = isa.expand(filled, _may_goto)
    moved_relocations = (
        Relocation(moved[r.instruction], r.kind, r.name, r.addend) for r in relocations.values()
    )
    moved_lines = tuple(Line(moved[n.instruction], n.line, n.column) for n in lines)
    return CodeFunction(function.name, isa.encode(code), tuple(moved_relocations), moved_lines)


def _may_goto(insn: isa.Insn) -> list[isa.Insn] | None:
    """r0 = whether to go on: may_goto jumps once the kernel has had enough of the loop."""
    if (insn.code, insn.src, insn.imm) != (isa.CALL, 0, MAY_CONTINUE):
        return None
    return [
        isa.Insn(isa.MOV64_IMM, isa.R0, imm=0),
        isa.Insn(isa.MAY_GOTO, off=1),
        isa.Insn(isa.MOV64_IMM, isa.R0, imm=1),
    ]


def _relocation(found: tuple[int, int, object_file.Symbol]) -> Relocation:
    """From a symbol's name, as `llvm_text` made it."""
    offset, type, symbol = found
    slot = offset // isa.SLOT
    kind, _, name = symbol.name.partition(":")
    match kind:
        case "map":
            return Relocation(slot, "map", name)
        case "value":
            return Relocation(slot, "map_value", name)
        case "rodata":
            return Relocation(slot, "map_value", Internal.RODATA, int(name))
        case "core":
            return Relocation(slot, "core", name)
        case "fn":
            direct = type == object_file.R_BPF_64_32
            return Relocation(slot, "call" if direct else "callback", name)
        case "kfunc":
            return Relocation(slot, "kfunc", name)
    raise CompilerBug(f"LLVM wants {symbol.name!r}")


def _lines(file: object_file.ObjectFile) -> dict[str, list[Line]]:
    """Line table of each section, from `.BTF.ext` (Documentation/bpf/btf.rst)."""
    if ".BTF.ext" not in file.sections:
        return {}
    types, data = file.sections[".BTF"].data, file.sections[".BTF.ext"].data
    header, strings = struct.unpack_from("<I", types, 4)[0], struct.unpack_from("<I", types, 16)[0]
    strings += header
    start, size = struct.unpack_from("<II", data, 16)
    at = struct.unpack_from("<I", data, 4)[0] + start
    end, at = at + size, at + 4
    out: dict[str, list[Line]] = {}
    while at < end:
        name, count = struct.unpack_from("<II", data, at)
        at += 8
        section = types[strings + name : types.index(0, strings + name)].decode()
        rows = (struct.unpack_from("<IIII", data, at + 16 * n) for n in range(count))
        found: dict[int, Line] = {}
        for offset, _, _, place in rows:
            slot = offset // isa.SLOT
            found.setdefault(slot, Line(slot, place >> 10, place & 1023))
        out[section] = list(found.values())
        at += 16 * count
    return out
