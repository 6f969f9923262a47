"""Charts of a summary: every setting with its interval, drawn so that each mark says what it is.

They are SVG that is written here and that a small script answers for, and not a chart library's: nothing has to be
bundled into the page or compiled in the browser, which the page's security policy forbids; they print, and they are
there without JavaScript, too.
"""

import contextlib
import math
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from jaxstudies.output import owned

WIDTH, ROW, MAP = 720.0, 18.0, 26.0
"""Of a chart, of a row of settings, and the least height of a map's row, in its own units."""
MOST = 1200
"""Marks of a chart, at most."""
MOST_LINES = 40
"""Lines of a chart, at most: among more nobody finds one again."""
MANY = 4
"""Levels from which on numbers are an axis, and no names."""
ENDS = ("low", "high")


class Mark(NamedTuple):
    """One setting: where it stands, and what is said of it."""

    said: str
    group: int
    x: float
    y: float
    low: float
    high: float
    """Ends of its interval along the axis of values; of a map, the sizes of its cell."""
    share: float = 0.0
    """Of a map, from 0 to 1 how far its value lies between the least and the most."""
    row: Mapping[Hashable, Any] = {}
    """Of a map, its row of the summary."""


class Chart(NamedTuple):
    """A chart of one measure."""

    kind: str
    """`rows`, `lines` or `map`."""
    title: str
    size: tuple[float, float]
    marks: list[Mark]
    names: list[tuple[float, float, str, str]]
    """Words beside the axes: where, what, and which part of them stands there."""


def charts_of(directory: Path | None) -> list[Chart]:
    """Return charts of the summary in a directory, none where there is none that is understood."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, IndexError, OverflowError):
        if directory is not None and (directory / owned.SUMMARY).is_file():
            return list(_charts(pd.read_csv(directory / owned.SUMMARY)))
    return []


def _charts(summary: pd.DataFrame) -> Iterator[Chart]:
    """Yield the charts of each measure."""
    columns = list(summary)
    if "measure" in columns:
        labels = columns[: columns.index("measure")]
        for name, rows in list(summary.groupby("measure", sort=False))[:12]:
            yield from _charts_of(str(name), rows, labels, ("estimate", *ENDS))
        return
    labels = columns[: columns.index("n")]
    triples = [(name, f"{name}_low", f"{name}_high") for name in columns if f"{name}_low" in columns]
    if "low" in columns:
        triples.insert(0, (columns[columns.index("low") - 1], *ENDS))
    for triple in triples:
        if set(triple) <= set(columns):
            yield from _charts_of(triple[0], summary, labels, triple)


def _charts_of(title: str, rows: pd.DataFrame, labels: list[str], triple: tuple[str, ...]) -> Iterator[Chart]:
    """Yield the charts of a measure: maps over two axes, lines over one, or rows."""
    rows = rows[np.isfinite(rows[list(triple)].to_numpy(float)).all(axis=1)].reset_index(drop=True)
    labels = [name for name in labels if rows[name].nunique(dropna=False) > 1]
    if not 2 <= len(rows) <= MOST or not labels:
        return
    said = [_said(row, labels, title, triple) for row in rows.to_dict("records")]
    axes = [name for name in labels if _is_axis(rows[name])]
    values = {end: rows[name].to_numpy(float) for end, name in zip(("at", *ENDS), triple, strict=True)}
    title, others = title.replace("_", " "), [name for name in labels if name not in axes]
    groups = [rows] if not others else [group for _, group in rows.groupby(others, sort=False, dropna=False)]
    if len(axes) == 2 and len(groups) <= 4 and not any(group[axes].duplicated().any() for group in groups):
        for group in groups:
            words = ", ".join([title, *(short(group[name].iloc[0]) for name in others)])
            yield _map(words, group, axes, values["at"], said)
    elif len(rows) <= 40 or (not axes and len(rows) <= 120):
        yield _rows(title, rows, labels, values, said)
    elif axes:
        axis = max(axes, key=lambda name: rows[name].nunique())
        others = [name for name in labels if name != axis]
        if not others or rows[others].drop_duplicates().shape[0] <= MOST_LINES:
            yield _lines(title, rows, axis, others, values, said)


def _is_axis(levels: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(levels) and levels.nunique() >= MANY and bool(np.isfinite(levels).all())


def _said(row: Mapping[Hashable, Any], labels: list[str], title: str, triple: tuple[str, ...]) -> str:
    setting = ", ".join(f"{name.replace('_', ' ')} {short(row[name])}" for name in labels)
    at, low, high = (short(row[name]) for name in triple)
    of = f", n = {row['n']:,.0f}" if "n" in row else ""
    return f"{setting}: {title.replace('_', ' ')} {at} [{low}, {high}]{of}"


def short(value: object) -> str:
    """Return a number to four digits, or a word."""
    return f"{value:.4g}".replace("-", "−") if isinstance(value, float) else str(value)


def _scaled(values: Any, least: float, most: float, start: float, end: float) -> Any:
    """Return values between two numbers, an array of any shape, as places."""
    return np.round(start + (end - start) * (values - least) / ((most - least) or 1.0), 1)


def _ticked(least: float, most: float, start: float, end: float) -> list[tuple[float, str]]:
    """Return places of round numbers between two, with these."""
    ticks = _ticks(least, most)
    return [(float(_scaled(tick, least, most, start, end)), short(tick)) for tick in ticks]


def _ticks(least: float, most: float) -> list[float]:
    """Return few round numbers between two."""
    step = 10.0 ** math.floor(math.log10((most - least) or 1.0))
    step = next(s for s in (step / 5, step / 2, step, 2 * step) if (most - least) / s <= 6)
    return [float(f"{k * step:.10g}") for k in range(math.ceil(least / step), math.floor(most / step) + 1)]


def _rows(title: str, rows: pd.DataFrame, labels: list[str], values: dict, said: list[str]) -> Chart:
    """Draw a row for each setting, with its interval."""
    ends, span = (values["low"].min(), values["high"].max()), (290, WIDTH - 15)
    along = {name: _scaled(numbers, *ends, *span) for name, numbers in values.items()}
    listed = [", ".join(short(row[name]) for name in labels) for row in rows.to_dict("records")]
    listed = [name if len(name) <= 48 else f"{name[:47]}…" for name in listed]
    foot = ROW * (len(rows) + 1) + 12
    names = [(280.0, ROW * (i + 1) + 4, name, "end") for i, name in enumerate(listed)]
    names += [(x, foot, text, "middle") for x, text in _ticked(*ends, *span)]
    at, low, high = along["at"], along["low"], along["high"]
    marks = [Mark(text, i, at[i], ROW * (i + 1), low[i], high[i]) for i, text in enumerate(said)]
    return Chart("rows", title, (WIDTH, foot + 8), marks, names)


def _lines(title: str, rows: pd.DataFrame, axis: str, others: list[str], values: dict, said: list[str]) -> Chart:
    """Draw values over an axis, with a group for each of the other labels' levels."""
    ends, span = (values["low"].min(), values["high"].max()), (290, 15)
    up = {name: _scaled(numbers, *ends, *span) for name, numbers in values.items()}
    numbers = rows[axis].to_numpy(float)
    sides = numbers.min(), numbers.max(), 70, WIDTH - 20
    along = _scaled(numbers, *sides)
    groups = np.asarray(rows.groupby(others, sort=False, dropna=False).ngroup() if others else np.zeros(len(rows), int))
    names = [(60.0, y + 4, text, "end") for y, text in _ticked(*ends, *span)]
    names += [(x, 312.0, text, "middle") for x, text in _ticked(*sides)]
    order = np.lexsort([along, groups]).tolist()
    marks = [Mark(said[i], int(groups[i]), along[i], up["at"][i], up["low"][i], up["high"][i]) for i in order]
    return Chart("lines", f"{title} over {axis.replace('_', ' ')}", (WIDTH, 325), marks, names)


def _map(title: str, rows: pd.DataFrame, axes: list[str], values: np.ndarray, said: list[str]) -> Chart:
    """Draw a cell for each pair of levels, the first factor along the width."""
    across, down = (np.unique(rows[name]) for name in axes)
    places = (np.searchsorted(levels, rows[name]) for name, levels in zip(axes, (across, down), strict=True))
    wide, high = (WIDTH - 70) / len(across), min(MAP, 400 / len(down))
    shares = _scaled(values, values.min(), values.max(), 0, 100) / 100
    marks = [
        Mark(said[i], 0, round(60 + wide * a, 1), round(high * (len(down) - 1 - d), 1), wide, high, shares[i], row)
        for i, row, a, d in zip(rows.index, rows.to_dict("records"), *places, strict=True)
    ]
    foot, steps = high * len(down), [math.ceil(len(levels) / 10) for levels in (across, down)]
    names = [
        (60 + wide * (k + 0.5), foot + 14, short(float(across[k])), "middle") for k in range(0, len(across), steps[0])
    ]
    names += [(54.0, foot - high * (k + 0.5) + 4, short(float(down[k])), "end") for k in range(0, len(down), steps[1])]
    words = f"{axes[0]} (to the right) and {axes[1]} (upwards)".replace("_", " ")
    return Chart("map", f"{title} over {words}", (WIDTH, foot + 22), marks, names)
