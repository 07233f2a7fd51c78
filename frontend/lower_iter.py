"""printf() of a pinned iterator → text in the file that others read.

%meta = argument 0 of struct bpf_iter__KIND; %seq = its first member, struct seq_file *
call seq_printf %seq, format, size, values, size
"""

from __future__ import annotations

from collections.abc import Sequence

from bpfscript.ir.types import BTF, I64
from bpfscript.types import UINT64, Int, Pointer, String, Type

from . import nodes
from .body import Body, is_signed
from .check_formats import conversions
from .kernel_formats import kernel_format
from .lower_expressions import lower, lower_as


def seq_printf(body: Body, format: str, arguments: Sequence[nodes.Expr]) -> None:
    text = kernel_format(format).encode() + b"\0"
    parts = []
    for i, (argument, conversion) in enumerate(zip(arguments, conversions(format), strict=True)):
        type: Type = body.checked.types[argument]
        if isinstance(type, String):
            value = body.emit("to_int", lower(body, argument))
        elif isinstance(type, Pointer):
            value = lower_as(body, argument, UINT64)
        else:
            signed = conversion in "di" and is_signed(type)
            bits = 8 * type.size if isinstance(type, Int) else 64
            value = body.int_of(lower_as(body, argument, Int(bits, signed)), signed)
        parts.append((8 * i, value, UINT64))
    size = 8 * len(parts)
    values = body.pack(parts, size) if parts else body.const(0)
    meta = body.emit("to_ptr", body.emit("argument", index=0), type=BTF)
    seq = body.emit("to_ptr", body.emit("load", meta, off=0, type=I64), type=BTF)
    format_ = body.emit("rodata", data=text)
    body.b.call("seq_printf", seq, format_, body.const(len(text)), values, body.const(size))
