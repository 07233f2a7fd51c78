"""Maps: what keys and values they have over all their uses (LANGUAGE §2.8, §6.1, §6.5)."""

from __future__ import annotations

from bpfscript.diagnostics import Span
from bpfscript.manifest import MapType
from bpfscript.plain import replace
from bpfscript.types import (
    INT8,
    INT64,
    UINT64,
    VOID,
    Aggregate,
    Int,
    Pointer,
    Record,
    Tuple,
    Type,
)

from . import nodes
from .check_base import CheckerBase, MapState
from .functions import AGGREGATES
from .join import holds, promote, promote_integers
from .typed import MapInfo

KINDS = {
    "percpulruhash": MapType.LRU_PERCPU_HASH,
    "percpuhash": MapType.PERCPU_HASH,
    "lruhash": MapType.LRU_HASH,
    "hash": MapType.HASH,
}
PER_CPU = {MapType.LRU_PERCPU_HASH, MapType.PERCPU_HASH}


class Maps(CheckerBase):
    def map_state(self, node: nodes.Map) -> MapState:
        if node.name not in self.maps:
            self.maps[node.name] = MapState(node.name, node.span)
        return self.maps[node.name]

    def access(self, node: nodes.Map, blamed: nodes.Expr | None = None) -> MapState:
        """A map at a key, or the value of a scalar one. blamed: for a wrong key, if not the map."""
        state = self.map_state(node)
        self.require_shape(state, node.key is not None, node.span)
        if node.key is not None:
            key = self.expression(node.key)
            if key is not None:
                self.use_key(state, node.key, key, (blamed or node).span)
        return state

    def require_shape(self, state: MapState, keyed: bool, span: Span) -> None:
        if state.keyed is None:
            state.keyed, self.changed = keyed, True
        elif state.keyed != keyed:
            now, before = ("with an", "without an") if keyed else ("without an", "with an")
            shape, other = ("non-scalar", "scalar") if keyed else ("scalar", "non-scalar")
            self.error(
                span,
                f"{state.name} used as a map {now} explicit key ({shape} map), "
                f"previously used {before} explicit key ({other} map)",
            )

    def use_key(self, state: MapState, node: nodes.Expr, key: Type, span: Span) -> None:
        """Widen the map's key to take another one. A key that nothing fits is reported."""
        if isinstance(key, Aggregate) or key == VOID:
            self.error(span, f"Value '{key}' cannot be used as a map key.")
            return
        if _has_context(key):
            self.error(node.span, "context cannot be part of a map key")
            return
        if state.key is None:
            state.key, state.key_span, self.changed = key, span, True
            return
        joined = promote(state.key, key)
        if joined is None:
            self._key_mismatch(state, key, span)
        elif joined != state.key:
            state.key, self.changed = joined, True
        else:
            self.warn_conversion(node, key, joined)

    def _key_mismatch(self, state: MapState, key: Type, span: Span) -> None:
        wrong, expected, at = key, state.key, span
        if (
            isinstance(state.key, Tuple) and not isinstance(key, Tuple) and state.key_span
        ):  # upstream blames the first
            wrong, expected, at = state.key, key, state.key_span
        self.error(
            at,
            f"Argument mismatch for {state.name}: trying to access with arguments: '{wrong}' "
            f"when map expects arguments: '{expected}'",
        )

    def read_map(self, node: nodes.Map) -> Type | None:
        """Type of a map's value in an expression: readable aggregates are integers there."""
        state = self.access(node)
        if state.value is None:
            state.default = state.default or INT8
            return None
        return read_type(state.value)

    def element_type(self, node: nodes.Map) -> Type | None:
        """What reading an element of a map gives, as far as it is known."""
        value = self.map_state(node).value
        return None if value is None else read_type(value)

    def assign_map(
        self, target: nodes.Map, value: nodes.Expr | None, type: Type | None, span: Span
    ) -> None:
        """Let a map take a value of a type; `value` None: computed from others."""
        aggregates = isinstance(value, nodes.Call) and value.name in AGGREGATES
        state = self.access(target, value if aggregates else None)
        state.written = True
        if type is not None and not self._value_allowed(state, value, type, span):
            return
        if type is not None:
            self._widen(state, value, type, span)
        if state.value is not None:
            self.types[target] = read_type(state.value)

    def _value_allowed(
        self, state: MapState, value: nodes.Expr | None, type: Type, span: Span
    ) -> bool:
        if type == VOID:
            self.error(span, "Value 'void' cannot be assigned to a map.")
            return False
        source = self.aggregate_read(value)
        if source is not None and not (isinstance(state.value, Int) and source.readable):
            self._copied_aggregate(state, value, source, span)
            return False
        return True

    def aggregate_read(self, node: nodes.Expr | None) -> Aggregate | None:
        """The aggregate that an expression reads, if it is a map of them."""
        if not isinstance(node, nodes.Map) or node.name not in self.maps:
            return None
        value = self.maps[node.name].value
        return value if isinstance(value, Aggregate) else None

    def _copied_aggregate(
        self, to: MapState, value: nodes.Expr | None, type: Aggregate, span: Span
    ) -> None:
        call = "hist(retval)" if type.name == "hist" else "lhist(rand %10, 0, 10, 1)"
        if type.name not in ("hist", "lhist"):
            call = "count()" if type.name == "count" else f"{type.name}(retval)"
        hint = None
        if type.readable and isinstance(value, nodes.Map):
            hint = (
                "Add a cast to integer if you want the value of the aggregate, "
                f"e.g. `{to.name} = (int64){value.span.text};`."
            )
        self.error(
            span,
            f"Map value '{type}' cannot be assigned from one map to another. The function that "
            f"returns this type must be called directly e.g. `{to.name} = {call};`.",
            hint,
        )

    def _widen(self, state: MapState, value: nodes.Expr | None, type: Type, span: Span) -> None:
        operand = self.operands.get(value) if value is not None else None
        if operand is not None and isinstance(type, Aggregate):
            state.operand = promote_integers(state.operand or operand, operand)
            type = replace(type, signed=state.operand.signed)
        if state.value is None:
            state.value, self.changed = type, True
            return
        if isinstance(type, Aggregate) and isinstance(state.value, Aggregate):
            same = (type.name, type.params) == (state.value.name, state.value.params)
            joined: Type | None = type if same else None
        else:
            joined = promote(state.value, type)
        if joined is None:
            self._value_mismatch(state, value, type, span)
        elif joined != state.value or _flexible(joined) != _flexible(state.value):
            state.value, self.changed = joined, True
        elif value is not None:
            self.warn_conversion(value, type, joined)

    def _value_mismatch(
        self, state: MapState, value: nodes.Expr | None, type: Type, span: Span
    ) -> None:
        have = state.value
        if isinstance(have, Aggregate) and isinstance(type, Aggregate) and have.name == type.name:
            kind = {"hist": "bits in a single hist", "lhist": "lhist bounds in a single map"}
            what = kind.get(type.name, f"{type.name} bounds in a single map")
            self.error(value.span if value else span, f"Different {what} unsupported")
            return
        called = isinstance(value, nodes.Call) and value.name in AGGREGATES
        self.error(
            value.span if value is not None and called else span,
            f"Type mismatch for {state.name}: trying to assign value of type '{type}' "
            f"when map already has a type '{have}'",
        )

    def warn_conversion(self, node: nodes.Expr, value: Type, target: Type) -> None:
        """Say so where converting to the type of a place may change the value."""
        if isinstance(node, nodes.TupleLiteral) and isinstance(target, Tuple):
            for element, wanted in zip(node.elements, target.of, strict=True):
                self.warn_conversion(element, self.types.get(element, VOID), wanted)
        if isinstance(value, Int) and node not in self.constants and not holds(target, value):
            self.report.warning(
                node.place,
                f"Expression of type: {value} being cast to type: {target}. This may cause "
                "unexpected results. Use an explicit cast to suppress this warning.",
            )

    def settle_unknown(self) -> bool:
        """Maps that nothing gives a type are integers: `@n = @n + 1`. Whether there was one.

        Those that nothing is assigned to come first, since others may take their type from them.
        """
        unknown = [m for m in self.maps.values() if m.value is None and m.default is not None]
        for state in [m for m in unknown if not m.written] or unknown:
            state.value = state.default
        return bool(unknown)

    def map_infos(self, declarations: dict[str, nodes.MapDeclaration]) -> dict[str, MapInfo]:
        infos: dict[str, MapInfo] = {}
        for name, state in self.maps.items():
            info = MapInfo(name, state.key, state.value or VOID, state.span)
            if name in declarations:
                declared = declarations[name]
                info.kind, info.entries = KINDS.get(declared.kind), declared.entries
            infos[name] = info
        return infos

    def check_declarations(self, declarations: dict[str, nodes.MapDeclaration]) -> None:
        for name, node in declarations.items():
            state = self.maps.get(name)
            if node.kind not in KINDS:
                hint = f"Valid map types: {', '.join(KINDS)}"
                self.error(node.span, f"Invalid bpf map type: {node.kind}", hint)
            elif not node.entries:
                self.error(node.span, "A map needs room for one entry at least")
            elif state is None:
                self.report.warning(node.span, f"Unused map: {name}")
            elif isinstance(state.value, Aggregate) != (KINDS[node.kind] in PER_CPU):
                needed = "percpuhash" if isinstance(state.value, Aggregate) else "hash"
                self.error(
                    state.span,
                    f"Incompatible map types. Type from declaration: {node.kind}. "
                    f"Type from value/key type: {needed}",
                )


def read_type(value: Type) -> Type:
    """What reading a map's value gives: an integer, of the aggregates that are one."""
    if isinstance(value, Aggregate) and value.readable:
        return INT64 if value.signed and value.name != "count" else UINT64
    return value


def _flexible(type: Type) -> bool:
    return isinstance(type, Int) and type.flexible


def _has_context(type: Type) -> bool:
    if isinstance(type, Tuple | Record):
        return any(map(_has_context, type.of))
    return isinstance(type, Pointer) and type.space == "ctx"
