"""What compiled C has for a script that imports it: plain data, from the objects' reader to the
checker, which asks for types, and to the backends, which put the code into the artifact.
"""

from __future__ import annotations

from bpfscript.manifest import CodeFunction, Internal, MapDef, Relocation, in_c
from bpfscript.plain import dataclass, field, replace
from bpfscript.types import align_up

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.btf import Btf, BtfType

CONSTANTS_ALIGN = 16  # of each object's constants


@dataclass(eq=False, slots=True)
class CFunction:
    """A function of an object. type: its FUNC_PROTO in the object's BTF, which has the types of
    `code.core`, too. left: why it cannot be called; "": it can.

    Among the relocations of `code`, `extern` is a call of what another object defines.
    """

    code: CodeFunction
    type: BtfType
    left: str = ""

    @property
    def btf(self) -> Btf:
        return self.type.of


@dataclass(eq=False, slots=True)
class CLibrary:
    """All that the objects of a script have, by names that say which object it is from:
    `add.bpf.c:plus1`. named: functions that are not static, by their name in C. maps: those of
    relocations, `.rodata` left out. constants: what relocations against `.rodata` have offsets in.
    """

    functions: dict[str, CFunction] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    maps: dict[str, MapDef] = field(default_factory=dict)
    constants: bytes = b""

    def find(self, name: str) -> CFunction | None:
        """What a script calls by a name in C."""
        return self.functions[self.named[name]] if name in self.named else None

    def add(self, other: CLibrary) -> list[str]:
        """Take what another object has. The names in C that mean what an earlier one has."""
        start = align_up(len(self.constants), CONSTANTS_ALIGN)
        for name, function in other.functions.items():
            self.functions[name] = replace(function, code=moved(function.code, start))
        if other.constants:
            self.constants = self.constants.ljust(start, b"\0") + other.constants
        self.maps |= other.maps
        hidden = [name for name in other.named if name in self.named]
        self.named = other.named | self.named
        return hidden

    def link(self) -> None:
        """Let objects call each other, and note what nobody can call."""
        for function in self.functions.values():
            calls = tuple(map(self._resolved, function.code.relocations))
            function.code = replace(function.code, relocations=calls)
        sound: set[str] = set()
        for name, function in self.functions.items():
            function.left = self._fault(name, (), sound)

    def _resolved(self, relocation: Relocation) -> Relocation:
        if relocation.kind != "extern" or relocation.name not in self.named:
            return relocation
        return replace(relocation, kind="call", name=self.named[relocation.name])

    def _fault(self, name: str, above: tuple[str, ...], sound: set[str]) -> str:
        """What keeps a function, or one that it calls, from being called."""
        if name in sound:
            return ""
        if name not in self.functions:
            return f"it calls {in_c(name)}, which is a program"
        if name in above:
            return f"{in_c(name)} calls itself"
        function = self.functions[name]
        why = function.left
        for relocation in function.code.relocations:
            if relocation.kind == "extern":
                why = why or f"it needs {relocation.name}, which is defined nowhere"
            elif relocation.kind in ("call", "callback"):
                why = why or self._fault(relocation.name, (*above, name), sound)
        if not why:
            sound.add(name)
        return why


def moved(code: CodeFunction, by: int) -> CodeFunction:
    """A function whose constants lie that many bytes later."""
    return replace(
        code,
        relocations=tuple(
            replace(r, addend=r.addend + by) if r.name == Internal.RODATA else r
            for r in code.relocations
        ),
    )
