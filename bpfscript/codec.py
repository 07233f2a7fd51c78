"""Plain data ↔ JSON: how an artifact rides in an object or a cache.

A dataclass becomes {"": its name, field: value, …} without the fields that have their default;
tuples and lists become arrays, dicts arrays of pairs, bytes base64. Decoding believes nothing:
every value must have the type that the field declares.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from bpfscript import words
from bpfscript.target import MachineError

T = TypeVar("T")
Reader = Callable[[Any], Any]


class ObjectError(MachineError):
    """Bytes that are no object, or no data, of ours."""


def dumps(value: object) -> bytes:
    """JSON of dataclasses and what they hold; the same bytes for equal values."""
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":")).encode()


def loads(expected: type[T], data: bytes) -> T:
    """The value that `dumps` wrote. Raises ObjectError if a part is not of the type expected."""
    kind: Any = expected
    try:
        value: T = _reader(kind)(json.loads(data))
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
    cls: Any = type(value)
    for name, default in _defaults(cls):
        held = getattr(value, name)
        if held != default:
            out[name] = _plain(held)
    return out


@cache
def _defaults(cls: Any) -> list[tuple[str, object]]:
    return [(f.name, _default(f)) for f in fields(cls)]


def _default(field: Field[Any]) -> object:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _fail(expected: object, plain: object) -> ObjectError:
    name = getattr(expected, "__name__", str(expected))
    return ObjectError(f"damaged data: {name} expected, not {type(plain).__name__}")


@cache
def _reader(expected: Any) -> Reader:
    """What turns JSON into a value of a type, or raises ObjectError. Made once for each type."""
    origin, args = get_origin(expected), get_args(expected)
    if origin in (Union, UnionType):
        return _union_reader(expected, args)
    if origin in (tuple, list):
        return _list_reader(expected, origin, args[0])
    if origin is dict:
        return _dict_reader(expected, args[0], args[1])
    if hasattr(expected, "__dataclass_fields__"):
        return _dataclass_reader(expected)
    if origin is Literal:
        return _choice_reader(expected, {choice: choice for choice in args})
    if issubclass(expected, Enum):
        return _choice_reader(expected, {e.value: e for e in expected})
    return _bytes if expected is bytes else _scalar_reader(expected)


def _scalar_reader(expected: type) -> Reader:
    def read(plain: Any) -> Any:
        if type(plain) is not expected:
            raise _fail(expected, plain)
        return plain

    return read


def _bytes(plain: Any) -> bytes:
    try:
        return b64decode(plain, validate=True)
    except (TypeError, ValueError):
        raise _fail(bytes, plain) from None


def _choice_reader(expected: object, choices: dict[Any, Any]) -> Reader:
    def read(plain: Any) -> Any:
        if not isinstance(plain, str | int) or plain not in choices:
            raise _fail(expected, plain)
        return choices[plain]

    return read


def _list_reader(expected: object, origin: Callable[[list[Any]], Any], item: Any) -> Reader:
    def read(plain: Any) -> Any:
        if not isinstance(plain, list):
            raise _fail(expected, plain)
        one = _reader(item)
        return origin([one(p) for p in plain])

    return read


def _dict_reader(expected: object, key: Any, value: Any) -> Reader:
    def read(plain: Any) -> Any:
        if not isinstance(plain, list) or any(type(p) is not list or len(p) != 2 for p in plain):
            raise _fail(expected, plain)
        keys, values = _reader(key), _reader(value)
        return {keys(k): values(v) for k, v in plain}

    return read


def _union_reader(expected: object, choices: tuple[Any, ...]) -> Reader:
    """Of a union, at most one member is an array; dataclasses are told apart by name."""
    classes: dict[str, Any] = {c.__name__: c for c in choices if hasattr(c, "__dataclass_fields__")}
    scalars = {c for c in choices if c in (int, str, bool, NoneType)}
    arrays = [c for c in choices if get_origin(c) in (tuple, list, dict)]

    def read(plain: Any) -> Any:
        if type(plain) in scalars:
            return plain
        if isinstance(plain, dict) and isinstance(name := plain.get(""), str) and name in classes:
            return _reader(classes[name])(plain)
        if isinstance(plain, list) and arrays:
            return _reader(arrays[0])(plain)
        raise _fail(expected, plain)

    return read


def hints_of(cls: Any) -> dict[str, Any]:
    """Types of a class's fields, the words that its module does not load among them."""
    return get_type_hints(cls, localns={"Literal": Literal, **vars(words)})


def _dataclass_reader(expected: Any) -> Reader:
    hints = hints_of(expected)
    needed = {f.name for f in fields(expected) if _default(f) is MISSING}
    known = {f.name for f in fields(expected)}

    def read(plain: Any) -> Any:
        if not isinstance(plain, dict) or plain.get("") != expected.__name__:
            raise _fail(expected, plain)
        given = {name: v for name, v in plain.items() if name}
        if unknown := given.keys() - known:
            raise ObjectError(f"damaged data: {expected.__name__} has no {min(unknown)}")
        if missing := needed - given.keys():
            raise ObjectError(f"damaged data: {expected.__name__} lacks {min(missing)}")
        return expected(**{name: _reader(hints[name])(v) for name, v in given.items()})

    return read
