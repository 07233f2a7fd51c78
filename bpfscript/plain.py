"""`dataclass`, `field` and `replace` as in `dataclasses`, for classes that cost a start nothing.

The library generates and compiles five functions for each class, whether it is used or not. Here
only `__init__` is generated, when the first instance is made; the rest is shared. `fields()` and
its kin of the library work on these classes too.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeVar, dataclass_transform, overload

    T = TypeVar("T")

_NONE: Any = object()


class _Field:
    """A default that is made anew for each instance, or takes no part in comparisons."""

    __slots__ = ("compare", "default", "factory")

    def __init__(self, default: object, factory: object, compare: bool) -> None:
        self.default, self.factory, self.compare = default, factory, compare


def field(
    *, default: Any = _NONE, default_factory: Callable[[], Any] = _NONE, compare: bool = True
) -> Any:
    """What stands in place of a field's default, as in `dataclasses`."""
    return _Field(default, default_factory, compare)


if TYPE_CHECKING:

    @overload
    def dataclass(cls: type[T], /) -> type[T]: ...
    @overload
    def dataclass(
        cls: None = None, /, *, frozen: bool = False, slots: bool = False, eq: bool = True
    ) -> Callable[[type[T]], type[T]]: ...
    @dataclass_transform(field_specifiers=(field,))
    def dataclass(
        cls: type[T] | None = None,
        /,
        *,
        frozen: bool = False,
        slots: bool = False,
        eq: bool = True,
    ) -> Any: ...
else:

    def dataclass(cls=None, /, *, frozen=False, slots=False, eq=True):
        """Fields are what is annotated; those of base classes come first."""
        if cls is None:
            return lambda cls: _made(cls, frozen, slots, eq)
        return _made(cls, frozen, slots, eq)


def replace(instance: T, **changes: Any) -> T:
    """A copy with other values of some fields."""
    values = {name: getattr(instance, name) for name in type(instance).__match_args__}  # type: ignore[attr-defined]
    return type(instance)(**values | changes)


def _made(cls: Any, frozen: bool, slots: bool, eq: bool) -> Any:
    written: dict[str, str] = vars(cls).get("__annotations__", {})
    own = [name for name, type in written.items() if not type.startswith("ClassVar")]
    fields: dict[str, _Field] = dict(getattr(cls, "_fields_", {}))
    for name in own:
        default = cls.__dict__.get(name, _NONE)
        fields[name] = default if isinstance(default, _Field) else _Field(default, _NONE, True)
        if name in cls.__dict__ and (slots or fields[name].default is _NONE):
            delattr(cls, name)
        elif isinstance(default, _Field):
            setattr(cls, name, default.default)
    if slots:
        cls = _slotted(cls, own)
    cls._fields_ = fields
    setattr(cls, "__match_args__", tuple(fields))  # noqa: B010
    cls.__dataclass_fields__ = _LibraryFields()
    if "__init__" not in cls.__dict__:
        cls.__init__ = _first_init(cls, frozen)
    if "__repr__" not in cls.__dict__:
        cls.__repr__ = _repr
    if eq:
        _compare(cls, [name for name, field in fields.items() if field.compare], frozen)
    if frozen:
        cls.__setattr__ = cls.__delattr__ = _refuse
        cls.__getstate__, cls.__setstate__ = _state, _restore
    return cls


def _slotted(cls: Any, names: list[str]) -> Any:
    """The class once more, with slots: they can only be given when a class is made."""
    body = {k: v for k, v in cls.__dict__.items() if k not in ("__dict__", "__weakref__")}
    made = type(cls)(cls.__name__, cls.__bases__, {**body, "__slots__": tuple(names)})
    made.__qualname__ = cls.__qualname__
    return made


def _first_init(cls: Any, frozen: bool) -> Any:
    """Puts the real `__init__` in its place when it is first called."""

    def __init__(self: Any, *args: Any, **named: Any) -> None:
        if cls.__init__ is __init__:
            cls.__init__ = _init(cls, frozen)
        cls.__init__(self, *args, **named)

    return __init__


def _init(cls: Any, frozen: bool) -> Any:
    """Positional and named parameters, in order; code of its own, for speed."""
    scope: dict[str, Any] = {"_none": _NONE, "_put": object.__setattr__}
    parameters, body = [], []
    for name, field in cls._fields_.items():
        value = name
        if field.factory is not _NONE:
            scope[f"{name}_factory"], default = field.factory, "=_none"
            value = f"{name}_factory() if {name} is _none else {name}"
        else:
            default = "" if field.default is _NONE else f"={name}_default"
            scope[f"{name}_default"] = field.default
        parameters.append(f", {name}{default}")
        body.append(f" _put(self, {name!r}, {value})" if frozen else f" self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        body.append(" self.__post_init__()")
    exec(f"def __init__(self{''.join(parameters)}):\n" + "\n".join(body or [" pass"]), scope)
    return scope["__init__"]


def _compare(cls: Any, names: list[str], frozen: bool) -> None:
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda _: ()

    def __eq__(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    if "__eq__" not in cls.__dict__:
        cls.__eq__ = __eq__
    if frozen and "__hash__" not in cls.__dict__:
        cls.__hash__ = lambda self: hash(values(self))
    elif not frozen:
        cls.__hash__ = None


def _repr(self: Any) -> str:
    values = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
    return f"{type(self).__qualname__}({values})"


def _refuse(self: Any, name: str, *_: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot change field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__match_args__]


def _restore(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__match_args__, state, strict=True):
        object.__setattr__(self, name, value)


class _LibraryFields:
    """`__dataclass_fields__`, made for those who look at it."""

    def __get__(self, _: object, cls: Any) -> object:
        import dataclasses

        rows = []
        for name, field in cls._fields_.items():
            given = {"default": field.default, "default_factory": field.factory}
            given = {key: value for key, value in given.items() if value is not _NONE}
            rows.append((name, object, dataclasses.field(**given, compare=field.compare)))
        made: Any = dataclasses.make_dataclass(cls.__name__, rows, kw_only=True)
        found: object = made.__dataclass_fields__
        cls.__dataclass_fields__ = found
        return found
