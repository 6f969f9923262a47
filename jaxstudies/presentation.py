"""How a table of runs is shown: the summary, further tables, figures; the study's own, or the default."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxstudies.arguments import short
from jaxstudies.configs import Dataclass
from jaxstudies.errors import StudyError, study_errors
from jaxstudies.evidence import intervals
from jaxstudies.output.nonfinite import NonFinite, label_text
from jaxstudies.output.words import STATISTICS, beside_statistics
from jaxstudies.selection import as_outcomes
from jaxstudies.study import Results, Study

if TYPE_CHECKING:  # it takes half a second, which who only runs need not wait
    from matplotlib.figure import Figure


def labels_of(runs: pd.DataFrame) -> list[str]:
    """Return the columns before `seed`."""
    return list(runs.columns[: list(runs.columns).index("seed")])


def measures_of(runs: pd.DataFrame) -> list[str]:
    """Return the columns behind `seed`."""
    return list(runs.columns[list(runs.columns).index("seed") + 1 :])


def axis_of(study: Study, runs: pd.DataFrame, measure: str) -> str | None:
    """Return the name of a measure's axis, or None where it has none or several, or no entry along it."""
    present = runs[measure].dropna()
    if runs[measure].dtype != object or not len(present) or np.ndim(present.iloc[0]) != 1 or not len(present.iloc[0]):
        return None
    (name,) = study.AXES.get(measure, ("step",))
    return name


@np.errstate(all="ignore")
def summarize(study: Study, results: Results, wrong: NonFinite | None = None) -> pd.DataFrame:
    """Return a row per setting and measure: estimate and interval, and the runs left out.

    Outcomes have Wilson's interval, numbers Student's over the finite ones. Of an array with one
    axis the last entry is taken; those of more axes, or without entries, are left out. A measure that a setting has
    not, as `wrong` tells, is no run that went wrong.
    """
    runs, measures = results.runs, measures_of(results.runs)
    labels, columns = labels_of(runs), {}
    for measure in measures:
        if (column := as_outcomes(runs[measure])).dtype != object:
            columns[measure] = column
        elif (axis := axis_of(study, runs, measure)) is not None:
            columns[f"{measure}, last {axis}"] = column.map(lambda array: array[-1], na_action="ignore")
    # Numbers instead of names, since a factor may be called as a statistic.
    keys = [runs[name].rename(i) for i, name in enumerate(labels)] or [pd.Series(0, runs.index, name=0)]
    said = {i: beside_statistics(name) for i, name in enumerate(labels)}
    ends, tables = ["estimate", "low", "high"], []
    for measure, column in columns.items():
        values = column.astype(float)
        groups = values.where(np.isfinite(values)).groupby(keys, sort=False, dropna=False)
        seen = groups.agg(n="count", total="sum", mean="mean", spread="std", size="size")
        n, total, mean, spread, size = (seen[name].to_numpy() for name in seen)
        outcome = pd.api.types.is_bool_dtype(column)
        interval = intervals.wilson_intervals(total, n) if outcome else intervals.t_intervals(mean, spread, n)
        odd = np.where(_lack(seen.index, len(labels), measure.partition(", last ")[0], wrong), 0, size - n)
        seen = seen.assign(measure=measure, **dict(zip(ends, interval, strict=True)), nonfinite=odd)
        tables.append(seen.reset_index()[[*said, *STATISTICS]].rename(columns=said))
    if not tables:
        return pd.DataFrame(columns=[*said.values(), *STATISTICS])
    return pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)


def _lack(settings: pd.Index, num_labels: int, measure: str, wrong: NonFinite | None) -> np.ndarray:
    """Return which settings have not a measure."""
    if wrong is None or measure not in {name for _, name in wrong.lacking}:
        return np.zeros(len(settings), bool)
    keys = (key if num_labels > 1 else [key] for key in settings)
    return np.array([(tuple(map(label_text, key)), measure) in wrong.lacking for key in keys])


@np.errstate(all="ignore")  # of runs that diverged the table says NaN or infinity, and no warning need
def summary_of(study: Study, results: Results, wrong: NonFinite | None = None) -> pd.DataFrame:
    """Return the study's summary, or the default one; raise StudyError if its own is no data frame."""
    return _frame("summarize", study.summarize(results)) if study.summarize else summarize(study, results, wrong)


@np.errstate(all="ignore")
def tables_of(study: Study, results: Results) -> dict[str, pd.DataFrame]:
    """Return the study's further tables, and what it computes beside the runs; raise StudyError if one is none."""
    return frames("tables", study.tables(results)) | results.beside | {"times": results.times}


def beside_of(study: Study, config: Dataclass, remember: Callable) -> dict[str, pd.DataFrame]:
    """Return what a study computes beside the runs; raise StudyError if it is no tables that can be kept with these."""
    with study_errors("beside"):
        tables = frames("beside", study.beside(config, remember))
    if "times" in tables:
        raise StudyError("beside: the name times is that of the table of how long runs took")
    for name, rows in tables.items():
        for column in rows:
            try:
                json.dumps(rows[column].to_list())
            except (TypeError, ValueError) as error:
                raise StudyError(f"beside, {name!r}: column {column!r} is no numbers or texts ({error})") from error
    return tables


def frames(name: str, tables: object) -> dict[str, pd.DataFrame]:
    """Return what a function of a study's returns as tables by name; raise StudyError if it is none."""
    if not isinstance(tables, Mapping):
        raise StudyError(f"{name} returned {short(tables)}: DataFrames by name")
    return {str(key): _frame(f"{name}, {key!r}", rows) for key, rows in tables.items()}


def _frame(name: str, rows: object) -> pd.DataFrame:
    if not isinstance(rows, pd.DataFrame):
        raise StudyError(f"{name}: {short(rows)} is no DataFrame")
    return rows


def with_labels_apart(rows: pd.DataFrame, labels: Iterable[str], digits: int = 7) -> pd.DataFrame:
    """Return a table with those labels in full that so many significant digits would not tell apart."""

    def are_alike(levels: np.ndarray) -> bool:
        return len({f"{level:.{digits}g}" for level in levels}) < len(levels)

    floats = [name for name in labels if name in rows and pd.api.types.is_float_dtype(rows[name])]
    alike = [name for name in floats if are_alike(rows[name].dropna().unique())]
    return rows.assign(**{name: rows[name].astype(object) for name in alike})


def figures_of(study: Study, results: Results, summary: pd.DataFrame | None = None) -> "dict[str, Figure]":
    """Return the study's figures, or a default one: every measure over what varies, from the summary if it is there.

    Raises:
        StudyError: What `plot` returns is neither a figure, nor figures by name or one after another.
    """
    from jaxstudies.output import default_figures, plotting

    if study.plot:
        with plotting.tolerant():
            return _by_name(study.plot(results))
    table = summarize(study, results) if study.summarize or summary is None else summary
    axes = {m: axis_of(study, results.runs, m) for m in measures_of(results.runs)}
    curves = {measure: axis for measure, axis in axes.items() if axis is not None}
    table = table[~table["measure"].str.contains(", last ")]
    with plotting.tolerant():
        return default_figures.draw_measures(table, results.runs, curves, study.question)


def _by_name(drawn: object) -> "dict[str, Figure]":
    """Return what a study has drawn as figures by name."""
    from matplotlib.figure import Figure

    if isinstance(drawn, list | tuple):
        drawn = {f"figure_{number}": part for number, part in enumerate(drawn, 1)}
    named = drawn if isinstance(drawn, Mapping) else {} if drawn is None else {"figure": drawn}
    figures: dict[str, Figure] = {}
    for name, part in named.items():
        figure = getattr(part, "figure", part)  # axes and seaborn's grids know theirs
        if not isinstance(figure, Figure):
            place = f" as {name!r}" if isinstance(drawn, Mapping) else ""
            raise StudyError(f"plot returned {short(figure)}{place}: a figure, a list of figures, or figures by name")
        figures[str(name)] = figure
    return figures
