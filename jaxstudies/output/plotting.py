"""The figures' style, and the few shapes of figure that the studies share."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from jaxstudies.evidence import intervals as stats
from jaxstudies.output.files import write_atomic

Style = dict[str, Any]
"""Keyword arguments of matplotlib's functions that draw."""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart by color-blind readers."""

STYLE = {
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.titlesize": 12,
    "font.size": 10,
    "legend.frameon": False,
    "savefig.dpi": 200,
}


def use_style() -> None:
    """Draw off screen and in the project's style from here on."""
    mpl.use("Agg")
    plt.rcParams.update(STYLE)  # type: ignore[arg-type]


def save(figures: dict[str, Figure], directory: Path) -> list[Path]:
    """Write each figure as NAME.png and close it; return the paths."""
    for name, figure in figures.items():
        write_atomic(directory / f"{name}.png", figure.savefig)
        plt.close(figure)
    return [directory / f"{name}.png" for name in figures]


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis, if it has data and few decades, with plain numbers, once its limits are set."""
    low, high = axis.get_view_interval()
    if 0 < low < high and (decades := np.log10(high / low)) < 2.5:
        steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if decades < 1 else (1, 2, 5)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())


def intervals(ax: Axes, positions: ArrayLike, rows: pd.DataFrame, *, color: str, label: str, filled: bool) -> None:
    """Draw shares as points with intervals, one per row with `fraction`, `low` and `high`."""
    middle = rows["fraction"].to_numpy()
    ends = np.stack([middle - rows["low"], rows["high"] - middle]).clip(min=0)
    look: Style = {"color": color, "mfc": color if filled else "white", "ms": 6, "capsize": 3, "lw": 1.5}
    ax.errorbar(middle, positions, xerr=ends, fmt="o", label=label, **look)


def layer_lines(
    ax: Axes, runs: np.ndarray, color: str, label: str, style: str = "-", lw: float = 1.5, at: np.ndarray | None = None
) -> None:
    """Draw the mean over runs, of shape (runs, layers), with a 95 % band, over layers from 1 or `at` places."""
    mean, low, high = stats.mean_intervals(runs)
    number = np.arange(1, len(mean) + 1) if at is None else at
    marker = {"marker": "o", "ms": 3} if len(mean) <= 20 else {}
    ax.plot(number, mean, style, color=color, lw=lw, label=label, **marker)
    ax.fill_between(number, low, high, color=color, alpha=0.25, lw=0)


MOST_POINTS, FEW_POINTS, MOST_LINES, MOST_PANELS = 200, 40, len(COLORS), 4


def draw_measures(summary: pd.DataFrame, runs: pd.DataFrame, curves: dict[str, str], title: str) -> dict[str, Figure]:
    """Draw every measure over the first factor that varies, a line per level of the second, panels of the third.

    More than `MOST_POINTS` levels are pooled. `summary` has a row per setting and measure; `curves` are
    measures of `runs` that are arrays, with the name of their axis.
    """
    labels = runs.columns[: list(runs.columns).index("seed")]
    spaced = {name: name.replace("_", " ") for name in labels}
    summary, runs = summary.rename(columns=spaced), runs.rename(columns=spaced)
    levels = runs[list(spaced.values())].nunique(dropna=False)
    # A factor with more levels than there are lines goes along the axis.
    varying = sorted(levels.index[levels > 1], key=lambda name: -levels[name] if levels[name] > MOST_LINES else 0)
    title, drawn = textwrap.fill(title, 70), {}
    for measure, rows in summary.groupby("measure", sort=False):
        words = f"n = {rows['n'].min():,} runs each" + (" or more" if rows["n"].nunique() > 1 else "")
        if varying and (count := rows[varying[0]].nunique()) > MOST_POINTS:
            words += f" at {count:,} levels, neighbors pooled"
        drawn[measure] = draw_measure(rows, varying, runs[measure].dtype == bool)
        drawn[measure].suptitle(f"{title}\n{words}; 95 % intervals")
    for measure, axis in curves.items():
        drawn[measure] = draw_curves(runs, varying, measure, axis)
        drawn[measure].suptitle(f"{title}\nmean over seeds, 95 % band")
    return drawn


def words_of(*levels: object) -> str:
    """Return levels as they stand in a legend."""
    return ", ".join(f"{level:g}" if isinstance(level, float) else str(level) for level in levels)


def draw_measure(rows: pd.DataFrame, varying: list[str], outcome: bool) -> Figure:
    """Draw one measure's estimates and intervals."""
    # What does not vary has one level, without a name.
    x, hue, panel = [*varying, "", "", ""][:3]
    panels = list(rows.assign(**{"": "all runs"}).groupby(panel, sort=False))[:MOST_PANELS]
    figure, axes = plt.subplots(1, len(panels), figsize=(1.8 + 4.2 * len(panels), 4), sharey=True, squeeze=False)
    for ax, (level, part) in zip(axes[0], panels, strict=True):
        numeric = pd.api.types.is_numeric_dtype(part[x])
        for color, (name, line) in zip(COLORS, part.groupby(hue, sort=False), strict=False):
            pooled = pool(line, x, outcome) if numeric and len(line) > MOST_POINTS else line
            draw_line(ax, pooled, x, color, words_of(name))
        ax.set(xlabel=x, ylabel=rows["measure"].iloc[0].replace("_", " "))
        if panel:
            ax.set_title(f"{panel} {level}")
        if numeric:
            scale_levels(ax, np.sort(part[x].unique()))
        ax.grid(alpha=0.3)
    if hue:
        handles = axes[0, 0].get_legend_handles_labels()
        figure.legend(*handles, title=hue, loc="outside lower center", ncols=MOST_LINES)
    return figure


def draw_line(ax: Axes, line: pd.DataFrame, x: str, color: str, label: str) -> None:
    """Draw estimates over x, with intervals where they are few and a band where they are many."""
    import seaborn as sns  # late, as it takes half a second, and most studies draw for themselves

    few = len(line) <= FEW_POINTS
    style = {"color": color, "label": label, "marker": "o" if few else None}
    sns.lineplot(line, x=x, y="estimate", ax=ax, errorbar=None, legend=False, **style)
    if few:
        ends = np.stack([line["estimate"] - line["low"], line["high"] - line["estimate"]])
        ax.errorbar(line[x], line["estimate"], np.nan_to_num(ends).clip(min=0), fmt="none", color=color, capsize=3)
    else:
        ax.fill_between(line[x], line["low"], line["high"], color=color, alpha=0.25, lw=0)


def pool(line: pd.DataFrame, x: str, outcome: bool) -> pd.DataFrame:
    """Return at most `MOST_POINTS` rows along x, outcomes counted over all runs, numbers averaged over levels."""
    line = line.sort_values(x).assign(hits=line["estimate"] * line["n"])
    cells = line.groupby(np.arange(len(line)) * MOST_POINTS // len(line))
    if outcome:
        estimate, low, high = stats.wilson_intervals(cells["hits"].sum(), cells["n"].sum())
    else:
        seen = cells["estimate"].agg(["mean", "std", "count"])
        estimate, low, high = stats.t_intervals(seen["mean"], seen["std"], seen["count"])
    return pd.DataFrame({x: cells[x].mean(), "estimate": estimate, "low": low, "high": high})


def scale_levels(ax: Axes, levels: np.ndarray) -> None:
    """Give x a logarithmic scale where levels span decades, and ticks at the levels if few."""
    if len(levels) > 2 and levels[0] > 0 and levels[-1] / levels[0] > 20:
        ax.set_xscale("log")
    if len(levels) <= 8:
        ax.set_xticks(levels, [f"{level:g}" for level in levels])
        ax.xaxis.set_minor_locator(NullLocator())
    else:
        plain_log_ticks(ax.xaxis)


def draw_curves(runs: pd.DataFrame, varying: list[str], measure: str, axis: str) -> Figure:
    """Draw the mean of a measure along its axis with a 95 % band, a line per setting."""
    figure, ax = plt.subplots(figsize=(7.5, 4))
    runs = runs[runs[measure].notna()]
    numbers = runs.groupby(varying or (lambda _: 0), sort=False, dropna=False).ngroup().to_numpy()
    for color, number in zip(COLORS, spread(int(numbers.max()) + 1, MOST_LINES), strict=False):
        rows = runs[numbers == number]
        levels = rows[varying].iloc[0] if varying else ("all runs",)
        values = np.stack(rows[measure].to_list()).astype(float)
        steps = spread(values.shape[1], MOST_POINTS)
        layer_lines(ax, values[:, steps], color, words_of(*levels), at=steps + 1)
    ax.set(xlabel=axis.replace("_", " "), ylabel=measure.replace("_", " "))
    ax.grid(alpha=0.3)
    shown = np.concatenate([np.ravel(line.get_ydata()) for line in ax.get_lines()])
    shown = shown[np.isfinite(shown)]
    if len(shown) and shown.min() > 0 and shown.max() > 1000 * shown.min():
        ax.set_yscale("log")
    figure.legend(title=", ".join(varying), loc="outside lower center", ncols=4)
    return figure


def spread(count: int, most: int) -> np.ndarray:
    """Return at most so many of `count` places, from the first to the last."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))
