"""Native code that shows a script's events: as it was kept when it was last made, or now."""

from __future__ import annotations

import os

from bpfscript.compiled import tool_identity
from bpfscript.runtime.host_code import load

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bpfscript.pieces import HostCode, Plan
    from bpfscript.runtime.cache import Cache

ENTRY = "drain"  # the function's name


class Formatters:
    """Makes it. cache: where objects are kept."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def kept(self, plan: Plan) -> HostCode | None:
        """Takes a millisecond, since it needs no compiler; None if there is none."""
        data = self._cache.get("native", _key(plan))
        return load(data, ENTRY) if data else None

    def made(self, plan: Plan) -> HostCode:
        """Loads LLVM if it is not there."""
        from bpfscript import driver

        data = driver.make_native(plan)
        self._cache.put("native", _key(plan), data)
        return load(data, ENTRY)


def _key(plan: Plan) -> bytes:
    return repr((plan, os.uname().machine, tool_identity())).encode("utf-8", "surrogateescape")
