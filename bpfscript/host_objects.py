"""Native code for this process: as it was kept when it was last made, or made now."""

from __future__ import annotations

import os

from bpfscript.compiled import tool_identity
from bpfscript.runtime.host_code import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.pieces import HostCode, Plan
    from bpfscript.runtime.cache import Cache

_KEPT = "native"


class HostObjects:
    """cache: where objects are kept. What is made loads LLVM if it is not there.

    All raise ImportError where there can be no native code.
    """

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def kept(self, plan: Plan) -> HostCode | None:
        """What shows events. Takes a millisecond, since it needs no compiler; None if there is
        none."""
        data = self._cache.get(_KEPT, _key(plan))
        return load(data, "drain") if data else None

    def made(self, plan: Plan) -> HostCode:
        """The same, made now."""
        from bpfscript import driver

        data = driver.make_native(plan)
        self._cache.put(_KEPT, _key(plan), data)
        return load(data, "drain")

    def order(self) -> HostCode:
        """What puts the entries of a map in order, kept or made."""
        data = self._cache.get(_KEPT, _key("order"))
        if not data:
            from bpfscript import driver

            data = driver.make_order()
            self._cache.put(_KEPT, _key("order"), data)
        return load(data, "order")


def _key(what: object) -> bytes:
    return repr((what, os.uname().machine, tool_identity())).encode("utf-8", "surrogateescape")
