"""Artifacts ↔ bytes for the cache: quick to read, without a look at any type annotation.

A list stands for an instance, its class first and then the fields in their order; all else stands
for itself. What is read was written by this very version; `codec` is for what may come from
anywhere.
"""

from __future__ import annotations

import marshal
from enum import Enum

from bpfscript import manifest, types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIST = ""


def pack(value: object) -> bytes:
    """Bytes for plain data, and what `manifest` and `types` describe."""
    return marshal.dumps(_flat(value))


def unpack(data: bytes) -> Any:
    """What was packed. Raises ValueError for what is not."""
    try:
        return _whole(marshal.loads(data))
    except (EOFError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"damaged data: {error}") from error


def _flat(value: Any) -> Any:
    match value:
        case Enum():
            return [type(value).__name__, value.value]
        case None | bool() | int() | str() | bytes():
            return value
        case tuple():
            return tuple(map(_flat, value))
        case list():
            return [_LIST, *map(_flat, value)]
        case dict():
            return {_flat(k): _flat(v) for k, v in value.items()}
    of = type(value)
    assert _class(of.__name__) is of, f"{of} cannot be packed"
    return [of.__name__, *(_flat(getattr(value, name)) for name in of.__match_args__)]


def _whole(flat: Any) -> Any:
    kind = type(flat)
    if kind is list:
        name, *values = flat
        return [_whole(v) for v in values] if name == _LIST else _class(name)(*map(_whole, values))
    if kind is tuple:
        return tuple(map(_whole, flat))
    return {k: _whole(v) for k, v in flat.items()} if kind is dict else flat


def _class(name: str) -> Any:
    return getattr(manifest, name, None) or getattr(types, name)
