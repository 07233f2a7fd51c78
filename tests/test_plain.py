"""Our dataclasses beside the library's: the same classes behave the same."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any, ClassVar

import pytest

from bpfscript import plain


@plain.dataclass(frozen=True, slots=True)
class Base:
    a: int
    b: str = "x"
    seen: int = plain.field(default=0, compare=False)
    kind: ClassVar[str] = "base"


@plain.dataclass(frozen=True, slots=True)
class Derived(Base):
    c: tuple[int, ...] = ()


@plain.dataclass
class Mutable:
    items: list[int] = plain.field(default_factory=list)
    total: int = 0

    def __post_init__(self) -> None:
        self.total += len(self.items)


@dataclasses.dataclass(frozen=True)
class Theirs:
    a: int
    b: str = "x"


def test_values_by_place_and_name() -> None:
    made = Derived(1, c=(2,))
    assert (made.a, made.b, made.c, made.kind) == (1, "x", (2,), "base")
    assert Derived.__match_args__ == ("a", "b", "seen", "c")
    assert "x" in repr(made) and repr(made).startswith("Derived(a=1, ")
    match made:
        case Derived(1, other):
            assert other == "x"


@pytest.mark.parametrize("words", [(), (1, 2, 3, 4, 5)])
def test_wrong_arguments_are_told(words: Any) -> None:
    for cls in (Base, Theirs):
        with pytest.raises(TypeError):
            cls(*words)
        with pytest.raises(TypeError):
            cls(1, nope=1)  # type: ignore[call-arg]


def test_equality_and_hashes() -> None:
    assert Base(1) == Base(1, seen=5) != Base(2)
    assert hash(Base(1)) == hash(Base(1, seen=5))
    assert Base(1) != Derived(1)
    assert Mutable([1]) == Mutable([1]) and Mutable.__hash__ is None


def test_frozen_ones_do_not_change_and_slots_take_no_more() -> None:
    made: Any = Base(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.a = 2
    with pytest.raises(AttributeError):
        object.__setattr__(made, "other", 1)


def test_defaults_are_made_for_each() -> None:
    first, second = Mutable(), Mutable([1, 2])
    first.items.append(1)
    assert Mutable().items == [] and second.total == 2


def test_copies() -> None:
    made = Derived(1, "y", 3, (4,))
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == made
    assert plain.replace(made, a=7) == Derived(7, "y", 3, (4,))
    with pytest.raises(TypeError):
        plain.replace(made, nope=1)


def test_the_library_knows_them() -> None:
    made = Derived(1)
    assert dataclasses.is_dataclass(made)
    assert [f.name for f in dataclasses.fields(Derived)] == ["a", "b", "seen", "c"]
    assert dataclasses.fields(Mutable)[0].default_factory is list
    assert dataclasses.replace(made, a=2) == Derived(2)


def test_the_first_instances_are_as_those_with_code_of_their_own() -> None:
    @plain.dataclass(slots=True)
    class Counted:
        a: int
        b: list[int] = plain.field(default_factory=list)
        c: str = "c"

    made = [(Counted(n, c="d"), Counted(a=n, b=[n]), Counted(n)) for n in range(100)]
    for n, instances in enumerate(made):
        assert [(i.a, i.b, i.c) for i in instances] == [(n, [], "d"), (n, [n], "c"), (n, [], "c")]
    names = Counted.__init__.__code__.co_varnames
    assert names == ("self", "a", "b", "c")  # by now
