"""When two functions are one: made anew with equal contents, they share a program; and which are kept."""

import contextlib
import dataclasses
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import partial
from types import FunctionType, MethodType
from typing import Any


class Latest(OrderedDict[Hashable, Any]):
    """The things that were kept or found last, at most so many."""

    def __init__(self, most: int):
        super().__init__()
        self.most = most

    def find(self, key: Hashable) -> Any:
        """Return what is kept under a key, or None."""
        try:
            self.move_to_end(key)
            return self[key]
        except KeyError:  # there is none, or another thread has just let go of it
            return None

    def keep(self, key: Hashable, thing: Any) -> Any:
        """Keep a thing, and return it."""
        self[key] = thing
        while len(self) > self.most:
            self.popitem(last=False)
        return thing


class Itself:
    """Any object, equal to itself alone."""

    def __init__(self, value: object):
        self.number = id(value)
        try:
            self.value = weakref.ref(value)  # so that an array goes when nobody else needs it
        except TypeError:
            self.value = lambda: value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Itself) and self.value() is other.value() is not None

    def __hash__(self) -> int:
        return self.number


def likeness(
    value: object, otherwise: Callable[[object], Hashable] = Itself, above: tuple[object, ...] = ()
) -> Hashable:
    """Return what is equal for values that can stand for one another in a program.

    Partials are alike if their functions and arguments are, functions if they were compiled from the same lines and
    have closed over what is alike. A lambda in a loop is made anew each time, as is a partial: told by identity, each
    would be compiled. What cannot be hashed, such as an array, is like itself alone, or what `otherwise` says; so is a
    function that calls itself, `above` being those around it.
    """

    def alike(part: object) -> Hashable:
        return likeness(part, otherwise, (*above, value))

    if any(value is other for other in above):
        return otherwise(value)
    if isinstance(value, partial):
        fixed = [*enumerate(value.args), *value.keywords.items()]
        return partial, alike(value.func), *((name, alike(part)) for name, part in fixed)
    if isinstance(value, MethodType):
        return MethodType, alike(value.__func__), alike(value.__self__)
    if isinstance(value, FunctionType) and not value.__dict__:
        inside = value.__defaults__ or (), tuple((value.__kwdefaults__ or {}).items()), tuple(cells(value))
        return FunctionType, value.__code__, Itself(value.__globals__), alike(inside)
    if isinstance(value, tuple):
        return type(value), *map(alike, value)
    try:
        hash(value)
    except TypeError:
        return otherwise(value)
    # 1 and 1.0 and True are equal, as are 0.0 and -0.0, but make different programs, in the fields of a value, too.
    inside = repr(value) if isinstance(value, float | frozenset) or dataclasses.is_dataclass(value) else ""
    return type(value), value, inside


def cells(function: FunctionType) -> list[object]:
    """Return what a function has closed over; what is not set yet is left out."""
    found = []
    for cell in function.__closure__ or ():
        with contextlib.suppress(ValueError):
            found.append(cell.cell_contents)
    return found
