"""Arguments of the library, checked before anything runs: errors name the argument, the value, and what is allowed."""

import operator
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def short(value: object) -> str:
    """Return a value in one line, and no long one."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:60]}..."


def whole(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return a whole number, of Python, NumPy or JAX.

    Raises:
        TypeError: It is no whole number.
        ValueError: It is out of bounds.
    """
    allowed = f"a whole number from {low:,}" + (f" to {high:,}" if high is not None else "")
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError as error:
        raise TypeError(f"{name} {short(value)}: {allowed}") from error
    if isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} {short(value)}: {allowed}")
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} {number}: {allowed}")
    return number


def optional(name: str, value: object, low: int) -> int | None:
    """Return a whole number or None."""
    return None if value is None else whole(name, value, low)


def path(name: str, value: object) -> Path:
    """Return a directory's path.

    Raises:
        TypeError: It is no text or path.
        ValueError: It is empty.
    """
    if not isinstance(value, str | Path):
        raise TypeError(f"{name} {short(value)}: the path of a directory, as text or Path")
    if not str(value) or "\0" in str(value):
        raise ValueError(f"{name} {short(str(value))}: the path of a directory; '.' is the current one")
    return Path(value)


def simulation(value: object) -> None:
    """Raise TypeError unless what is given as `simulate` can be called."""
    if not callable(value):
        raise TypeError(f"simulate {short(value)}: a function `simulate(key, ...)` that returns arrays by name")


def levels(name: str, value: object) -> object:
    """Return the value of a config: a tuple of levels of a factor, or one level.

    Raises:
        TypeError: It cannot be told whether it is one level or several, or in which order they are.
    """
    if isinstance(value, list | range):
        return tuple(value)
    array = getattr(value, "ndim", 0) > 0  # of NumPy, pandas or JAX, which need not be imported for it
    if array or hasattr(value, "__next__") or isinstance(value, set | frozenset):
        raise TypeError(
            f"config: {name!r} is {'an array' if array else f'a {type(value).__name__}'}; the levels of a factor are "
            "a tuple or list, and an array that all runs share belongs into `data`"
        )
    return value


def names(argument: str, value: object) -> None:
    """Raise TypeError unless a value is a mapping from names of parameters."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{argument} {short(value)}: a mapping by the names of parameters of simulate")
    for name in value:
        if not isinstance(name, str) or not name.isidentifier():
            raise TypeError(f"{argument}: {name!r} is no name of a parameter")
