"""`dataclass`, `field` and `replace` as in `dataclasses`, for classes that cost a start nothing.

The library generates and compiles five functions for each class, whether it is used or not. Here
only `__init__` is generated, once a class has had many instances; the rest is shared. `fields()`
and its kin of the library work on these classes too.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, TypeVar, dataclass_transform, overload

    T = TypeVar("T")

_NONE: Any = object()
_FEW = 100  # instances that cost as much as compiling a function
_put = object.__setattr__


class _Field:
    """A default that is made anew for each instance, or takes no part in comparisons."""

    __slots__ = ("compare", "default", "factory")

    def __init__(self, default: object, factory: Any, compare: bool) -> None:
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
    """The class made once more, for slots can only be given when a class is made. That spares time,
    too: for each method set later Python looks through all that it may call by itself."""
    written: dict[str, str] = vars(cls).get("__annotations__", {})
    own = [name for name, type in written.items() if not type.startswith("ClassVar")]
    fields: dict[str, _Field] = dict(getattr(cls, "_fields_", {}))
    body = {k: v for k, v in vars(cls).items() if k not in ("__dict__", "__weakref__")}
    for name in own:
        default = body.pop(name, _NONE)
        given = default if isinstance(default, _Field) else _Field(default, _NONE, True)
        fields[name] = given
        if not slots and given.default is not _NONE:
            body[name] = given.default

    seen = 0

    def __init__(self: Any, *args: Any, **named: Any) -> None:
        """In place of one with code of its own until that pays, or has to find what is wrong."""
        nonlocal seen
        seen += 1
        if seen > _FEW or not _filled(self, fields, args, named):
            if cls.__init__ is __init__:
                cls.__init__ = _init(cls, frozen)
            cls.__init__(self, *args, **named)
        elif post:
            self.__post_init__()

    post = hasattr(cls, "__post_init__")
    methods: dict[str, Any] = {"__init__": __init__, "__repr__": _repr}
    if eq:
        methods |= _comparing([name for name, field in fields.items() if field.compare])
        if not frozen:
            methods["__hash__"] = None
    if frozen:
        methods |= _FROZEN
    if slots:
        methods["__slots__"] = tuple(own)
    methods |= body
    methods |= {"_fields_": fields, "__match_args__": tuple(fields)}
    methods["__dataclass_fields__"] = _LibraryFields()
    made = type(cls)(cls.__name__, cls.__bases__, methods)
    made.__qualname__ = cls.__qualname__
    cls = made
    return cls


def _filled(
    self: Any, fields: dict[str, _Field], args: tuple[Any, ...], named: dict[str, Any]
) -> bool:
    """Give an instance its values; False if they are too many or too few."""
    values = dict(zip(fields, args, strict=False))
    if len(values) < len(args) or not values.keys().isdisjoint(named):
        return False
    values.update(named)
    for name, field in fields.items():
        if name not in values:
            value = values[name] = field.default if field.factory is _NONE else field.factory()
            if value is _NONE:
                return False
    if len(values) > len(fields):
        return False
    for name, value in values.items():
        _put(self, name, value)
    return True


def _init(cls: Any, frozen: bool) -> Any:
    """Positional and named parameters, in order; code of its own, for speed."""
    scope: dict[str, Any] = {"_none": _NONE, "_put": _put}
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


def _comparing(names: list[str]) -> dict[str, Any]:
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda _: ()

    def __eq__(self: Any, other: Any) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    return {"__eq__": __eq__, "__hash__": lambda self: hash(values(self))}


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


_FROZEN = {
    "__setattr__": _refuse,
    "__delattr__": _refuse,
    "__getstate__": _state,
    "__setstate__": _restore,
}


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
