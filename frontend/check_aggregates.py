"""Aggregations: calls that only an assignment to a map may make (LANGUAGE §6.1)."""

from __future__ import annotations

from bpfscript.types import TSERIES_AGGREGATES, Aggregate, Type

from . import nodes
from .check_arguments import Arguments
from .check_operators import as_integer
from .functions import AGGREGATES, FUNCTIONS

MAX_HIST_BITS, MAX_LHIST_BUCKETS, MAX_INTERVALS = 5, 1000, 1_000_000


class Aggregates(Arguments):
    def aggregate(self, node: nodes.Call) -> Type | None:
        """Type of the map that `@m = count()` makes."""
        row = FUNCTIONS[node.name]
        if not self.check_arguments(node, row):
            return None
        match node.name:
            case "hist":
                params = self._hist(node)
            case "lhist":
                params = self._lhist(node)
            case "tseries":
                params = self._tseries(node)
            case _:
                params = ()
        if params is None:
            return None
        argument = self.type_at(node, 0)
        operand = as_integer(argument) if argument is not None else None
        if operand is not None:
            self.operands[node] = operand
        name = next(n for n in AGGREGATES if n == node.name)
        return Aggregate(name, operand is None or operand.signed, params)

    def _literals(self, node: nodes.Call, names: dict[int, str]) -> tuple[int, ...] | None:
        """Non-negative integer literals among the arguments."""
        values = []
        for index, name in names.items():
            value = self.number_at(node, index)
            if value is None or value < 0:
                self.error(
                    node.span,
                    f"{node.name}: invalid {name} value (must be non-negative literal)",
                )
                return None
            values.append(value)
        return tuple(values)

    def _hist(self, node: nodes.Call) -> tuple[int, ...] | None:
        if len(node.args) == 1:
            return (0,)
        bits = self.number_at(node, 1)
        if bits is None:
            self.error(node.span, "hist: invalid bits value, need integer literal")
        elif not 0 <= bits <= MAX_HIST_BITS:
            self.error(node.span, f"hist: bits {bits} must be 0..{MAX_HIST_BITS}")
        else:
            return (bits,)
        return None

    def _lhist(self, node: nodes.Call) -> tuple[int, ...] | None:
        params = self._literals(node, {1: "min", 2: "max", 3: "step"})
        if params is None:
            return None
        low, high, step = params
        fault = None
        if step < 1:
            fault = f"step must be >= 1 ({step} provided)"
        elif low > high:
            fault = f"min must be less than max (provided min {low} and max {high})"
        elif step > high - low:
            fault = (
                "step is too large for the given range "
                f"(provided step {step} for range {high - low})"
            )
        elif (buckets := (high - low) // step) > MAX_LHIST_BUCKETS:
            fault = f"too many buckets, must be <= {MAX_LHIST_BUCKETS} (would need {buckets})"
        if fault:
            self.error(node.span, f"lhist() {fault}")
            return None
        return params

    def _tseries(self, node: nodes.Call) -> tuple[int, ...] | None:
        params = self._literals(node, {1: "interval_ns", 2: "num_intervals"})
        if params is None or not self.allows(node.span, "tseries"):
            return None
        interval, count = params
        fault = None
        if interval < 1:
            fault = f"interval_ns must be >= 1 ({interval} provided)"
        elif count < 1:
            fault = f"num_intervals must be >= 1 ({count} provided)"
        elif count > MAX_INTERVALS:
            fault = f"num_intervals must be <= {MAX_INTERVALS} ({count} provided)"
        agg = self.text_at(node, 3) if len(node.args) > 3 else ""
        if not fault and agg not in TSERIES_AGGREGATES:
            fault = (
                "expects one of the following aggregation functions: "
                f'{", ".join(TSERIES_AGGREGATES[1:])} ("{agg}" provided)'
            )
        if fault:
            self.error(node.span, f"tseries() {fault}")
            return None
        return (interval, count, TSERIES_AGGREGATES.index(agg or ""))
