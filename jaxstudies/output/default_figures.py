"""The figures of a study that draws none of its own: every measure over what varies."""

import textwrap
from collections.abc import Sequence
from itertools import chain, repeat

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator
from matplotlib.transforms import ScaledTranslation

from jaxstudies.evidence import intervals as stats
from jaxstudies.output.plotting import (
    COLORS,
    Style,
    count_drawn,
    cut_below,
    interval_ends,
    layer_lines,
    legend_below,
    plain_log_ticks,
    plain_where_no_math,
)
from jaxstudies.output.words import STATISTICS, beside_statistics, words, words_apart

MOST_POINTS, FEW_POINTS, MOST_LINES, MOST_PANELS, MOST_TICKS = 200, 40, len(COLORS), 4, 8
ASIDE = 4
"""Points between the lines of neighboring levels."""
LINE_STYLES = ("-", "--", ":", "-.")
DEFAULT_CAPTION = (
    "Estimates over seeds with 95 % intervals, which are bars or, of many settings and of curves, bands: Wilson's for "
    "shares, Student's t for means. They are of each setting alone: what claims pair by seed may be told apart though "
    "its intervals overlap. The first place along a curve is 1, where a claim's index is 0."
)
"""What is to be seen in each figure of `draw_measures`."""


def draw_measures(summary: pd.DataFrame, runs: pd.DataFrame, curves: dict[str, str], title: str) -> dict[str, Figure]:
    """Draw every measure over the first factor that varies, a line per level of the second, panels of the third.

    More than `MOST_POINTS` levels are pooled, and of further factors the first level is drawn. `summary` has a row per
    setting and measure; `curves` are measures of `runs` that are arrays, with the name of their axis.
    """
    columns = list(runs.columns)
    labels, measures = columns[: columns.index("seed")], columns[columns.index("seed") :]
    said = dict(zip(labels, words_apart(map(beside_statistics, labels), {*measures, *STATISTICS}), strict=True))
    summary = summary.rename(columns={beside_statistics(name): word for name, word in said.items()})
    runs = runs.rename(columns=said)
    levels = runs[list(said.values())].nunique(dropna=False)
    # A factor with more levels than there are lines goes along the axis.
    varying = sorted(levels.index[levels > 1], key=lambda name: -levels[name] if levels[name] > MOST_LINES else 0)
    title, drawn = textwrap.fill(plain_where_no_math(title), 70), {}
    for measure, rows in summary.groupby("measure", sort=False):
        shown = shown_rows(rows, varying)
        note = f"n = {shown['n'].min():,} runs each" + (" or more" if shown["n"].nunique() > 1 else "")
        note += "".join(f", {name} {words(shown[name].iloc[0])}" for name in varying[3:])
        if varying and (count := shown[varying[0]].nunique()) > MOST_POINTS:
            note += f" at {count:,} levels, neighbors pooled"
        drawn[measure] = draw_measure(shown, varying, runs[measure].dtype == bool)
        drawn[measure].suptitle(f"{title}\n{note}; 95 % intervals{count_drawn(len(shown), len(rows))}")
    for measure, axis in curves.items():
        drawn[measure] = draw_curves(runs[runs[measure].notna()], varying, measure, axis, title)
    return drawn


def is_number(column: pd.Series) -> bool:
    """Return whether a factor's levels are numbers, and so have an order."""
    number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
    return number and not column.hasnans


def some_levels(column: pd.Series, most: int) -> list:
    """Return at most so many of a factor's levels, from the first to the last; numbers in order."""
    levels = column.drop_duplicates()
    levels = levels.sort_values() if is_number(column) else levels
    return levels.iloc[spread(len(levels), most)].tolist()


def palette(count: int, ordered: bool) -> Sequence[str]:
    """Return a color per level, of three ordered ones or more a sequence from dark to light."""
    if not ordered or count < 3:
        return COLORS[:count]
    return list(map(to_hex, mpl.colormaps["viridis"](np.linspace(0, 0.88, count))))


def shown_rows(rows: pd.DataFrame, varying: Sequence[str]) -> pd.DataFrame:
    """Return the rows that a figure has room for: some lines, some panels, one level of what has neither."""
    for name, most in zip(varying[1:], chain((MOST_LINES, MOST_PANELS), repeat(1)), strict=False):
        rows = rows[rows[name].isin(some_levels(rows[name], most))]
    return rows


def draw_measure(rows: pd.DataFrame, varying: list[str], outcome: bool) -> Figure:
    """Draw one measure's estimates and intervals."""
    # What does not vary has one level, without a name.
    x, hue, panel = [*varying, "", "", ""][:3]
    rows = rows.assign(**{"": "all runs"})
    numeric, lines, legend = is_number(rows[x]), some_levels(rows[hue], MOST_LINES), {}
    codes, levels = pd.factorize(rows[x], sort=numeric, use_na_sentinel=False)
    places = rows[x] if numeric else pd.Series(codes, rows.index)
    rows, colors = rows.loc[places.sort_values(kind="stable").index], palette(len(lines), is_number(rows[hue]))
    panels = some_levels(rows[panel], MOST_PANELS)
    figure, axes = plt.subplots(1, len(panels), figsize=(1.8 + 4.2 * len(panels), 4), sharey=True, squeeze=False)
    for ax, level, said in zip(axes[0], panels, words_apart(panels), strict=True):
        part = rows[rows[panel].isin([level])]
        for i, (name, word, color) in enumerate(zip(lines, words_apart(lines), colors, strict=True)):
            line = part[part[hue].isin([name])]
            if len(line):
                points = line[["estimate", "low", "high", "n"]].assign(place=places[line.index])
                pooled = pool(points, outcome) if numeric and len(line) > MOST_POINTS else points
                legend[in_lines(word)] = draw_line(ax, pooled, color, i - (len(lines) - 1) / 2)
        measure = words(rows["measure"].iloc[0]) + (" (share of runs)" if outcome else "")
        ax.set(xlabel=in_lines(x), ylabel=in_lines(measure), title=in_lines(f"{panel} {said}") if panel else "")
        if numeric:
            scale_levels(ax, np.sort(part[x].unique()))
        else:
            names = list(map(in_lines, words_apart(levels)))
            steep: Style = {"rotation": 30, "ha": "right"} if sum(map(len, names)) > 40 else {}
            ax.set_xticks(range(len(names)), names, **steep)
        ax.grid(alpha=0.3)
    if hue:
        legend_below(figure, legend, title=in_lines(hue))
    return figure


def in_lines(text: str) -> str:
    """Return a text in lines that a figure has room for."""
    return textwrap.fill(text, 40)


def draw_line(ax: Axes, line: pd.DataFrame, color: str, aside: float) -> Artist:
    """Draw estimates over places, with intervals where they are few and a band where they are many; return the line.

    Points stand a little aside, so that equal ones are seen.
    """
    few, before = len(line) <= FEW_POINTS, set(ax.get_children())
    (drawn,) = ax.plot(line["place"], line["estimate"], color=color, marker="o" if few else None, ms=5, mec="white")
    if not few:
        ax.fill_between(line["place"], line["low"], line["high"], color=color, alpha=0.25, lw=0)
        return drawn
    ends = np.nan_to_num(interval_ends(line["estimate"], line["low"], line["high"]), posinf=0)
    ax.errorbar(line["place"], line["estimate"], ends, fmt="none", color=color, capsize=2)
    moved = ax.transData + ScaledTranslation(aside * ASIDE / 72, 0, ax.figure.dpi_scale_trans)
    plt.setp(list(set(ax.get_children()) - before), transform=moved)
    return drawn


def pool(line: pd.DataFrame, outcome: bool) -> pd.DataFrame:
    """Return at most `MOST_POINTS` rows, outcomes counted over all runs, numbers averaged over neighboring levels."""
    line = line.assign(hits=line["estimate"] * line["n"])
    cells = line.groupby(np.arange(len(line)) * MOST_POINTS // len(line))
    if outcome:
        estimate, low, high = stats.wilson_intervals(cells["hits"].sum(), cells["n"].sum())
    else:
        seen = cells["estimate"].agg(["mean", "std", "count"])
        estimate, low, high = stats.t_intervals(seen["mean"], seen["std"], seen["count"])
    return pd.DataFrame({"place": cells["place"].mean(), "estimate": estimate, "low": low, "high": high})


def unevenness(values: np.ndarray) -> float:
    """Return the deviation of the gaps between ascending values, relative to their mean."""
    gaps = np.diff(values)
    return float(gaps.std() / gaps.mean())


def scale_levels(ax: Axes, levels: np.ndarray) -> None:
    """Give x a logarithmic scale where levels are spaced so, and ticks at the levels if few, named where there is room.

    A level of 0 beside them, as of a decay or a noise, stands as far to the left as the scale is linear.
    """
    positive = levels[levels > 0]
    zero: Style = {"linthresh": positive[0]} if 0 < len(positive) < len(levels) else {}
    if len(positive) > 2:
        wide = unevenness(np.log(positive)) < unevenness(positive)
    else:  # of two only one at 0 beside them tells which scale keeps them apart
        wide = bool(zero) and len(positive) == 2 and positive[1] > 10 * positive[0]
    if levels[0] >= 0 and wide:
        ax.set_xscale("symlog" if zero else "log", **zero)
    if len(levels) > MOST_TICKS:
        plain_log_ticks(ax.xaxis) if ax.get_xscale() == "log" else None
        return
    ax.get_xlim()  # brings the transform up to date
    places = ax.get_xaxis_transform().transform(np.stack([levels, 0 * levels], axis=1))[:, 0] / ax.bbox.width
    names, edge = [], -np.inf
    for word, place in zip(words_apart(levels.tolist()), places, strict=True):
        half = 0.009 * len(word)  # of the axis' length
        names.append(word if place - half > edge else "")
        edge = place + half + 0.01 if names[-1] else edge
    ax.set_xticks(levels, names)
    ax.xaxis.set_minor_locator(NullLocator())


def draw_curves(runs: pd.DataFrame, varying: list[str], measure: str, axis: str, title: str) -> Figure:
    """Draw the mean of a measure along its axis with a 95 % band, a line per setting."""
    figure, ax = plt.subplots(figsize=(7.5, 4))
    numbers = runs.groupby(varying or (lambda _: 0), sort=False, dropna=False).ngroup().to_numpy()
    settings = spread(int(numbers.max()) + 1, MOST_LINES)
    levels = runs[varying].iloc[[int(np.argmax(numbers == number)) for number in settings]]
    curves = [np.stack(runs[measure].array[numbers == number]).astype(float) for number in settings]
    steps = [spread(curve.shape[1], MOST_POINTS) for curve in curves]
    curves = [curve[:, places] for curve, places in zip(curves, steps, strict=True)]
    cut = scale_curves(ax, np.concatenate([stats.mean_intervals(curve) for curve in curves], axis=1))
    found = [pd.factorize(levels[name], use_na_sentinel=False) for name in varying]
    said = [np.array(words_apart(those), object)[codes] for codes, those in found] or [np.array(["all runs"])]
    names = map(", ".join, zip(*said, strict=True))
    for curve, places, look, name in zip(curves, steps, curve_looks(levels), names, strict=True):
        color, style = look
        layer_lines(ax, curve, color, in_lines(name), style, at=places + 1)
    ax.set(xlabel=in_lines(words(axis)), ylabel=in_lines(words(measure)))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.grid(alpha=0.3)
    handles, names = ax.get_legend_handles_labels()
    legend_below(figure, dict(zip(names, handles, strict=True)), title=in_lines(", ".join(varying)))
    figure.suptitle(f"{title}\nmean over seeds, 95 % band{cut}{count_drawn(len(settings), int(numbers.max()) + 1)}")
    return figure


def scale_curves(ax: Axes, ends: np.ndarray) -> str:
    """Give y a logarithmic scale where means, the first row of their ends, span decades; note what that cuts."""
    mean, low, _ = ends[:, np.isfinite(ends[0])]
    if not len(mean) or mean.min() <= 0 or mean.max() <= 50 * mean.min():
        return ""
    ax.set_yscale("log")
    return cut_below(mean, low)[1]


def curve_looks(levels: pd.DataFrame) -> list[tuple[str, str]]:
    """Return each setting's color, by the factor with most levels, and line style, by the others.

    Where the styles do not suffice, each has a color of its own.
    """
    hue = max(levels, key=lambda name: levels[name].nunique(dropna=False), default=None)
    others = [name for name in levels if name != hue]
    styles = levels.groupby(others, sort=False, dropna=False).ngroup() if others else np.zeros(len(levels), int)
    if hue is None or max(styles) >= len(LINE_STYLES):
        return [(color, "-") for color in COLORS[: len(levels)]]
    codes, found = pd.factorize(levels[hue], sort=is_number(levels[hue]), use_na_sentinel=False)
    colors = palette(len(found), is_number(levels[hue]))
    return [(colors[int(code)], LINE_STYLES[style]) for code, style in zip(codes, styles, strict=True)]


def spread(count: int, most: int) -> np.ndarray:
    """Return at most so many of `count` places, from the first to the last."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))
