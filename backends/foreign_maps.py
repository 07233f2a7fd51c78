"""Maps of an object that was not made here: `.maps` by its BTF, data sections as maps of one value.

A map is a variable whose type is a struct: `type`, `max_entries`, … are pointers to arrays whose
length is the number, `key` and `value` point to types (libbpf's `__uint` and `__type`).
"""

from __future__ import annotations

from bpfscript.backends.foreign_types import Types
from bpfscript.backends.object_file import NOBITS, OBJECT, WRITE, ObjectFile, Symbol
from bpfscript.btf import Btf, BtfMember, BtfType
from bpfscript.codec import ObjectError
from bpfscript.manifest import Internal, MapDef, MapType, Relocation
from bpfscript.plain import replace
from bpfscript.types import Aggregate, Int, Type

_MAPS, _CONSTANTS = ".maps", ".rodata"
_DATA = (".data", ".bss")
_ALIGN = 16
_LARGEST = 1 << 26  # bytes of a data section


class Maps:
    """defined: those of `.maps`; data: those of data sections; by the name of what they are in the
    object. constants: of all read-only sections. prefix: of their names, if they are not shown."""

    def __init__(self, file: ObjectFile, btf: Btf, prefix: str = "") -> None:
        self.types, self._prefix = Types(btf), prefix
        self.defined: dict[str, MapDef] = {}
        self.data: dict[str, MapDef] = {}
        self.constants = b""
        self.left: dict[str, str] = {}  # maps that cannot be made → why
        self._starts: dict[str, int] = {}  # of read-only sections, in the constants
        self._at: dict[int, str] = {}  # where in `.maps` each one is
        for symbol in file.symbols:
            if symbol.section == _MAPS and symbol.type == OBJECT:
                self._define(symbol, btf)
        for name, section in file.sections.items():
            if name.startswith(_CONSTANTS):
                start = -(-len(self.constants) // _ALIGN) * _ALIGN
                self._starts[name] = start
                self.constants = self.constants.ljust(start, b"\0") + section.data
            elif name.startswith(_DATA) and section.flags & WRITE:
                size = section.size if section.type == NOBITS else len(section.data)
                if size:
                    self._data(name, size, section.data, file)
        if self.constants:
            size = len(self.constants)
            name = Internal.RODATA
            self.data[name] = MapDef(name, MapType.ARRAY, None, None, 4, size, 1)

    def relocation(self, slot: int, section: str, offset: int) -> Relocation | None:
        """What stands for an address in a data section or a map; None if there is no such map."""
        if section == _MAPS:
            name = self._at.get(offset, "")
            found = self.defined.get(name)
            return Relocation(slot, "map", found.name) if found else None
        if section in self._starts:
            return Relocation(slot, "map_value", Internal.RODATA, self._starts[section] + offset)
        found = self.data.get(section)
        return Relocation(slot, "map_value", found.name, offset) if found else None

    def reason(self, symbol: Symbol) -> str:
        """Why there is no relocation for a symbol."""
        name = self._at.get(symbol.value, symbol.name) if symbol.section == _MAPS else symbol.name
        return self.left.get(name) or f"it uses {name or symbol.section}, which is no map"

    def _data(self, name: str, size: int, data: bytes, file: ObjectFile) -> None:
        if size > _LARGEST:
            raise ObjectError(f"damaged object file: {name} has {size} bytes")
        places = {s.name: s.value for s in file.symbols if s.section == name and s.type == OBJECT}
        value = self.types.variables(name, size, places)
        self.data[name] = MapDef(
            f"{self._prefix or '@'}{name}", MapType.ARRAY, None, value, 4, size, 1,
            initial=data.ljust(size, b"\0"),
        )  # fmt: skip

    def _define(self, symbol: Symbol, btf: Btf) -> None:
        self._at[symbol.value] = symbol.name
        variable = btf.find(symbol.name, "var")
        if variable is None:
            raise ObjectError(f"damaged object file: BTF does not describe {symbol.name}")
        told = {m.name: m for m in btf.members(self.types.plain(variable.to))}
        try:
            self.defined[symbol.name] = self._definition(symbol.name, told)
        except _Unknown as why:
            self.left[symbol.name] = str(why)

    def _definition(self, name: str, told: dict[str, BtfMember]) -> MapDef:
        number = self._number(told, "type")
        if number not in MapType.__members__.values():
            raise _Unknown(f"the map {name} has type {number}, which is not known here")
        kind = MapType(number)
        if other := told.keys() - _KNOWN:
            raise _Unknown(f"the map {name} says {min(other)}, which is not known here")
        entries, flags = self._number(told, "max_entries"), self._number(told, "map_flags")
        if kind is MapType.RINGBUF:  # nobody here knows what its records mean
            return MapDef(f"{self._prefix}{name}", kind, None, None, 0, 0, entries, flags=flags)
        key, value = self._type(told, "key"), self._type(told, "value")
        made = MapDef(
            f"{self._prefix or '@'}{name}", kind, key, value,
            key.size if key else self._number(told, "key_size"),
            value.size if value else self._number(told, "value_size"), entries, flags=flags,
        )  # fmt: skip
        if self._prefix:
            return made
        if not (key and value):
            return replace(made, name=name)  # it cannot be shown
        if made.per_cpu:  # numbers add up; of other things there is no one value
            counts = isinstance(value, Int) and value.size == 8
            shown = Aggregate("sum", isinstance(value, Int) and value.signed)
            return replace(made, value=shown) if counts else replace(made, name=name)
        return made

    def _number(self, told: dict[str, BtfMember], name: str) -> int:
        """The length of the array that a member points to; 0 if there is no such member."""
        if name not in told:
            return 0
        array = self._pointed(told[name])
        return self.types.btf.array(array)[1] if array.kind == "array" else 0

    def _type(self, told: dict[str, BtfMember], name: str) -> Type | None:
        if name not in told:
            return None
        return self.types.of(self.types.plain(told[name].type).to)

    def _pointed(self, member: BtfMember) -> BtfType:
        return self.types.plain(self.types.plain(member.type).to)


class _Unknown(Exception):
    """A map that cannot be made."""


_KNOWN = {"type", "max_entries", "map_flags", "key", "value", "key_size", "value_size"}
