"""Designs: the settings of a simulation, grouped by what one launch can run.

Of what `simulate(key, a, b, *, c)` takes, what stands before the star is data and what stands behind it makes a
program of its own. Of the data, floats and arrays are mapped inside the seeds; integers and truth values are choices,
which share a program but take a launch each, since a loop bound or a branch that is mapped makes every run take the
longest way.
"""

import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
import pandas as pd
from jaxtyping import PyTree

from jaxstudies.arguments import optional
from jaxstudies.engine.functions import likeness
from jaxstudies.engine.levels import as_data, check_static, is_mapped, is_same, label, label_column, shape_of, stack
from jaxstudies.errors import Notice, warn

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


def limited(design: Design, limits: np.ndarray) -> Design:
    """Return a design of whose settings some have a limited number of seeds each; a limit of 0 is none."""
    groups = []
    for group in design.groups:
        here = limits[group.positions]
        for limit in dict.fromkeys(here.tolist()):
            chosen = np.flatnonzero(here == limit)
            mapped = jax.tree.map(operator.itemgetter(chosen), group.mapped)
            most = min((number for number in (group.num_seeds, limit) if number), default=None)
            groups.append(group._replace(positions=group.positions[chosen], mapped=mapped, num_seeds=most))
    return design._replace(groups=groups)


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


def check_levels(name: str, values: tuple, static: bool) -> bool:
    """Return whether the levels of a factor are mapped; numbers are if any of them is a float."""
    if not values:
        raise ValueError(f"{name}: a factor needs a level")
    labels = pd.Series(label_column(map(label, values)))  # where they are mixed with text, a number is its text
    if len(twice := labels[labels.duplicated()]):
        raise ValueError(f"{name}: two of its levels have the same label, {twice.iloc[0]}")
    if static:
        for value in values:
            check_static(name, value)
        return False
    # Of a million numbers one of each type is looked at.
    mapped = any([is_mapped(name, value) for value in {type(v): v for v in values}.values()])
    plain = {type(value) for value in values} <= {bool, int, float}
    return mapped and (plain or len({shape_of(value) for value in values}) == 1)


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
    if "seed" in names:
        raise ValueError("settings: a label 'seed', which is the column of the seeds")
    labels = {name: label_column(label(setting.labels[name]) for setting in listed) for name in names}
    check_told_apart(pd.DataFrame(labels, range(len(listed))))
    listed = [setting._replace(num_seeds=optional("num_seeds", setting.num_seeds, 1)) for setting in listed]
    _, behind = parameters(simulate)
    members: dict[tuple, list[int]] = {}
    for i, setting in enumerate(listed):
        members.setdefault(_kind(setting, behind), []).append(i)
    for name in behind:
        _say_what_is_made_anew(name, [setting.arguments[name] for setting in listed if name in setting.arguments])
    groups = [_group([listed[i] for i in places], places, behind) for places in members.values()]
    return Design(labels, groups)


def check_told_apart(labels: pd.DataFrame) -> None:
    """Raise ValueError if two settings have the same labels; without any label there is one."""
    if labels.duplicated().any() or (labels.columns.empty and len(labels) > 1):
        raise ValueError("settings: two have the same labels, so that their rows could not be told")


class Points(NamedTuple):
    """Very many settings that differ in numbers alone."""

    labels: dict[str, object]
    """What all of them are labeled."""
    columns: dict[str, np.ndarray]
    """A number of each setting, by the name of a parameter of `simulate` and of a label."""
    arguments: dict[str, object]
    """What `simulate` gets behind the star, by the names of its parameters."""
    num_seeds: int | None = None
    """Seeds of these settings, if not those of all."""


def points_design(parts: Iterable[Points]) -> Design:
    """Return settings given as columns, a group of each part, in the order in which they stand.

    Settings that stand together are run together.

    Raises:
        ValueError: There are none, or two have the same labels.

    Examples:
        >>> import numpy as np
        >>> from jaxstudies.engine.design import Points, points_design
        >>> part = Points({"kind": "a"}, {"x": np.linspace(0, 1, 1000)}, {"kind": "a"})
        >>> points_design([part]).num_settings
        1000
    """
    groups, labels, start = [], [], 0
    for part in parts:
        size = len(next(iter(part.columns.values())))
        static = tuple((name, check_static(name, value)) for name, value in part.arguments.items())
        mapped = {name: as_data(name, column) for name, column in part.columns.items()}
        groups.append(Group(np.arange(start, start + size), static, {}, mapped, part.num_seeds))
        said = {name: label_column([label(value)]) for name, value in part.labels.items()}
        labels.append(pd.DataFrame({name: np.repeat(one, size) for name, one in said.items()} | part.columns))
        start += size
    if start == 0:
        raise ValueError("settings: there must be at least one")
    table = pd.concat(labels, ignore_index=True)
    check_told_apart(table)
    return Design({str(name): column.to_numpy() for name, column in table.items()}, groups)


class MadeAnew(Notice):
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
            parts.append((name, shape_of(value)))
        else:
            parts.append((name, shape_of(value), *map(int, jax.tree.leaves(value))))
    return tuple(parts)


def _group(settings: list[Setting], places: list[int], behind: list[str]) -> Group:
    first, fixed, mapped = settings[0], {}, {}
    for name in (n for n in first.arguments if n not in behind):
        values = [setting.arguments[name] for setting in settings]
        if all(is_same(values[0], value) for value in values):
            fixed[name] = as_data(name, values[0])
        else:
            mapped[name] = stack(name, values)
    static = tuple((name, value) for name, value in first.arguments.items() if name in behind)
    cost = float(np.mean([setting.cost for setting in settings]))
    return Group(np.array(places), static, fixed, mapped, first.num_seeds, cost)
