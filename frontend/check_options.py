"""Parameters that the command line gives: `$1`, `$#`, `getopt` (LANGUAGE §1.13, §8.1)."""

from __future__ import annotations

from bpfscript.target import MachineError
from bpfscript.types import BOOL, INT64, UINT64, String, Type

from . import nodes
from .check_arguments import Arguments
from .check_base import Option
from .config import FALSE, TRUE
from .fold import parse_number
from .literals import encode
from .typed import Constant


class Parameters(Arguments):
    def positional(self, node: nodes.Positional) -> Type:
        given = self.checked.options.positional
        if node.index == 0:
            return self.literal(node, len(given))
        text = given[node.index - 1] if node.index <= len(given) else ""
        if not text:
            self.report.warning(
                node.span, f"Positional parameter ${node.index} is empty or not provided. "
            )
            return self.literal(node, 0)
        number = parse_number(text)
        return self.literal(node, encode(text) if number is None else number)

    def option(self, node: nodes.Call) -> Type | None:
        """`getopt("name", default, "description")`."""
        for index in range(len(node.args)):
            self.typed_at(node, index)
        name = self.text_at(node, 0)
        if name is None:
            self.error(node.args[0].span, "First argument to 'getopt' must be a string literal.")
            return None
        default: Constant | None = False
        if len(node.args) > 1:
            default = self.constants.get(node.args[1])
        if default is None:
            self.error(
                node.args[1].span,
                "Second argument to 'getopt' must be a string literal, integer literal, or a "
                "boolean literal.",
            )
            return None
        description = self.constants.get(node.args[2]) if len(node.args) > 2 else b""
        if not isinstance(description, bytes):
            text = "Third argument to 'getopt' must be a string literal."
            self.error(node.args[2].span, text)
            return None
        known = self.options.setdefault(name, Option(default, description))
        if (type(known.default), known.default) != (type(default), default):
            self.error(
                node.span,
                f"Command line option '{name}' needs to have the same default value in all places "
                f"it is used. Previous default value: {_shown(known.default)}",
            )
            return None
        return self._value(node, name, default)

    def _value(self, node: nodes.Call, name: str, default: Constant) -> Type | None:
        text = self.checked.options.named.get(name)
        if isinstance(default, bytes):
            value = default if text is None else encode(text)
            return self.literal(node, value, String(max(self.string_size, len(value) + 1)))
        if isinstance(default, bool):
            return self._flag(node, name, text, default)
        number = default if text is None else parse_number(text)
        if number is None:
            raise MachineError(
                f"program command line option --{name} invalid integer (value: {text})"
            )
        return self.literal(node, number, UINT64 if default >= 0 else INT64)

    def _flag(self, node: nodes.Call, name: str, text: str | None, default: bool) -> Type | None:
        value = (text or "true").lower() if text is not None else str(default).lower()
        if value not in TRUE + FALSE:
            expected = f"expects a boolean (e.g. 'true') (value: {text})"
            raise MachineError(f"program command line option --{name} {expected}")
        return self.literal(node, value in TRUE, BOOL)

    def check_options(self) -> None:
        """Refuse named parameters that no `getopt` asks for: raises MachineError."""
        unexpected = [f"--{n}" for n in self.checked.options.named if n not in self.options]
        if unexpected:
            expected = ": ".join(f"--{name}" for name in self.options)
            raise MachineError(
                f"unexpected program command line options: {', '.join(unexpected)}",
                f"expected program options: {expected}" if expected else None,
            )


def _shown(value: Constant) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value).lower() if isinstance(value, bool) else str(value)
