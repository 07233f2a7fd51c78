"""The process of the command, also as `python -m bpfscript`."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal`, without the classes it makes
import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

YOUNG = 50_000
"""Objects made before the collector looks for garbage among them."""


def main() -> NoReturn:
    """An interrupt ends the process at once and without a word, even inside libclang or LLVM.

    Python's handler would wait for them. A session has its own, which lets tracing end well. A
    start makes many objects that stay, so that looking for garbage among them finds none.
    """
    gc.set_threshold(YOUNG)
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from bpfscript.finder import install

    install()
    from bpfscript.cli import command

    command()


if __name__ == "__main__":
    main()
