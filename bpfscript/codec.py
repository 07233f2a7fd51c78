"""Plain data ↔ JSON: how an artifact rides in an object or a cache.

A dataclass becomes {"": its name, field: value, …} without the fields that have their default;
tuples and lists become arrays, dicts arrays of pairs, bytes base64. Decoding believes nothing:
every value must have the type that the field declares.
"""

from __future__ import annotations

import binascii
import json
from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from bpfscript.target import MachineError

T = TypeVar("T")


class ObjectError(MachineError):
    """Bytes that are no object, or no data, of ours."""


def dumps(value: object) -> bytes:
    """JSON of dataclasses and what they hold; the same bytes for equal values."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")).encode()


def loads(expected: type[T], data: bytes) -> T:
    """The value that `dumps` wrote. Raises ObjectError if a part is not of the type expected."""
    try:
        plain = json.loads(data)
        value: T = _value(expected, plain)
    except RecursionError:
        raise ObjectError("damaged data: nested too deeply") from None
    except ValueError as error:  # not UTF-8, not JSON, or a number too long
        raise ObjectError(f"damaged data: {error}") from None
    return value


def _plain(value: Any) -> Any:
    match value:
        case Enum():
            return value.value
        case bytes():
            return b64encode(value).decode()
        case None | bool() | int() | str():
            return value
        case list() | tuple():
            return [_plain(v) for v in value]
        case dict():
            return [[_plain(k), _plain(v)] for k, v in value.items()]
    out: dict[str, Any] = {"": type(value).__name__}
    for field in fields(value):
        held = getattr(value, field.name)
        if held != _default(field):
            out[field.name] = _plain(held)
    return out


def _default(field: Field[Any]) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _fail(expected: object, plain: object) -> ObjectError:
    name = getattr(expected, "__name__", str(expected))
    return ObjectError(f"damaged data: {name} expected, not {type(plain).__name__}")


def _value(expected: Any, plain: Any) -> Any:
    origin = get_origin(expected)
    if origin in (Union, UnionType):
        return _one_of(get_args(expected), plain)
    if origin is Literal:
        if plain not in get_args(expected):
            raise _fail(expected, plain)
        return plain
    if origin in (tuple, list, dict):
        if not isinstance(plain, list):
            raise _fail(expected, plain)
        return _container(origin, get_args(expected), plain)
    if is_dataclass(expected):
        return _dataclass(expected, plain)
    if isinstance(expected, type) and issubclass(expected, Enum):
        if plain not in [e.value for e in expected]:
            raise _fail(expected, plain)
        return expected(plain)
    if expected is bytes and isinstance(plain, str):
        try:
            return b64decode(plain, validate=True)
        except (binascii.Error, ValueError):
            raise _fail(expected, plain) from None
    if type(plain) is not expected:
        raise _fail(expected, plain)
    return plain


def _one_of(choices: Sequence[Any], plain: Any) -> Any:
    for choice in choices:
        if isinstance(plain, dict):
            if plain.get("") == getattr(choice, "__name__", None):
                return _dataclass(choice, plain)
        elif isinstance(plain, list):
            if get_origin(choice) in (tuple, list, dict):
                return _value(choice, plain)
        elif type(plain) is choice or (plain is None and choice is NoneType):
            return plain
    raise _fail(choices, plain)


def _container(origin: type, args: tuple[Any, ...], plain: list[Any]) -> Any:
    if origin is dict:
        out = {}
        for pair in plain:
            if not isinstance(pair, list) or len(pair) != 2:
                raise _fail(dict, pair)
            key = _value(args[0], pair[0])
            out[key] = _value(args[1], pair[1])
        return out
    return origin(_value(args[0], item) for item in plain)


def _dataclass(expected: Any, plain: Any) -> Any:
    if not isinstance(plain, dict) or plain.get("") != expected.__name__:
        raise _fail(expected, plain)
    hints = _hints(expected)
    known = {f.name: f for f in fields(expected)}
    given = {name: v for name, v in plain.items() if name}
    if unknown := given.keys() - known.keys():
        raise ObjectError(f"damaged data: {expected.__name__} has no {sorted(unknown)[0]}")
    for name, field in known.items():
        if name not in given and _default(field) is MISSING:
            raise ObjectError(f"damaged data: {expected.__name__} lacks {name}")
    return expected(**{name: _value(hints[name], v) for name, v in given.items()})
