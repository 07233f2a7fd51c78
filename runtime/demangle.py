"""Names of C++ and Rust functions as their authors wrote them."""

from __future__ import annotations

import re
from functools import lru_cache

from .cxx_names import demangle as demangle_cxx
from .rust_names import demangle as demangle_rust

_LONGEST = 4096  # characters: longer names are nobody's work
_HASH = re.compile(r"::h[0-9a-f]{16}$")  # Rust's old scheme is that of C++, and ends like this
_ESCAPE = re.compile(r"\$(?:(LT|GT|RF|BP|LP|RP|C|SP)|u([0-9a-f]{1,6}))\$")
_SIGNS = dict(zip(("LT", "GT", "RF", "BP", "LP", "RP", "C", "SP"), "<>&*(),@", strict=True))


@lru_cache(maxsize=65536)
def demangle(name: str) -> str:
    """The readable form of a symbol's name; names that are not mangled come back as they are."""
    if len(name) > _LONGEST or not name.isascii():
        return name
    if name.startswith("_R"):
        return demangle_rust(name) or name
    if not name.startswith("_Z"):
        return name
    found = demangle_cxx(name)
    plain = _HASH.sub("", found)
    return found if plain == found else _rust(plain)


def _rust(name: str) -> str:
    parts = [part.removeprefix("_") if part.startswith("_$") else part for part in name.split("::")]
    return _ESCAPE.sub(_sign, "::".join(parts)).replace("..", "::")


def _sign(found: re.Match[str]) -> str:
    if found[1]:
        return _SIGNS[found[1]]
    code = int(found[2], 16)
    return chr(code) if code < 0xD800 else found[0]
