"""Functions that print (LANGUAGE §5.1)."""

from __future__ import annotations

from bpfscript.types import (
    VOID,
    Aggregate,
    Array,
    Record,
    Struct,
    TimestampMode,
    Tuple,
    Type,
)  # fmt: skip

from . import nodes
from .check_aggregates import Aggregates
from .check_formats import DEBUG, conversions, format_fault, formatted

LOOPED = (
    "Due to it's asynchronous nature using 'print()' in a loop can lead to unexpected behavior. "
    "The map will likely be updated before the runtime can 'print' it."
)


class Output(Aggregates):
    def printf(self, node: nodes.Call) -> Type:
        format = self.text_at(node, 0)
        arguments = [a for i in range(1, len(node.args)) if (a := self.argument(node, i))]
        types = [self.types.get(a) for a in arguments]
        fault = format_fault(format or "", types, [self.aggregate_read(a) for a in arguments])
        if not fault and node.name == "printf" and self.instance.pinned:
            from .kernel_formats import fault as kernel_fault

            if fault := kernel_fault(format or "", types):
                fault = f"{fault}, and it does in an iterator that is pinned"
        if fault:
            self.error(node.span, fault)
        for type in types:
            self.show(type)
        return VOID

    def debugf(self, node: nodes.Call) -> Type:
        format = self.text_at(node, 0) or ""
        self.report.warning(
            node.span,
            "The debugf() builtin is not recommended for production use. For more information see "
            "bpf_trace_printk in bpf-helpers(7).",
        )
        wanted = conversions(format)
        if len(wanted) > 3:
            self.error(node.span, "cannot use more than 3 conversion specifiers")
        elif wrong := next((c for c in wanted if c not in DEBUG), None):
            self.error(node.span, f"Invalid format specifier for `debugf`: {wrong}")
        else:
            self.printf(node)
        return VOID

    def fail(self, node: nodes.Call) -> Type | None:
        values: list[object] = []
        for argument in node.args[1:]:
            if argument not in self.constants:
                self.error(node.span, "fail() arguments need to be literals")
                return None
            values.append(self.constants[argument])
        self.error(node.span, formatted(self.text_at(node, 0) or "", values))
        return VOID

    def static_assert(self, node: nodes.Call) -> Type | None:
        condition = self.constants.get(node.args[0])
        if condition is None:
            self.error(node.span, "Unable to resolve comptime expression")
        elif not condition:
            self.error(node.span, self.text_at(node, 1) or "")
        return VOID

    def print(self, node: nodes.Call) -> Type | None:
        what = self.argument(node, 0)
        if what is None:
            return None
        if len(node.args) > 1 and not isinstance(what, nodes.Map):
            count = len(node.args)
            self.error(node.span, f"Non-map print() only takes 1 argument, {count} found")
            return None
        if isinstance(what, nodes.Map) and what.key is None:
            return self._print_map(node, what)
        if len(node.args) > 1:
            count = len(node.args)
            self.error(node.span, f"Non-map print() only takes 1 argument, {count} found")
            return None
        return self._print_value(node, what)

    def _print_map(self, node: nodes.Call, what: nodes.Map) -> Type:
        for index in range(1, len(node.args)):
            type = self.typed_at(node, index)
            if type is not None and self.number_at(node, index) is None:
                shown = "int" if str(type).lstrip("u").startswith("int") else type
                self.error(node.span, f"print() expects a int literal ({shown} provided)")
        if self.map_by_name(what):
            self.show(self.maps[what.name].value)
            value = self.maps[what.name].value
            if len(node.args) > 1 and isinstance(value, Aggregate) and value.name == "stats":
                self.report.warning(
                    node.span,
                    "print()'s top and div arguments are ignored when used on stats() maps.",
                )
        self._warn_looped(node)
        return VOID

    def _warn_looped(self, node: nodes.Call) -> None:
        """User space prints the map some time after the loop went on."""
        if any(not isinstance(loop, nodes.Unroll) for loop in self.loops):
            self.report.warning(node.span, LOOPED)

    def _print_value(self, node: nodes.Call, what: nodes.Expr) -> Type:
        type = self.expression(what)
        aggregate = self.aggregate_read(what)
        if aggregate is not None and aggregate.name in ("hist", "lhist", "tseries"):
            self.error(
                node.span,
                f"Map type {aggregate} cannot print the value of individual keys. You must print "
                "the whole map.",
            )
        elif type is not None and not self._printable(type):
            shown = "none" if type == VOID or type == Tuple(()) else type
            self.error(node.span, f"{shown} type passed to print() is not printable")
        self.show(type)
        return VOID

    def _printable(self, type: Type) -> bool:
        if type in (VOID, Tuple(())) or isinstance(type, TimestampMode):
            return False
        return not isinstance(type, Struct) or type != self.instance.args_type

    def show(self, type: Type | None) -> None:
        """Keep what printing a value of the type takes: members of structs, names of enums."""
        match type:
            case Struct():
                if type.name not in self.checked.shown:
                    self.checked.shown.add(type.name)
                    for member in self.fields_of(type):
                        self.show(member.type)
            case Array():
                self.show(type.of)
            case Tuple() | Record():
                for element in type.of:
                    self.show(element)
            case _ if (enum := getattr(type, "enum", None)) is not None:
                self.checked.enums.setdefault(enum, self.names.enum(enum) or {})
                if self.checked.options.portable and self.names.of_kernel("enum", enum):
                    self.checked.of_kernel.add(f"enum {enum}")
