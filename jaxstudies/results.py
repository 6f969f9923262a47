"""What follows from a table of runs: measures by seed, the summary, verdicts, figures, the files that keep them."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from jaxstudies import configs
from jaxstudies.engine.design import Design
from jaxstudies.errors import StudyError
from jaxstudies.evidence import claims, intervals
from jaxstudies.evidence.claims import Verdict, judge_all
from jaxstudies.output import files, table
from jaxstudies.output.table import Shapes
from jaxstudies.output.words import STATISTICS, beside_statistics
from jaxstudies.study import Results, Study

if TYPE_CHECKING:  # it takes half a second, which who only runs need not wait
    from matplotlib.figure import Figure


def selector(runs: pd.DataFrame, axes: Mapping[str, tuple[str, ...]]) -> Callable[..., pd.Series]:
    """Return `of(measure, **labels)`, which returns a measure by seed.

    A label is the value of a column, or, by the name of one of the measure's axes, an index along
    it. The series is empty where no setting has the labels; truth values are 1 and 0, so that they
    subtract. It raises ValueError if several settings have the labels, KeyError if there is no such
    column.
    """

    @lru_cache(64, typed=True)  # the claims of a study ask for the same few labels time and again
    def have(name: str, value: object) -> np.ndarray:
        column = runs[name]
        near = np.isclose(column, value, 1e-9, 0.0) if isinstance(value, float) else column == value
        return np.asarray(column.isna() if value is None else near, bool)

    def of(measure: str, /, **labels: object) -> pd.Series:
        picks = {name: labels.pop(name) for name in axes.get(measure, ()) if name in labels}
        here = np.ones(len(runs), bool)
        for name, value in labels.items():
            here &= have(name, value)
        values = pd.Series(runs[measure].array[here], runs["seed"].array[here], name=measure)
        if values.index.has_duplicates:
            raise ValueError(f"{measure} with {labels}: several settings have these labels")
        if picks:
            place = tuple(picks.get(name, slice(None)) for name in axes[measure])
            values = values.map(lambda array: array[place], na_action="ignore")
        values = as_outcomes(values)
        return values.dropna().astype(np.int8) if pd.api.types.is_bool_dtype(values) else values

    return of


def as_outcomes(column: pd.Series) -> pd.Series:
    """Return a measure; truth values that some settings lack as such, and not as objects."""
    if column.dtype == object and {type(value) for value in column.dropna()} == {bool}:
        return column.astype("boolean")
    return column


def measures_of(runs: pd.DataFrame) -> list[str]:
    """Return the columns behind `seed`."""
    return list(runs.columns[list(runs.columns).index("seed") + 1 :])


def axis_of(study: Study, runs: pd.DataFrame, measure: str) -> str | None:
    """Return the name of a measure's axis, or None where it has none or several."""
    present = runs[measure].dropna()
    if runs[measure].dtype != object or not len(present) or np.ndim(present.iloc[0]) != 1:
        return None
    (name,) = study.AXES.get(measure, ("step",))
    return name


def summarize(study: Study, results: Results) -> pd.DataFrame:
    """Return a row per setting and measure: estimate and interval, and the runs left out.

    Outcomes have Wilson's interval, numbers Student's over the finite ones. Of an array with one
    axis the last entry is taken; those of more axes are left out.
    """
    runs, measures = results.runs, measures_of(results.runs)
    labels, columns = list(runs.columns[: -len(measures) - 1]), {}
    for measure in measures:
        if (column := as_outcomes(runs[measure])).dtype != object:
            columns[measure] = column
        elif (axis := axis_of(study, runs, measure)) is not None:
            columns[f"{measure}, last {axis}"] = column.map(lambda array: array[-1], na_action="ignore")
    labels = list(map(beside_statistics, labels))
    keys = [runs[name].rename(said) for name, said in zip(runs, labels, strict=False)]
    keys = keys or [pd.Series(0, runs.index, name="all")]
    ends, tables = ["estimate", "low", "high"], []
    for measure, column in columns.items():
        values = column.astype(float)
        groups = values.where(np.isfinite(values)).groupby(keys, sort=False, dropna=False)
        seen = groups.agg(n="count", total="sum", mean="mean", spread="std", size="size")
        n, total, mean, spread, size = (seen[name].to_numpy() for name in seen)
        outcome = pd.api.types.is_bool_dtype(column)
        interval = intervals.wilson_intervals(total, n) if outcome else intervals.t_intervals(mean, spread, n)
        seen = seen.assign(measure=measure, **dict(zip(ends, interval, strict=True)), nonfinite=size - n)
        tables.append(seen.reset_index()[[*labels, *STATISTICS]])
    if not tables:
        return pd.DataFrame(columns=[*labels, *STATISTICS])
    return pd.concat(tables).sort_index(kind="stable").reset_index(drop=True)


def judge(study: Study, results: Results) -> tuple[list[Verdict], pd.DataFrame]:
    """Return the verdicts on a study's claims, and the effects by seed that they rest on."""
    claims = study.CLAIMS if study.claims is None else study.claims(results)
    return judge_all(claims, selector(results.runs, study.AXES))


def summary_of(study: Study, results: Results) -> pd.DataFrame:
    """Return the study's summary, or the default one."""
    return study.summarize(results) if study.summarize else summarize(study, results)


def figures_of(study: Study, results: Results, summary: pd.DataFrame | None = None) -> "dict[str, Figure]":
    """Return the study's figures, or a default one: every measure over what varies, from the summary if it is there."""
    if study.plot:
        drawn = study.plot(results)
        return drawn if isinstance(drawn, dict) else {"figure": drawn}
    from jaxstudies.output import default_figures

    table = summarize(study, results) if study.summarize or summary is None else summary
    axes = {m: axis_of(study, results.runs, m) for m in measures_of(results.runs)}
    curves = {measure: axis for measure, axis in axes.items() if axis is not None}
    table = table[~table["measure"].str.contains(", last ")]
    return default_figures.draw_measures(table, results.runs, curves, study.question)


MOST_TRIED = 10_000
"""Settings of a design, at most, on which claims are tried before it is run."""


def try_claims(study: Study, design: Design, shapes: Shapes) -> None:
    """Take the effects of a study's claims from two runs of zeros, so that a slip shows before anything is run.

    Raises:
        StudyError: A claim asks for a measure or a label that is not there, or for several settings at once.
    """
    if not study.CLAIMS or design.num_settings > MOST_TRIED:
        return
    number = 2 * design.num_settings
    columns: dict[str, object] = {name: np.repeat(column, 2) for name, column in design.labels.items()}
    columns["seed"] = np.tile([0, 1], design.num_settings)
    for name, shape in shapes.items():
        zeros = np.zeros((number, *shape.shape), shape.dtype)
        columns[name] = zeros if zeros.ndim == 1 else list(zeros)
    of = selector(study.derive(pd.DataFrame(columns)), study.AXES)
    for claim in study.CLAIMS:
        try:
            with np.errstate(all="ignore"):
                claim.effect(of)
        except KeyError as error:
            known = ", ".join([*design.labels, *shapes])
            raise StudyError(f"claim {claim.id}: there is no {error}; there are: {known}") from error
        except (ValueError, IndexError) as error:
            raise StudyError(f"claim {claim.id}: {error}") from error


def read(study: Study, directory: Path) -> tuple[Results, dict]:
    """Return what a directory holds, and where it comes from.

    Raises:
        UnreadableRuns: There are no runs, or they cannot be read.
    """
    path = directory / "runs.parquet"
    origin = table.read_provenance(path)
    runs = table.read_runs(path, study.derive, study.condense)
    beside = {name: pd.DataFrame(columns) for name, columns in origin.pop("beside").items()}
    config = configs.from_json(study.Config, origin["config"])
    return Results(config, runs, beside.pop("times"), beside), origin


def write(
    directory: Path, origin: dict, verdicts: list[Verdict], effects: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> None:
    """Write beside the table of runs where it comes from, the verdicts, and tables by name."""
    files.write_json(directory / "config.json", origin)
    files.write_json(directory / "claims.json", claims.to_json(verdicts))
    claims.write_effects(directory / "effects.parquet", effects, table.content_digest(directory / "runs.parquet"))
    for name, rows in tables.items():
        files.write_csv(directory / f"{name}.csv", rows)
