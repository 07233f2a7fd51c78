"""The native backend: legal IR → eBPF, by registers (`regalloc`) and instructions (`select`)."""

from __future__ import annotations

from bpfscript.backends import isa
from bpfscript.backends.assemble import assemble, constants
from bpfscript.backends.frame import stack_of_chains
from bpfscript.backends.select import FunctionCode
from bpfscript.diagnostics import CompilerBug, Source
from bpfscript.ir.core import Module
from bpfscript.manifest import Artifact
from bpfscript.passes.pipeline import SAFE
from bpfscript.passes.stack_slots import stack_slots
from bpfscript.target import Target

_ARGUMENTS = 5  # r1–r5
_LESS_FOR_SLOTS = (160, 0)  # bytes of stack for slots, where spilled registers take much


class NativeBackend:
    """IR → Artifact, without LLVM."""

    name = "native"
    needs = SAFE

    def emit(self, module: Module, target: Target, source: Source) -> Artifact:
        """Compile a legal module. Raises CompilerBug for one that no BPF program can hold."""
        for function in module.functions:
            if len(function.params) > _ARGUMENTS:
                raise CompilerBug(f"{function.name} takes {len(function.params)} arguments")
        for less in (*_LESS_FOR_SLOTS, None):
            offsets = constants(module)[1]
            compiled = [FunctionCode(f, offsets, source).compile() for f in module.functions]
            used = stack_of_chains(compiled)
            if used <= isa.STACK_LIMIT:
                return assemble(module, source, compiled)
            if less is not None:
                stack_slots(module, target, less)
        raise CompilerBug(f"{used} bytes of stack are used, of which there are {isa.STACK_LIMIT}")
