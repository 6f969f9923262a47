"""Designs: the settings of a simulation, grouped by what one launch can run.

Of what `simulate(key, a, b, *, c)` takes, what stands before the star is data and what stands behind it makes a
program of its own. Of the data, floats and arrays are mapped inside the seeds; integers and truth values are choices,
which share a program but take a launch each, since a loop bound or a branch that is mapped makes every run take the
longest way.
"""

import inspect
import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from jaxstudies.arguments import short
from jaxstudies.engine.functions import likeness
from jaxstudies.errors import warn

Simulate = Callable[..., object]
"""A pure function `simulate(key, ...)`: one run, arrays by name, see `measures`."""


class Setting(NamedTuple):
    """One point of a design: how its rows are labeled, and what `simulate` gets there.

    A study whose design is no product of tuples lists its settings in a function `settings(config)`.

    Examples:
        >>> from jaxstudies import Setting
        >>> shapes = [(1, 64), (2, 32)]
        >>> settings = [Setting({"shape": f"{d} x {w}"}, {"depth": d, "width": w}) for d, w in shapes]
        >>> settings[0].labels
        {'shape': '1 x 64'}
    """

    labels: dict[str, object]
    """What the columns before `seed` say, by their names."""
    arguments: dict[str, object]
    """What `simulate` gets, by the names of its parameters."""
    num_seeds: int | None = None
    """Seeds of this setting, if not those of all."""
    cost: float = 1.0
    """Time a run takes, in any unit, where settings differ: for the time left in the progress."""


class Group(NamedTuple):
    """Settings that one launch can run: they differ in nothing but what is mapped."""

    positions: np.ndarray
    """Their places in the design, ascending."""
    static: tuple[tuple[str, object], ...]
    """What makes the program."""
    fixed: dict[str, PyTree]
    """Data that they have in common."""
    mapped: dict[str, PyTree]
    """Data in which they differ, with a leading axis of settings; empty for a single setting."""
    num_seeds: int | None = None
    cost: float = 1.0


class Design(NamedTuple):
    """All settings: a column per label, and the groups that they fall into."""

    labels: dict[str, np.ndarray]
    groups: list[Group]

    @property
    def num_settings(self) -> int:
        """Number of settings."""
        return sum(len(group.positions) for group in self.groups)


def parameters(simulate: Simulate) -> tuple[list[str], list[str]]:
    """Return the names that stand before the star, the key left out, and those behind it."""
    filled: set[str] = set()
    while isinstance(simulate, partial) and not simulate.args:
        # What stands behind a parameter that is filled in by its name stands behind no star for that.
        filled, simulate = filled | set(simulate.keywords), simulate.func
    listed = inspect.signature(simulate).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    before = [p.name for p in listed if p.kind in positional][1:]
    behind = [p.name for p in listed if p.kind is inspect.Parameter.KEYWORD_ONLY]
    return [n for n in before if n not in filled], [n for n in behind if n not in filled]


class PythonNumbers(np.ndarray):
    """Numbers of Python, which in arithmetic take the type of the array that they meet, as they do in JAX."""


def as_array(value: object) -> np.ndarray | jax.Array:
    """Return numbers or an array as an array of a type that JAX has; raise ValueError if it does not hold them."""
    if isinstance(value, jax.Array):
        return value
    array = np.asarray(value)
    kind = jax.dtypes.canonicalize_dtype(array.dtype)
    if kind != array.dtype and kind.kind in "iu" and array.size:
        least, most = np.iinfo(kind).min, np.iinfo(kind).max
        if array.min() < least or array.max() > most:
            number = array.max() if array.max() > most else array.min()
            raise ValueError(
                f"{number} does not fit into {kind}; jax.config.update('jax_enable_x64', True) has 64 bits"
            )
    array = array.astype(kind, copy=False)
    return array.view(PythonNumbers) if type(value) in (int, float) else array


def is_numeric(leaf: object) -> bool:
    """Return whether something is a number or truth value or an array of them, small types of JAX's among them."""
    kind = leaf.dtype if isinstance(leaf, jax.Array) else np.asarray(leaf).dtype
    return jnp.issubdtype(kind, jnp.number) or jnp.issubdtype(kind, jnp.bool_)


def as_data(name: str, value: PyTree) -> PyTree:
    """Return what all runs share as arrays; raise TypeError where it is none, ValueError where it does not fit."""

    def array(leaf: object) -> np.ndarray | jax.Array:
        if not is_numeric(leaf) and not (
            isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        ):
            raise TypeError(
                f"{name} is {short(leaf)}, but what all runs share are arrays; what is none, simulate closes over"
            )
        try:
            return as_array(leaf)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error

    return jax.tree.map(array, value)


def is_mapped(name: str, value: PyTree) -> bool:
    """Return whether a datum is mapped, rather than a choice with a launch of its own."""
    leaves = jax.tree.leaves(value, is_leaf=lambda leaf: leaf is None)
    if not leaves or not all(leaf is not None and is_numeric(leaf) for leaf in leaves):
        raise TypeError(
            f"simulate's parameter {name!r} stands before the * and gets {short(value)}, but data are "
            "numbers or arrays; put it behind the *, where every value makes a program of its own"
        )
    return any(np.ndim(leaf) > 0 or jnp.issubdtype(np.asarray(leaf).dtype, jnp.floating) for leaf in leaves)


def check_static(name: str, value: object) -> object:
    """Return what stands behind the star; raise TypeError if it cannot be told from another, not being hashable."""
    try:
        hash(value)
    except TypeError as error:
        raise TypeError(
            f"simulate's parameter {name!r} stands behind the * and gets {short(value)}, which cannot be "
            "hashed; arrays stand before the *"
        ) from error
    return value


def label(value: object) -> object:
    """Return a level as the table holds it: a number, truth value, or text."""
    if isinstance(value, (np.ndarray, jax.Array, np.generic)) and np.ndim(value) == 0 and is_numeric(value):
        scalar = np.asarray(value)[()]
        # The shortest decimal that is this number in 32 bits: 0.1, not 0.10000000149.
        value = float(str(scalar)) if scalar.dtype.kind == "f" else scalar.item()
    if isinstance(value, tuple):
        return "-".join(str(label(part)) for part in value)
    if isinstance(value, partial):
        fixed = [str(label(part)) for part in value.args]
        fixed += [f"{name}={label(part)}" for name, part in value.keywords.items()]
        return f"{label(value.func)}({', '.join(fixed)})"
    plain = isinstance(value, (bool, int, float, str)) or value is None
    # Of a function its name; of nothing where it lies in memory, which is another in each process.
    return value if plain else re.sub(r" at 0x[0-9a-f]+", "", str(getattr(value, "__name__", value)))


def label_column(values: Iterable[object]) -> np.ndarray:
    """Return labels as a column; None in it makes it one of objects, and what is mixed with text is text."""
    values = list(values)
    kinds = {type(value) for value in values} - {type(None)}
    if len(kinds) > 1 and not kinds <= {int, float}:
        values = [value if value is None else str(value) for value in values]
    plain = None not in values and (kinds <= {bool} or kinds <= {int, float})
    return np.array(values, dtype=None if plain else object)


def stack(name: str, values: Iterable[PyTree]) -> PyTree:
    """Return arrays of equal shape as one, with a leading axis."""
    values = list(values)
    if set(map(type, values)) <= {int, float}:  # a million of them, perhaps
        return as_data(name, np.asarray(values)).view(PythonNumbers)
    return jax.tree.map(lambda *leaves: np.stack(leaves), *(as_data(name, value) for value in values))


def check_levels(name: str, values: tuple, static: bool) -> bool:
    """Return whether the levels of a factor are mapped; numbers are if any of them is a float."""
    if not values:
        raise ValueError(f"{name}: a factor needs a level")
    if len(set(labels := [label(value) for value in values])) < len(values):
        twice = next(text for text in labels if labels.count(text) > 1)
        raise ValueError(f"{name}: two of its levels have the same label, {twice}")
    if static:
        for value in values:
            check_static(name, value)
        return False
    # Of a million numbers one of each type is looked at.
    mapped = any([is_mapped(name, value) for value in {type(v): v for v in values}.values()])
    plain = {type(value) for value in values} <= {bool, int, float}
    return mapped and (plain or len({_shape(value) for value in values}) == 1)


def product_design(simulate: Simulate, levels: Mapping[str, tuple]) -> Design:
    """Return the product of factors, given the levels of each; the last one varies fastest.

    Raises:
        TypeError: A level is not what its parameter can take.
        ValueError: A factor has two levels that are labeled alike.
    """
    _, behind = parameters(simulate)
    names, sizes = list(levels), [len(values) for values in levels.values()]
    mapped_names = [n for n in names if check_levels(n, levels[n], n in behind)]
    inner = [n for n in mapped_names if len(levels[n]) > 1]
    outer = [n for n in names if n not in inner]
    # The place of each setting along each factor, and the settings' places, those mapped last.
    along = dict(zip(names, np.indices(sizes).reshape(len(names), math.prod(sizes)), strict=True))
    places = np.arange(math.prod(sizes)).reshape(sizes)
    places = places.transpose([names.index(n) for n in (*outer, *inner)])
    first = places[(0,) * len(outer)].ravel()
    mapped = {n: jax.tree.map(operator.itemgetter(along[n][first]), stack(n, levels[n])) for n in inner}
    groups = []
    for index in np.ndindex(*(len(levels[n]) for n in outer)):
        chosen = {n: levels[n][i] for n, i in zip(outer, index, strict=True)}
        fixed = {n: as_data(n, v) for n, v in chosen.items() if n not in behind}
        static = tuple((n, v) for n, v in chosen.items() if n in behind)
        groups.append(Group(places[index].ravel(), static, fixed, mapped))
    return Design({n: label_column(map(label, levels[n]))[along[n]] for n in names}, groups)


def make_design(simulate: Simulate, settings: Iterable[Setting]) -> Design:
    """Return settings that are no product, grouped.

    Raises:
        ValueError: There are none, two have the same labels, or not the same names of labels.
        TypeError: An argument is not what its parameter can take.
    """
    listed = list(settings)
    if not listed:
        raise ValueError("settings: there must be at least one")
    names = list(listed[0].labels)
    if any(list(setting.labels) != names for setting in listed):
        raise ValueError("settings: all must have the same labels, in the same order")
    rows = [tuple(label(setting.labels[name]) for name in names) for setting in listed]
    if len(set(rows)) < len(rows):
        raise ValueError("settings: two have the same labels, so that their rows could not be told")
    _, behind = parameters(simulate)
    members: dict[tuple, list[int]] = {}
    for i, setting in enumerate(listed):
        members.setdefault(_kind(setting, behind), []).append(i)
    for name in behind:
        _say_what_is_made_anew(name, [setting.arguments[name] for setting in listed if name in setting.arguments])
    groups = [_group([listed[i] for i in places], places, behind) for places in members.values()]
    return Design({n: label_column(row[i] for row in rows) for i, n in enumerate(names)}, groups)


class MadeAnew(UserWarning):
    """Values of which each makes a program, and seemingly for nothing."""


def _say_what_is_made_anew(name: str, values: list[object]) -> None:
    programs, kinds = len({likeness(value) for value in values}), len({likeness(value, type) for value in values})
    if programs > kinds:
        warn(
            f"simulate's parameter {name!r} makes {programs} programs where {kinds} might do: its values have closed "
            "over objects of which it cannot be told that they are equal, such as arrays; make them once",
            MadeAnew,
        )


def _kind(setting: Setting, behind: list[str]) -> tuple:
    """Return what settings have in common if one launch can run them."""
    parts: list[object] = [setting.num_seeds]
    for name, value in setting.arguments.items():
        if name in behind:
            parts.append((name, likeness(check_static(name, value))))
        elif is_mapped(name, value):
            parts.append((name, _shape(value)))
        else:
            parts.append((name, jax.tree.structure(value), *map(int, jax.tree.leaves(value))))
    return tuple(parts)


def _shape(value: PyTree) -> tuple:
    """Return what data that are mapped have in common."""
    leaves, structure = jax.tree.flatten(value)
    return structure, tuple(kind_of(as_array(leaf)) for leaf in leaves)


def kind_of(array: np.ndarray | jax.Array | jax.ShapeDtypeStruct) -> tuple:
    """Return shape and type of an array, and whether it is of Python's numbers."""
    return np.shape(array), str(array.dtype), isinstance(array, PythonNumbers)


def _group(settings: list[Setting], places: list[int], behind: list[str]) -> Group:
    first, fixed, mapped = settings[0], {}, {}
    for name in (n for n in first.arguments if n not in behind):
        values = [setting.arguments[name] for setting in settings]
        if all(_same(values[0], value) for value in values):
            fixed[name] = as_data(name, values[0])
        else:
            mapped[name] = stack(name, values)
    static = tuple((name, value) for name, value in first.arguments.items() if name in behind)
    cost = float(np.mean([setting.cost for setting in settings]))
    return Group(np.array(places), static, fixed, mapped, first.num_seeds, cost)


def _same(value: PyTree, other: PyTree) -> bool:
    pairs = zip(jax.tree.leaves(value), jax.tree.leaves(other), strict=True)
    return all(a is b or np.array_equal(a, b, equal_nan=True) for a, b in pairs)
