"""Printers on memory, and records made by hand."""

from __future__ import annotations

import io
import struct

from bpfscript.manifest import Event, Manifest, MapDef, MapType
from bpfscript.runtime.json_output import JsonPrinter
from bpfscript.runtime.output import Printer
from bpfscript.runtime.symbols import Symbols
from bpfscript.runtime.text import TextPrinter
from bpfscript.types import Type
from bpfscript.words import Buffering


class Terminal(io.BytesIO):
    def isatty(self) -> bool:
        return True


class Output:
    """A printer with what it wrote. json, terminal: which kind of output."""

    def __init__(
        self,
        manifest: Manifest | None = None,
        *,
        json: bool = False,
        terminal: bool = False,
        quiet: bool = False,
        warnings: int = 1,
        buffering: Buffering = "line",
    ) -> None:
        self.stdout = Terminal() if terminal else io.BytesIO()
        self.stderr = io.StringIO()
        kind: type[Printer] = JsonPrinter if json else TextPrinter
        self.printer = kind(
            manifest or Manifest(), self.stdout, self.stderr, Symbols(),
            quiet=quiet, warnings=warnings, buffering=buffering,
        )  # fmt: skip

    @property
    def text(self) -> str:
        self.printer.finish(0)
        return self.stdout.getvalue().decode("utf-8", "surrogateescape")

    @property
    def errors(self) -> str:
        return self.stderr.getvalue()


def shown(t: Type, raw: bytes, manifest: Manifest | None = None, **options: bool) -> str:
    """print() of one value, without the newline of text."""
    output = Output(manifest, **options)  # type: ignore[arg-type]
    output.printer.event(Event("print", (t,), (8,)), memoryview(bytes(8) + raw))
    return output.text.removesuffix("\n")


def json_data(t: Type, raw: bytes, manifest: Manifest | None = None) -> str:
    """The data of print() in JSON."""
    line = shown(t, raw, manifest, json=True)
    return line.removeprefix('{"type": "value", "data": ').removesuffix("}")


def definition(
    key: Type | None,
    value: Type,
    name: str = "@x",
    labels: tuple[str | int, ...] | None = None,
) -> MapDef:
    size = key.size if key else 4
    return MapDef(name, MapType.HASH, key, value, size, value.size, 100, labels)


def table(
    key: Type | None,
    value: Type,
    entries: list[tuple[bytes, list[bytes]]],
    *,
    top: int = 0,
    divisor: int = 1,
    json: bool = False,
    labels: tuple[str | int, ...] | None = None,
    manifest: Manifest | None = None,
) -> str:
    """A map `@x` printed."""
    output = Output(manifest, json=json)
    output.printer.map(definition(key, value, labels=labels), entries, top, divisor)
    return output.text


def words(*values: int) -> bytes:
    """64-bit words."""
    return b"".join(struct.pack("<q" if v < 0 else "<Q", v) for v in values)
