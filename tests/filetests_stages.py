"""What each folder of filetests/ does with its files: text in, text out.

A stage imports what it needs when it runs, so that a fault in one stage leaves the others testable.
"""

from __future__ import annotations

from collections.abc import Callable


def ir(text: str) -> str:
    """Read, verified, printed."""
    from bpfscript.ir.printer import print_module
    from bpfscript.ir.reader import read_module
    from bpfscript.ir.verify import verify

    module = read_module(text)
    verify(module)
    return print_module(module)


def check(text: str) -> str:
    """Types of maps and variables, then the warnings."""
    from bpfscript.diagnostics import Source
    from bpfscript.frontend.check import check
    from bpfscript.frontend.parser import parse
    from bpfscript.frontend.typed import Options
    from bpfscript.target import RecordedTarget

    found = check(parse(Source("t.bt", text)), RecordedTarget(), Options())
    lines = []
    for name, info in sorted(found.maps.items()):
        lines.append(f"{name}{'' if info.key is None else f'[{info.key}]'}: {info.value}")
    variables = sorted(set(found.locals.values()), key=lambda local: local.span.start)
    for local in variables:
        lines.append(f"{local.name}: {local.type}{' captured' if local.captured else ''}")
    lines += [f"{w.span.place}: {w.message}" for w in found.warnings]
    return "".join(line + "\n" for line in lines)


def lower(text: str) -> str:
    """A script's IR before any pass."""
    from bpfscript.diagnostics import Source
    from bpfscript.frontend.check import check
    from bpfscript.frontend.lower import lower
    from bpfscript.frontend.parser import parse
    from bpfscript.frontend.typed import Options
    from bpfscript.ir.printer import print_module
    from bpfscript.ir.verify import verify
    from bpfscript.target import RecordedTarget

    target = RecordedTarget()
    module = lower(check(parse(Source("t.bt", text)), target, Options()), target)
    verify(module)
    return print_module(module)


def opt(text: str) -> str:
    """IR after the passes that work on high operations."""
    return _after(text, "slots")


def legal(text: str) -> str:
    """IR after all passes."""
    return _after(text, "budget")


def _after(text: str, last: str) -> str:
    from bpfscript.ir.core import Module
    from bpfscript.ir.printer import print_module
    from bpfscript.ir.reader import read_module
    from bpfscript.passes.pipeline import run
    from bpfscript.target import RecordedTarget

    printed = ""

    def keep(name: str, module: Module) -> None:
        nonlocal printed
        printed = print_module(module) if name == last else printed

    run(read_module(text), RecordedTarget(), verify=True, print_after=keep)
    return printed


STAGES: dict[str, Callable[[str], str]] = {
    "check": check,
    "ir": ir,
    "legal": legal,
    "lower": lower,
    "opt": opt,
}
