"""The numbers of a C++ program and the statements that make them.

Each number is a lane's, and then a vector over networks on a CPU and one thread's own on a card; or it is the same for
all networks, and then a scalar.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["float", "int", "bool"]
TYPES = {"float": "v", "int": "iv", "bool": "m"}
LANES = {"float": "V", "int": "IV", "bool": "M"}
MOST_STATEMENTS = 20_000
"""Statements that are written out before it is given up."""


class Refused(Exception):
    """What stands in the way of a fused kernel, in words that follow `cannot be one kernel:`."""


@dataclass(frozen=True, eq=False)
class Number:
    """A number of the program: a name, or a constant with its value; `lanes` if networks differ in it."""

    text: str
    kind: Kind
    lanes: bool
    value: float | int | bool | None = None

    @property
    def type(self) -> str:
        """Return its type in the program."""
        return type_of(self.kind, self.lanes)


def type_of(kind: Kind, lanes: bool) -> str:
    """Return the type of a number in the program."""
    return TYPES[kind] if lanes else kind


def check_size(numbers: int) -> None:
    """Raise Refused for more numbers than could be written out, before they are taken apart."""
    if numbers > MOST_STATEMENTS:
        raise Refused(f"{numbers:,} numbers are too many, of {MOST_STATEMENTS:,}")


def kind_of(dtype: Any) -> Kind:
    """Return the kind of number that a dtype holds.

    Raises:
        Refused: It is another than float32, int32 and bool.
    """
    kinds: dict[str, Kind] = {"float32": "float", "int32": "int", "bool": "bool"}
    if str(dtype).startswith("key<"):
        raise Refused("random numbers in training, such as those of dropout")
    if str(dtype) not in kinds:
        raise Refused(f"numbers of type {dtype}")
    return kinds[str(dtype)]


def constant(value: Any, kind: Kind) -> Number:
    """Return a constant of the program."""
    if kind == "bool":
        return Number("true" if value else "false", kind, False, bool(value))
    if kind == "int":
        return Number(f"({int(value)})", kind, False, int(value))
    number = float(np.float32(value))
    if np.isnan(number):
        return Number("NOT_A_NUMBER", kind, False, number)
    if np.isinf(number):
        return Number("INFINITE" if number > 0 else "(-INFINITE)", kind, False, number)
    return Number(f"({number!r}f)", kind, False, number)


def constants(array: Any) -> np.ndarray:
    """Take an array of known numbers apart."""
    array = np.asarray(array)
    check_size(array.size)
    out, kind = np.empty(array.shape, object), kind_of(array.dtype)
    for index in np.ndindex(array.shape):
        out[index] = constant(array[index], kind)
    return out


def scalar(number: Number) -> np.ndarray:
    """Return a number as an array without axes."""
    out = np.empty((), object)
    out[()] = number
    return out


class Program:
    """The statements written so far; what was written once is not written again.

    If it is `rolled`, products of matrices are loops.
    """

    def __init__(self, rolled: bool = False):
        self.rolled = rolled
        self.lines: list[str] = []
        self._names = itertools.count()
        self._known: dict[str, Number] = {}
        self._kept: dict[tuple[str, ...], str] = {}

    def write(self, text: str, kind: Kind, lanes: bool) -> Number:
        """Give an expression a name."""
        if text not in self._known:
            if len(self.lines) >= MOST_STATEMENTS:
                raise Refused(f"more than {MOST_STATEMENTS:,} operations")
            name = f"t{next(self._names)}"
            self.lines.append(f"const {type_of(kind, lanes)} {name} = {text};")
            self._known[text] = Number(name, kind, lanes)
        return self._known[text]

    def call(self, form: str, kind: Kind, *numbers: Number) -> Number:
        """Write a form with the numbers in the places of its braces, spread over the lanes if any of them is."""
        lanes = any(number.lanes for number in numbers)
        texts = (n.text if n.lanes or not lanes else f"{LANES[n.kind]}({n.text})" for n in numbers)
        return self.write(form.format(*texts), kind, lanes)

    def array(self, size: int) -> str:
        """Make place in memory for numbers in which networks differ, and return its name."""
        name = f"q{next(self._names)}"
        self.lines.append(f"v {name}[{size}];")
        return name

    def keep(self, texts: Sequence[str]) -> str:
        """Put numbers in which networks differ side by side in memory, and return the name of that."""
        if (kept := tuple(texts)) not in self._kept:
            self._kept[kept] = name = self.array(len(texts))
            self.lines += [f"{name}[{i}] = {text};" for i, text in enumerate(texts)]
        return self._kept[kept]


def spread(number: Number) -> str:
    """Return a number as a lane's own."""
    return number.text if number.lanes else f"{LANES[number.kind]}({number.text})"
