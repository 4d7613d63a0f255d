"""Values are dataclasses in all but the moment at which their methods are made."""

from __future__ import annotations

import copy
import inspect
import pickle
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, field, fields, is_dataclass, replace
from importlib import import_module
from typing import Any

import pytest

from dth.values import value


@value
class Plain:
    """Fields with and without a default."""

    name: str
    size: int = 7


@value
class Rich:
    """All that `dataclasses.field` is used for."""

    name: str
    secret: str = field(repr=False, default="")
    notes: Mapping[str, int] = field(default_factory=dict, hash=False)
    beside: int = field(default=0, compare=False)


@value
class Checked:
    """Looks at itself."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError("negative")

    def __repr__(self) -> str:
        return f"<{self.size}>"


def test_values_are_equal_hashed_shown_and_replaced_by_their_fields() -> None:
    one = Plain("a")
    assert (one.name, one.size) == ("a", 7)
    assert one == Plain(name="a", size=7) != Plain("a", 8)
    assert hash(one) == hash(Plain("a"))
    assert len({one, Plain("a"), Plain("b")}) == 2
    assert repr(one) == "Plain(name='a', size=7)"
    assert replace(one, size=9) == Plain("a", 9)
    assert asdict(one) == {"name": "a", "size": 7}
    assert copy.copy(one) == one == pickle.loads(pickle.dumps(one))
    with pytest.raises(AttributeError):
        one.other = 1  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        Plain()  # type: ignore[call-arg]


def test_what_a_field_says_of_itself_holds() -> None:
    one, other = Rich("a", "s"), Rich("a", "s")
    assert one.notes == {}
    assert one.notes is not other.notes
    assert one == replace(one, beside=5) != replace(one, notes={"a": 1})
    assert hash(one) == hash(replace(one, notes={"a": 1}))
    assert "'s'" not in repr(one)
    assert "beside=0" in repr(one)


def test_methods_of_a_class_stay() -> None:
    assert repr(Checked(1)) == "<1>"
    with pytest.raises(ValueError, match="negative"):
        Checked(-1)


def test_a_value_cannot_inherit_fields() -> None:
    with pytest.raises(TypeError, match="Plain must have no fields"):

        @value
        class More(Plain):
            other: int = 0


@pytest.fixture
def hurried() -> Iterator[None]:
    """Threads take turns after a few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hurried")
def test_the_first_values_may_be_made_by_many_threads_at_once() -> None:
    for _ in range(20):

        @value
        class New:
            name: str
            notes: list[int] = field(default_factory=list)

        @value
        class Other:
            name: str
            size: int = 1

        made: list[Any] = []
        start = threading.Barrier(4)

        def make(made: list[Any] = made, start: threading.Barrier = start) -> None:
            start.wait()
            made.extend((New("a"), Other("b")))

        threads = [threading.Thread(target=make) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert made.count(New("a", [])) == 4
        assert made.count(Other("b", 1)) == 4


def test_the_first_value_is_made_by_what_dataclasses_would_write() -> None:
    @value
    class Fresh:
        name: str
        size: int = 7

    Fresh("a")
    ours = [(one.name, one.kind, one.default) for one in inspect.signature(Fresh.__init__).parameters.values()]
    assert is_dataclass(Fresh)
    assert [one.name for one in fields(Fresh)] == ["name", "size"]
    theirs = inspect.signature(Fresh.__init__).parameters.values()
    assert ours == [(one.name, one.kind, one.default) for one in theirs]


def test_dataclasses_has_nothing_against_the_values_of_a_sync() -> None:
    """It looks at a class when that is first used, so a default that it refuses would be found late."""
    import_module("dth.app.sync")
    loaded = [module for name, module in sys.modules.items() if name.startswith("dth.")]
    found = {each for module in loaded for each in vars(module).values() if isinstance(each, type)}
    values = [each for each in found if is_dataclass(each)]
    assert len(values) > 100
    for each in values:
        assert tuple(one.name for one in fields(each) if one.init and not one.kw_only) == getattr(
            each, "__match_args__", ()
        ), each
