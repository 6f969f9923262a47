"""The figures' style, and the few shapes of figure that the studies share."""

import textwrap
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
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
    paths = []
    for name, figure in figures.items():
        path = directory / f"{name}.png"
        write_atomic(path, figure.savefig)
        plt.close(figure)
        paths.append(path)
    return paths


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis of few decades with plain numbers, once its limits are set.

    An axis of many decades keeps its powers of ten, and one without data its defaults.
    """
    low, high = axis.get_view_interval()
    if not 0 < low < high:
        return
    decades = np.log10(high / low)
    if decades < 2.5:
        steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if decades < 1 else (1, 2, 5)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())


def intervals(ax: Axes, positions: ArrayLike, rows: pd.DataFrame, *, color: str, label: str, filled: bool) -> None:
    """Draw shares as points with intervals, one per row with `fraction`, `low` and `high`.

    A filled marker stands on its interval, an open one too: the two tell two stages apart.
    """
    middle = rows["fraction"].to_numpy()
    ends = np.stack([middle - rows["low"], rows["high"] - middle]).clip(min=0)
    ax.errorbar(
        middle, positions, xerr=ends, fmt="o", color=color, mfc=color if filled else "white",
        ms=6, capsize=3, lw=1.5, label=label,
    )  # fmt: skip


def layer_lines(
    ax: Axes,
    layers: np.ndarray,
    color: str,
    label: str,
    style: str = "-",
    lw: float = 1.5,
    at: np.ndarray | None = None,
) -> None:
    """Draw the mean over runs by layer with a 95 % band; `layers` has shape (runs, layers).

    The layers are numbered from 1, or stand `at` other places.
    """
    mean, low, high = stats.mean_intervals(layers)
    number = np.arange(1, len(mean) + 1) if at is None else at
    marker = {"marker": "o", "ms": 3} if len(mean) <= 20 else {}
    ax.plot(number, mean, style, color=color, lw=lw, label=label, **marker)
    ax.fill_between(number, low, high, color=color, alpha=0.25, lw=0)


def share_map(ax: Axes, table: pd.DataFrame) -> QuadMesh:
    """Draw shares over the table's columns (across) and index (upwards)."""
    mesh = ax.pcolormesh(
        table.columns, table.index, table.to_numpy(), vmin=0, vmax=1, cmap=sns.color_palette(
            "viridis", as_cmap=True),
    )  # fmt: skip
    ax.set_xticks(table.columns)
    return mesh


def draw_measures(summary: pd.DataFrame, runs: pd.DataFrame, curves: dict[str, str], title: str) -> dict[str, Figure]:
    """Draw every measure over the first factor that varies, a line per level of the second.

    Args:
        summary: A row per setting and measure, with `estimate`, `low` and `high`.
        runs: The table, for the means of measures that are curves.
        curves: These, with the name of their axis.
        title: Over each figure.

    Returns:
        A figure per measure. Of more than two factors the others are the columns of panels; more
        than `MOST_POINTS` levels are pooled.
    """
    labels = list(runs.columns[: list(runs.columns).index("seed")])
    levels = {name: count for name in labels if (count := runs[name].nunique(dropna=False)) > 1}
    # A factor with more levels than there are lines goes along the axis.
    varying = sorted(levels, key=lambda name: -levels[name] if levels[name] > MOST_LINES else 0)
    title = textwrap.fill(title, 70)
    drawn = {}
    for measure, rows in summary.groupby("measure", sort=False):
        words = f"n = {rows['n'].min():,} runs each" + (" or more" if rows["n"].nunique() > 1 else "")
        if varying and rows[varying[0]].nunique() > MOST_POINTS:
            words += f" at {rows[varying[0]].nunique():,} levels, neighbors pooled"
        outcome = runs[measure].dtype == bool
        words = f"{title}\n{words}; 95 % intervals"
        drawn[str(measure)] = draw_measure(rows, varying, str(measure), outcome, words)
    for measure, axis in curves.items():
        drawn[measure] = draw_curves(runs, varying, measure, axis, title)
    return drawn


MOST_POINTS, FEW_POINTS, MOST_LINES, MOST_PANELS = 200, 40, 7, 4


def draw_measure(rows: pd.DataFrame, varying: list[str], measure: str, outcome: bool, title: str) -> Figure:
    """Draw one measure's estimates and intervals."""
    x, hue, panel = [*varying, None, None, None][:3]
    panels = list(rows.groupby(panel, sort=False))[:MOST_PANELS] if panel else [("", rows)]
    figure, axes = plt.subplots(1, len(panels), figsize=(1.8 + 4.2 * len(panels), 4), sharey=True, squeeze=False)
    for ax, (level, part) in zip(axes[0], panels, strict=True):
        lines = list(part.groupby(hue, sort=False))[:MOST_LINES] if hue else [("", part)]
        for color, (name, line) in zip(COLORS, lines, strict=False):
            label = f"{name:g}" if isinstance(name, float) else str(name)
            line = line if x else line.assign(all="all runs")
            if x and len(line) > MOST_POINTS and pd.api.types.is_numeric_dtype(line[x]):
                line = pool(line, x, outcome)
            draw_line(ax, line, x or "all", color, label)
        ax.set(xlabel=(x or "").replace("_", " "), ylabel=measure.replace("_", " "))
        if panel:
            ax.set_title(f"{panel.replace('_', ' ')} {level}")
        if x and pd.api.types.is_numeric_dtype(part[x]):
            scale_levels(ax, np.sort(part[x].unique()))
        ax.grid(alpha=0.3)
    if hue:
        title_of = hue.replace("_", " ")
        handles = axes[0, 0].get_legend_handles_labels()
        figure.legend(*handles, title=title_of, loc="outside lower center", ncols=MOST_LINES)
    figure.suptitle(title)
    return figure


def draw_line(ax: Axes, line: pd.DataFrame, x: str, color: str, label: str) -> None:
    """Draw estimates over x, with intervals where they are few and a band where they are many."""
    few = len(line) <= FEW_POINTS
    style = {"color": color, "label": label, "marker": "o" if few else None}
    sns.lineplot(line, x=x, y="estimate", ax=ax, errorbar=None, legend=False, **style)
    if few:
        ends = np.stack([line["estimate"] - line["low"], line["high"] - line["estimate"]])
        ax.errorbar(line[x], line["estimate"], np.nan_to_num(ends).clip(min=0), fmt="none", color=color, capsize=3)
    else:
        ax.fill_between(line[x], line["low"], line["high"], color=color, alpha=0.25, lw=0)


def pool(line: pd.DataFrame, x: str, outcome: bool) -> pd.DataFrame:
    """Return at most `MOST_POINTS` rows along x, neighboring levels pooled, with new intervals.

    Outcomes are counted over all their runs; numbers are averaged over the levels.
    """
    line = line.sort_values(x)
    cells = line.assign(cell=np.arange(len(line)) * MOST_POINTS // len(line)).groupby("cell")
    if outcome:
        hits = (line["estimate"] * line["n"]).groupby(cells.ngroup()).sum()
        estimate, low, high = stats.wilson_intervals(hits, cells["n"].sum())
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


def draw_curves(runs: pd.DataFrame, varying: list[str], measure: str, axis: str, title: str) -> Figure:
    """Draw the mean of a measure along its axis with a 95 % band, a line per setting."""
    figure, ax = plt.subplots(figsize=(7.5, 4))
    runs = runs[runs[measure].notna()]
    groups = runs.groupby(varying, sort=False, dropna=False) if varying else [("all runs", runs)]
    listed = list(groups)
    # Of many settings some are drawn, from the first to the last.
    picks = np.unique(np.linspace(0, len(listed) - 1, MOST_LINES).round().astype(int))
    for color, (level, rows) in zip(COLORS, (listed[i] for i in picks), strict=False):
        values = np.stack(rows[measure].to_list()).astype(float)
        steps = np.unique(np.linspace(0, values.shape[1] - 1, MOST_POINTS).round().astype(int))
        words = level if isinstance(level, tuple) else (level,)
        label = ", ".join(f"{word:g}" if isinstance(word, float) else str(word) for word in words)
        layer_lines(ax, values[:, steps], color, label, at=steps + 1)
    ax.set(xlabel=axis.replace("_", " "), ylabel=measure.replace("_", " "))
    ax.grid(alpha=0.3)
    shown = np.concatenate([np.ravel(line.get_ydata()) for line in ax.get_lines()])
    shown = shown[np.isfinite(shown)]
    if len(shown) and shown.min() > 0 and shown.max() > 1000 * shown.min():
        ax.set_yscale("log")
    names = ", ".join(name.replace("_", " ") for name in varying)
    figure.legend(title=names, loc="outside lower center", ncols=4)
    figure.suptitle(f"{title}\nmean over seeds, 95 % band")
    return figure
