"""What a claim's effect is taken from: a measure by seed, under labels."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeVar

import numpy as np
import pandas as pd

from jaxstudies import configs
from jaxstudies.engine.design import label
from jaxstudies.evidence.verdicts import Unanswerable
from jaxstudies.study import Results


def have_label(column: pd.Series | np.ndarray, value: object, rtol: float = 1e-9) -> np.ndarray:
    """Return which rows of a column of labels have one, as truth values of shape (rows,).

    The label is taken as a table holds it: a 32-bit 0.1 is 0.1, None is what is missing, and where levels are mixed
    with text a number is its text. A float that no row has to the bit is met by those within `rtol`, relative to it.
    """
    levels, value = pd.Series(column), label(value)
    if value is None or value != value:
        return levels.isna().to_numpy(bool)
    here = _truth(levels == value)
    is_number = pd.api.types.is_numeric_dtype(levels)
    if not is_number:
        here = here | _truth(levels == str(value))
    if here.any() or not isinstance(value, float):
        return here
    if not is_number:
        levels = pd.to_numeric(levels.astype(object), errors="coerce")
    return np.isclose(levels.to_numpy(float, na_value=np.nan), value, rtol, 0.0)


def _truth(compared: pd.Series) -> np.ndarray:
    """Return truth values, False where a level is missing."""
    return compared.fillna(False).to_numpy(bool)


def open_labels(columns: Mapping[str, pd.Series | np.ndarray]) -> str:
    """Return in words the labels of which rows have several levels, and the first of these."""
    levels = {name: pd.Series(column).drop_duplicates().tolist() for name, column in columns.items()}
    known = {name: [None if pd.isna(level) else level for level in found] for name, found in levels.items()}
    said = {
        name: ", ".join([*map(str, found[:8]), *(["..."] if len(found) > 8 else [])]) for name, found in known.items()
    }
    return "; ".join(f"{name}: {said[name]}" for name, found in known.items() if len(found) > 1)


class BySeed(pd.Series):
    """A measure by seed. Comparisons, as arithmetic, are of the seeds that both sides have: a setting may stop."""

    @property
    def _constructor(self) -> type["BySeed"]:
        return BySeed


def _compared(name: str) -> Callable[[pd.Series, object], pd.Series]:
    def compare(self: pd.Series, other: object) -> pd.Series:
        if isinstance(other, pd.Series):
            self, other = self.align(other, join="inner")
        return getattr(pd.Series, name)(self, other)

    return compare


for _name in ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__"):
    setattr(BySeed, _name, _compared(_name))


T = TypeVar("T")


class Selector:
    """`of(measure, **labels)`, which returns a measure by seed: what a claim's effect is taken from.

    A label is the value of a column, or, by the name of one of the measure's axes, an index along it. The series is
    empty where no setting has the labels. Numbers have 64 bits, those of arrays too; truth values are 1.0 and 0.0.
    """

    def __init__(self, results: Results, axes: Mapping[str, tuple[str, ...]]):
        self._results, self._axes, self._shared = results, axes, {}
        self._asked: list[dict[str, object]] | None = []
        self._lacking = ""
        # The claims of a study ask for the same few labels time and again.
        self._have = lru_cache(64, typed=True)(lambda name, value: have_label(results.runs[name], value))

    @property
    def results(self) -> Results:
        """All that was run, where a measure under labels does not do."""
        self._asked = None
        return self._results

    def take_asked(self) -> list[dict[str, object]] | None:
        """Return the labels that were asked for since this was called last; None if all settings may have been seen."""
        asked, self._asked = self._asked, []
        return asked

    def take_lacking(self) -> str:
        """Return in words the first labels since this was called last that no run has; empty if runs have all."""
        lacking, self._lacking = self._lacking, ""
        return lacking

    def shared(self, compute: Callable[[Results], T]) -> T:
        """Return what a function makes of all results, computed once for all claims."""
        self._asked = None
        if compute not in self._shared:
            self._shared[compute] = compute(self._results)
        return self._shared[compute]

    def __call__(self, measure: str, /, **labels: object) -> pd.Series:
        """Return a measure by seed.

        Raises:
            Unanswerable: There is no such column, several settings have the labels, or an index lies beyond an axis.
        """
        runs, names = self._results.runs, list(self._results.runs.columns)
        picks = {name: labels.pop(name) for name in self._axes.get(measure, ()) if name in labels}
        for name in (measure, *labels):
            if name not in names:
                known = ", ".join(str(name) for name in names if name != "seed")
                raise Unanswerable(f"there is no {name!r}; there are: {known}")
        labels = {name: label(value) for name, value in labels.items()}
        if self._asked is not None:
            self._asked.append({name: configs.plain(value) for name, value in labels.items()})
        here = np.ones(len(runs), bool)
        for name, value in labels.items():
            here &= self._have(name, value)
        if labels and not here.any() and not self._lacking:
            self._lacking = f"no run has {', '.join(f'{name} {value}' for name, value in labels.items())}"
        values = pd.Series(runs[measure].array[here], runs["seed"].array[here], name=measure)
        if values.index.has_duplicates:
            open_ = open_labels({name: runs[name][here] for name in names[: names.index("seed")]})
            raise Unanswerable(
                f"{measure} with {labels}: several settings have these labels ({open_ or 'no label differs'})"
            )
        if picks:
            place = tuple(picks.get(name, slice(None)) for name in self._axes[measure])
            try:
                values = values.map(lambda array: array[place], na_action="ignore")
            except IndexError as error:
                sizes = dict(zip(self._axes[measure], np.shape(values.dropna().iloc[0]), strict=True))
                known = ", ".join(f"{name} from 0 to {sizes[name] - 1}" for name in picks)
                raise Unanswerable(f"{measure} with {picks}: an index along its axes is {known}") from error
        return BySeed(_wide(values))


def as_outcomes(column: pd.Series) -> pd.Series:
    """Return a measure; truth values that some settings lack as such, and not as objects."""
    if column.dtype == object and {type(value) for value in column.dropna()} == {bool}:
        return column.astype("boolean")
    return column


def _wide(values: pd.Series) -> pd.Series:
    """Return a measure with 64 bits, so that its arithmetic does not wrap or overflow at less."""
    values = as_outcomes(values)
    if pd.api.types.is_bool_dtype(values):
        # As integers, ~ would make -2 and -1 of them, and say nothing.
        return values.dropna().astype(float)
    if len(values) and values.isna().all():
        return values.astype(float)
    if values.dtype == object:
        return values.map(lambda a: _with_64_bits(a) if isinstance(a, np.ndarray) else a, na_action="ignore")
    if isinstance(values.dtype, np.dtype):
        return pd.Series(_with_64_bits(values.to_numpy()), values.index, name=values.name)
    return values


def _with_64_bits(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "f":
        return array.astype(np.float64)
    if array.dtype.kind in "iu":
        return array.astype(np.int64 if array.max(initial=0) <= np.iinfo(np.int64).max else np.float64)
    return array
