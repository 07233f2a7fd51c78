"""What C names mean in probes on a program: the script's own types, then those that the program's
debug information has, then the kernel's.

Within a script every struct and enum has a name of its own. A program's path is put behind the
names that the kernel, the script or another program has, too: `struct file {/bin/x}`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

from bpfscript.plain import replace
from bpfscript.target import DebugInfo, FunctionType
from bpfscript.types import Array, Field, Int, Pointer, Struct, Type

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .ctypes import CTypes


class ProgramTypes:
    """The names of one program. `read` gets its debug information, once, when a name needs it."""

    def __init__(self, path: str, read: Callable[[], DebugInfo | None], others: CTypes) -> None:
        self.path, self._read, self._others = path, read, others
        self._names: dict[str, str] = {}  # in the script, by that in the file
        self._originals: dict[str, str] = {}  # the other way round

    @cached_property
    def info(self) -> DebugInfo | None:
        return self._read()

    def function(self, address: int) -> FunctionType | None:
        """Type of the function at an address of the file, in the script's names, or None."""
        found = self.info.function(address) if self.info else None
        if found is None:
            return None
        parameters = tuple((name, self._ours(type)) for name, type in found.parameters)
        return FunctionType(parameters, self._ours(found.result), found.places)

    def named(self, keyword: str | None, name: str) -> Type | None:
        if known := self._others.general(keyword, name):
            return known
        found = self.info.named(keyword, name) if self.info else None
        return self._others.named(keyword, name) if found is None else self._ours(found)

    def fields(self, struct: Struct) -> tuple[Field, ...]:
        return self._others.fields(struct)

    def enum(self, name: str) -> dict[int, str] | None:
        if self._others.named("enum", name):
            return self._others.enum(name)
        found = self.named("enum", name)
        return self.own_enum(found.enum) if isinstance(found, Int) and found.enum else None

    def enum_constant(self, name: str) -> tuple[int, str] | None:
        return self._others.enum_constant(name)

    def macro(self, name: str) -> str | None:
        return self._others.macro(name)

    def of_kernel(self, keyword: str, name: str) -> bool:
        return self._others.of_kernel(keyword, name)

    def own_fields(self, struct: Struct) -> tuple[Field, ...] | None:
        """Fields of a struct of the program, or None for another."""
        name = self._originals.get(struct.name)
        if name is None or self.info is None:
            return None
        fields = self.info.fields(replace(struct, name=name))
        return tuple(replace(f, type=self._ours(f.type)) for f in fields)

    def own_enum(self, name: str) -> dict[int, str] | None:
        """value → name of an enum of the program, or None for another."""
        original = self._originals.get(f"enum {name}")
        return self.info.enum(original.removeprefix("enum ")) if original and self.info else None

    def _ours(self, type: Type) -> Type:
        """A type of the file under its name in the script."""
        match type:
            case Pointer(to=to):
                return replace(type, to=self._ours(to))
            case Array(of=of):
                return replace(type, of=self._ours(of))
            case Struct(name=name):
                return replace(type, name=self._name(name))
            case Int(enum=str(name)):
                return replace(type, enum=self._name(f"enum {name}").removeprefix("enum "))
        return type

    def _name(self, original: str) -> str:
        if original not in self._names:
            name = original
            if self._others.knows(original):
                name = f"{original} {{{self.path}}}"
            self._names[original], self._originals[name] = name, original
        return self._names[original]

    def has(self, name: str) -> bool:
        """Whether a struct or enum of the program goes by this name."""
        return name in self._originals
