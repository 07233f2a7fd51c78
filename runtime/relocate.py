"""Answers of this kernel's BTF put into instructions: what libbpf does in bpf_core_patch_insn."""

from __future__ import annotations

import struct
from functools import cached_property

from bpfscript.manifest import Artifact, CodeFunction, CoreRelocation

from .errors import FeatureMissing, MissingType
from .kernel_btf import kernel_btf

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.btf import Btf
    from bpfscript.codec import ObjectError

    from .cache import Cache

_SLOT = 8
_LD_IMM64, _LDX, _ST, _STX, _ALU, _ALU64 = 0x18, 1, 2, 3, 4, 7
_CALL = 0x85
BAD = 195896080
"""0xbad2310: no helper has the number. It stands where the answer is missing, as with libbpf, plus
the index of the question: the verifier refuses it only where it is reached."""


class Relocator:
    """Answers the questions of one artifact from the BTF of this kernel."""

    def __init__(self, artifact: Artifact, cache: Cache) -> None:
        self.artifact, self._cache = artifact, cache
        self._missing: list[tuple[CodeFunction, CoreRelocation]] = []

    def close(self) -> None:
        """Let go of the kernel's BTF."""
        self.__dict__.pop("_kernel", None)

    def relocate(self, code: bytearray, start: int, function: CodeFunction) -> None:
        """Patch the code of a function, which starts at slot `start`. Raises BtfError."""
        from bpfscript.core_relocations import resolve

        for row in function.core:
            value = resolve(self._own, row.type, row.access, row.kind, self._kernel)
            at = _SLOT * (start + row.instruction)
            if value is None:
                bad = struct.pack("<BBhi", _CALL, 0, 0, BAD + len(self._missing))
                slots = 2 if code[at] == _LD_IMM64 else 1
                code[at : at + _SLOT * slots] = bad * slots
                self._missing.append((function, row))
            else:
                patch(code, at, value)

    def explain(self, log: str) -> MissingType | None:
        """The error for a log in which the verifier came to a missing answer."""
        from bpfscript.core_relocations import decode

        for number, (function, row) in enumerate(self._missing):
            if f"#{BAD + number}\n" in log:
                question, _ = decode(self._own, row.type, row.access, row.kind)
                before = [n for n in function.lines if n.instruction <= row.instruction]
                line, column = (before[-1].line, before[-1].column) if before else (0, 0)
                return MissingType(question.what, self.artifact.source_name, line, column)
        return None

    @cached_property
    def _own(self) -> Btf:
        from bpfscript.btf import Btf

        return Btf(self.artifact.btf)

    @cached_property
    def _kernel(self) -> Btf:
        found = kernel_btf(cache=self._cache)
        if found is None:
            raise FeatureMissing("BTF, of which the object wants types", "CONFIG_DEBUG_INFO_BTF")
        return found


def renew_enums(artifact: Artifact, cache: Cache) -> None:
    """Names of values of enums as this kernel has them."""
    btf = kernel_btf(cache=cache) if artifact.kernel_enums else None
    for name in artifact.kernel_enums if btf else ():
        assert btf
        if found := btf.find(name, "enum", "enum64"):
            values = btf.enumerators(found)
            artifact.manifest.enums[name] = {number: text for text, number in values.items()}


def patch(code: bytearray, at: int, value: int) -> None:
    """Put a number into the instruction at a byte: its offset, its immediate, or both halves.

    Raises ObjectError where it does not fit.
    """
    opcode = code[at]
    low = (value & 0xFFFFFFFF).to_bytes(4, "little")
    if opcode == _LD_IMM64 and at + 2 * _SLOT > len(code):
        raise _misfit("damaged object file: half an instruction")
    if opcode & 7 in (_LDX, _ST, _STX):
        if value >= 1 << 15:
            raise _misfit(f"a member lies {value} bytes into its struct, too far for a load")
        struct.pack_into("<h", code, at + 2, value)
    else:
        code[at + 4 : at + 8] = low
        if opcode == _LD_IMM64:
            code[at + 12 : at + 16] = (value >> 32 & 0xFFFFFFFF).to_bytes(4, "little")


def _misfit(text: str) -> ObjectError:
    from bpfscript.codec import ObjectError  # not on the way of a start

    return ObjectError(text)
