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


STAGES: dict[str, Callable[[str], str]] = {"ir": ir}
