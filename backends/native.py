"""The backend of our own: legal IR → eBPF instructions, in milliseconds and without LLVM.

    prepare (addressing) → Places → Allocation (regalloc) → Selector (select) → Emitter
    → shorten (peephole) → bytes

Source of the ISA: Documentation/bpf/standardization/instruction-set.rst.
"""

from __future__ import annotations

from bpfscript.backends.addressing import Places, prepare
from bpfscript.backends.assemble import assemble, constants
from bpfscript.backends.emitter import Emitter
from bpfscript.backends.frames import fitting
from bpfscript.backends.memory import alignments
from bpfscript.backends.peephole import shorten
from bpfscript.backends.regalloc import Allocation
from bpfscript.backends.select import Selector
from bpfscript.backends.select_memory import is_call
from bpfscript.diagnostics import CompilerBug, Source, Span
from bpfscript.ir.core import Function, Module
from bpfscript.manifest import Artifact, CodeFunction
from bpfscript.passes.pipeline import SAFE
from bpfscript.target import Target

_ARGUMENTS = 5  # r1–r5
_SIGNED_DIVISION = (6, 6, 0)  # ISA v4


class NativeBackend:
    """IR → Artifact."""

    name = "native"
    needs = SAFE

    def emit(self, module: Module, target: Target, source: Source) -> Artifact:
        """Compile a legal module, which is rewritten on the way and means the same afterwards.

        Raises CompilerBug for one that no BPF program can hold.
        """

        def compiled() -> list[CodeFunction]:
            offsets = constants(module)[1]
            return [_compile(f, target, source, offsets) for f in module.functions]

        return assemble(module, target, source, fitting(module, target, compiled))


def _compile(
    function: Function, target: Target, source: Source, offsets: dict[bytes, int]
) -> CodeFunction:
    if len(function.params) > _ARGUMENTS:
        raise CompilerBug(f"{function.name} takes {len(function.params)} arguments")

    def place(span: Span | None) -> tuple[int, int] | None:
        if span is None or span.source.text != source.text:
            return None  # of an imported file
        return span.source.position(span.start)

    prepare(function, signed_division=target.release >= _SIGNED_DIVISION)
    alignment = alignments(function)
    places = Places(function)
    emitter = Emitter(places, Allocation(function, places, is_call(alignment)), offsets, place)
    Selector(function, emitter, alignment).run()
    shorten(emitter.out, emitter.targets, emitter.relocated)
    first = next((p[0] for i in function.instructions() if (p := place(i.span))), 1)
    return emitter.function(function.name, (first, 1))
