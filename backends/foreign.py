"""Objects that others made, by libbpf's conventions: what can be run of them, as an artifact.

Their maps go by `@name`, so that a session shows them in the end like those of a script; variables
of `.data` and `.bss` are fields of one map each, constants of all sections lie in `.rodata`.
The kernel gets no BTF of theirs where it does not take clang's as it is.
"""

from __future__ import annotations

from bpfscript.backends.foreign_code import TEXT, Code
from bpfscript.backends.foreign_maps import Maps
from bpfscript.backends.object_file import ObjectFile, Symbol
from bpfscript.backends.section_names import Left, place
from bpfscript.codec import ObjectError
from bpfscript.manifest import Artifact, CodeFunction, Manifest, ProbeInfo, Program, Settings
from bpfscript.target import Target


class Foreign:
    """What an object has. left: (program, its section, why it cannot be run here)."""

    def __init__(self, file: ObjectFile, target: Target) -> None:
        """Raises ObjectError for what is damaged, or no object that can be understood."""
        self._file, self._code = file, Code(file)
        self.left: list[tuple[str, str, str]] = []
        self.probes: list[ProbeInfo] = []
        self._programs: list[Program] = []
        self._functions: dict[str, CodeFunction] = {}
        for symbol in self._code.symbols():
            if symbol.section != TEXT:
                self._add(symbol, target)

    @property
    def maps(self) -> Maps:
        return self._code.maps

    @property
    def license(self) -> str:
        section = self._file.sections.get("license")
        text = section.data.split(b"\0")[0] if section else b""
        return text.decode("ascii", "replace")

    def artifact(self, name: str) -> Artifact:
        """What can be run. Raises ObjectError if nothing can."""
        if not self._programs:
            reasons = "; ".join(f"{program}: {why}" for program, _, why in self.left)
            raise ObjectError(f"nothing of {name} can be run: {reasons or 'it has no programs'}")
        maps = self.maps
        manifest = Manifest(
            probes=self.probes, maps=[*maps.defined.values(), *maps.data.values()],
            structs=maps.types.structs, enums=maps.types.enums,
            settings=Settings(license=self.license),
        )  # fmt: skip
        return Artifact(
            self._programs, self._functions, manifest, rodata=maps.constants,
            btf=bytes(self._code.btf), source_name=name,
        )  # fmt: skip

    def _add(self, symbol: Symbol, target: Target) -> None:
        """A program with the functions that it calls, or why it is left out."""
        name = self._code.name(symbol)
        try:
            kind, attach = place(symbol.section, target)
            functions = self._code.reached(symbol)
        except Left as why:
            self.left.append((name, symbol.section, str(why)))
            return
        self._functions |= functions
        self._programs.append(Program(name, kind, symbol.section, tuple(functions)))
        self.probes.append(ProbeInfo(name, (attach,), (attach.name,)))
