"""When two functions are one: made anew with equal contents, they share a program."""

from collections.abc import Hashable
from functools import partial
from types import FunctionType, MethodType


class _Itself:
    """Any object, equal to itself alone."""

    def __init__(self, value: object):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def likeness(value: object) -> Hashable:
    """Return what is equal for values that can stand for one another in a program.

    Partials are alike if their functions and arguments are, functions if they were compiled from the same lines and
    have closed over what is alike; an object that cannot be hashed is like itself alone. A lambda in a loop is made
    anew each time, as is a partial: told by identity, each would be compiled.
    """
    if isinstance(value, partial):
        fixed = [*enumerate(value.args), *value.keywords.items()]
        return partial, likeness(value.func), *((name, likeness(part)) for name, part in fixed)
    if isinstance(value, MethodType):
        return MethodType, likeness(value.__func__), likeness(value.__self__)
    if isinstance(value, FunctionType) and not value.__dict__:
        closed = tuple(cell.cell_contents for cell in value.__closure__ or ())
        inside = value.__defaults__ or (), tuple((value.__kwdefaults__ or {}).items()), closed
        return FunctionType, value.__code__, _Itself(value.__globals__), likeness(inside)
    if type(value) is tuple:
        return tuple, *map(likeness, value)
    try:
        hash(value)
    except TypeError:
        return _Itself(value)
    return type(value), value  # 1 and 1.0 and True are equal, but make different programs
