"""C++ names, by the demangler that every C++ program on this machine runs with."""

from __future__ import annotations

import ctypes
from functools import cache


@cache
def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libstdc++.so.6")
    except OSError:
        return None
    library.__cxa_demangle.restype = ctypes.c_void_p
    library.free.argtypes = [ctypes.c_void_p]
    return library


def demangle(name: str) -> str:
    """`_ZN2ns1fEi` → `ns::f(int)`; the name itself where it is not mangled or nobody can tell."""
    library = _library() if name.startswith("_Z") else None
    if library is None:
        return name
    text = library.__cxa_demangle(name.encode(), None, None, None)  # malloc'ed, or NULL
    if not text:
        return name
    result = ctypes.string_at(text).decode("utf-8", "replace")
    library.free(text)
    return result
