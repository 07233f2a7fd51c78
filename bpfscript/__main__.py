"""The process of the command, also as `python -m bpfscript`."""

from __future__ import annotations

import gc
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """An interrupt ends the process at once and without a word, even inside libclang or LLVM.

    Python's handler would wait for them. A session has its own, which lets tracing end well.
    """
    gc.set_threshold(50_000)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from bpfscript.finder import install

    install()
    from bpfscript.cli import command

    command()


if __name__ == "__main__":
    main()
