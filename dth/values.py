"""Values: as immutable as a frozen dataclass to the type checker, as cheap as an open one at run time, and cheap to declare."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from inspect import get_annotations
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")

_FIELDS = "__dataclass_fields__"  # by which `dataclasses` knows its own
_completing = threading.RLock()


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value(cls: type[T]) -> type[T]:
    """A dataclass with slots that mypy treats as frozen; equal, hashable and `replace`able as such.

    `frozen=True` sets each field through `object.__setattr__`: eight fields take 1.0 µs instead of 0.3, and one small object
    makes a dozen values on its way (8% of a copy's CPU). So nothing but the type checker forbids assignment here.

    A process declares more than a hundred such classes when it starts, and makes values of a third of them. So a class gets
    its slots at once, and what must be written and compiled when it is first used.

    Raises TypeError where a base class has fields: the slots of this one would hide them.
    """
    for base in cls.__mro__[1:-1]:
        if vars(base).get("__slots__") != ():
            raise TypeError(
                f"{cls.__name__} is a value, so its base {base.__name__} must have no fields, and say so: __slots__ = ()"
            )
    names = tuple(get_annotations(cls))
    body = {name: each for name, each in vars(cls).items() if name not in {*names, "__dict__", "__weakref__"}}
    later = _Later(cls, names)
    first = {"__slots__": names, "__match_args__": names, "__init__": later.init(), _FIELDS: later}
    kind: Any = type(cls)
    later.made = kind(cls.__name__, cls.__bases__, body | first)
    later.made.__qualname__ = cls.__qualname__
    return later.made


class _Later:
    """Stands for a class's fields and for its methods, until somebody asks for the first or makes the first value."""

    def __init__(self, declared: type[Any], names: tuple[str, ...]) -> None:
        self._declared: type[Any] | None = declared
        self._names = names
        own = vars(declared)
        defaults = {name: own[name] for name in names if name in own}
        plain = "__post_init__" not in own and not any(isinstance(one, Field) for one in defaults.values())
        self._defaults = defaults if plain else None
        self.made: type[Any] = declared

    def init(self) -> Callable[..., None]:
        """An `__init__` that puts the real one in its place. Where all fields are plain, `dataclasses` is not needed for it."""

        def init(instance: Any, *args: Any, **kwargs: Any) -> None:
            if self._defaults is None:
                self._complete()
            else:
                names, made = self._names, self.made
                _give(made, names, names, names, _init(made, names, self._defaults))
            self.made.__init__(instance, *args, **kwargs)

        return init

    def __get__(self, instance: object, owner: type[Any] | None = None) -> Mapping[str, Field[Any]]:
        self._complete()
        found: Mapping[str, Field[Any]] = getattr(self.made, _FIELDS)
        return found

    def _complete(self) -> None:
        """Make it a dataclass: once, whichever thread comes first, because that takes the defaults out of what is declared."""
        with _completing:
            if self._declared is None:
                return
            declared = dataclass(repr=False, eq=False)(self._declared)
            every, own = fields(declared), vars(declared)
            compared = tuple(one.name for one in every if one.compare)
            hashed = tuple(one.name for one in every if (one.compare if one.hash is None else one.hash))
            shown = tuple(one.name for one in every if one.repr)
            for name in ("__dataclass_params__", _FIELDS):
                setattr(self.made, name, own[name])
            _give(self.made, compared, hashed, shown, own["__init__"])
            self._declared = None


def _give(
    made: Any,
    compared: tuple[str, ...],
    hashed: tuple[str, ...],
    shown: tuple[str, ...],
    init: Callable[..., None],
) -> None:
    """The class's methods, except those that it defines itself. `init` comes last: who sees that in its place finds the others."""
    own = vars(made)
    for name, method in {"__repr__": _repr(shown), "__eq__": _equal(compared), "__hash__": _hash(hashed)}.items():
        if name not in own or own[name] is None:  # None: Python's own word for a class that defines `__eq__` alone
            setattr(made, name, method)
    made.__init__ = init


def _init(made: type[Any], names: tuple[str, ...], defaults: Mapping[str, Any]) -> Callable[..., None]:
    """What `dataclass` would write for fields that are nothing but a name and perhaps a default; a fifth of the time."""
    asked = ", ".join(f"{name}=defaults[{name!r}]" if name in defaults else name for name in names)
    lines = [f"def __init__(self, {asked}):", *(f" self.{name} = {name}" for name in names), " return None"]
    written: dict[str, Any] = {"defaults": defaults, "__name__": made.__module__}
    exec("\n".join(lines), written)  # noqa: S102 - as `dataclasses` does; the names are those of a class's own fields
    init: Callable[..., None] = written["__init__"]
    init.__qualname__ = f"{made.__qualname__}.__init__"
    return init


def _values(names: tuple[str, ...]) -> Callable[[Any], Any]:
    return attrgetter(*names) if names else lambda _: ()


def _equal(names: tuple[str, ...]) -> Callable[..., Any]:
    values = _values(names)

    def equal(self: Any, other: object) -> bool:
        return bool(values(self) == values(other)) if other.__class__ is self.__class__ else NotImplemented

    return equal


def _hash(names: tuple[str, ...]) -> Callable[..., Any]:
    values = _values(names)

    def hashed(self: Any) -> int:
        return hash(values(self))

    return hashed


def _repr(names: tuple[str, ...]) -> Callable[..., Any]:
    def shown(self: Any) -> str:
        return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return shown
