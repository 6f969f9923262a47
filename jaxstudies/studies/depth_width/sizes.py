"""Figures of error and time against the size of a network."""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from jaxstudies.output import plotting
from jaxstudies.studies.depth_width.looks import (
    BELOW,
    ERROR,
    MODERN,
    MODERN_COLOR,
    RECIPES,
    STYLES,
    count_seeds,
    draw_band,
    look,
    plain_log,
    plural,
)

STAR: plotting.Style = {"color": MODERN_COLOR, "marker": "*", "ls": "", "ms": 13, "mec": "black", "mew": 0.6}
BASELINES = ("constant", "1-nearest neighbor", "boosted trees", "Delaunay", "RBF", "floor")


SIZES = {"hidden_units": "hidden units in all", "parameters": "trained parameters"}
"""Measures of size, by which networks are held against one another, in words."""


def draw_depths(ax: Axes, shapes: pd.DataFrame, x: str, style: str, points: bool) -> None:
    """Draw the mean error of the shapes of each depth against `x`, with the shapes' range.

    With points each shape is drawn too, with its interval.
    """
    for depth, group in shapes.groupby("depth"):
        middle, drawn = group["rmse"], look(depth)
        if points:
            ends = plotting.interval_ends(middle, plotting.cut_below(middle, group["low"])[0], group["high"])
            ax.errorbar(group[x], middle, ends, **drawn, ls="", ms=4, mec="none", alpha=0.5, elinewidth=0.7)
        # So many parameters differ that a total of its own has no band: bins of 2.
        bins = group[x] if x == "hidden_units" else np.floor(np.log2(group[x]))
        curve = middle.groupby(bins).agg(["mean", "min", "max"])
        place = np.exp(np.log(group[x]).groupby(bins).mean())
        marker = drawn["marker"] if len(curve) == 1 and not points else None
        draw_band(ax, place, curve.to_numpy().T, drawn["color"], style, 0.18, lw=1.8, marker=marker)


def draw_baselines(ax: Axes, values: pd.Series, named: bool) -> None:
    """Draw the baselines' errors as lines; to the right their names, as high but apart."""
    values = values.sort_values()
    for name, value in values.items():
        color, lw, ls = ("black", 1.3, "-") if name == "floor" else ("0.55", 0.8, ":")
        ax.axhline(value, color=color, lw=lw, ls=ls, zorder=0)
    low, high = ax.get_ylim()
    apart = (high / low) ** (0.055 * np.arange(len(values)))
    heights = (values / apart).cummax() * apart
    for name in values.index if named else ():
        place = {"xy": (1.01, heights[name]), "xycoords": ("axes fraction", "data"), "annotation_clip": False}
        ax.annotate(f"{name} {values[name]:.3g}", **place, fontsize=8, va="center")


def plot_rmse(shapes: pd.DataFrame, summary: pd.DataFrame, epochs: int) -> Figure:
    """Draw the error against hidden units and parameters, a curve per depth, a row per recipe.

    Those rows show the range of the shapes. A last one shows all, down to the floor of the noise.
    """
    modern = summary[summary["part"] == "modern"]
    lines = summary[summary["recipe"] == "baseline"].set_index("shape")["rmse"].reindex(BASELINES)
    lines = lines[lines > 0]
    near = lines[lines.between(shapes["rmse"].min() / 1.2, shapes["rmse"].max() * 1.2)]
    parts = [*shapes.groupby("recipe", sort=False), (None, shapes)]
    scales = {"xscale": "log", "yscale": "log"}
    figure, axes = plt.subplots(len(parts), 2, figsize=(11.5, 1 + 3.2 * len(parts)), sharex="col", subplot_kw=scales)
    for first, *others in (axes[:-1].flat, axes[-1]):
        for ax in others:
            ax.sharey(first)
    for (recipe, rows), row in zip(parts, axes, strict=True):
        for ax, x in zip(row, SIZES, strict=True):
            for style, group in rows.groupby(rows["recipe"].map(STYLES), sort=False):
                draw_depths(ax, group, x, style, points=recipe is not None)
            if recipe is None:
                ax.plot(modern[x], modern["rmse"], **STAR)
    for (i, named), ax in np.ndenumerate(axes):
        draw_baselines(ax, near if i < len(parts) - 1 else lines, named == 1)
    label_rmse(axes, [RECIPES.get(recipe, "the whole range, down to the floor of the noise") for recipe, _ in parts])
    name_depths(figure, shapes, modern)
    _, note = plotting.cut_below(shapes["rmse"], shapes["low"])
    title = f"Depth against width on the Eggholder function after {plural(epochs, 'epoch')} (points: a shape's mean, "
    title += f"95 % t interval, {count_seeds(shapes)};\ncurves: mean of shapes, bands: their range; dashed: SGD{note})"
    figure.suptitle(title)
    return figure


def label_rmse(axes: np.ndarray, titles: list[str]) -> None:
    """Write a title over each row, and name and scale the axes."""
    for (left, right), title in zip(axes, titles, strict=True):
        left.set_title(title, loc="left")
        left.set_ylabel(ERROR)
        right.tick_params(labelleft=False)
    left, right = axes[-1]
    left.set_xlabel(SIZES["hidden_units"])
    left.xaxis.set_major_locator(LogLocator(2))
    right.set_xlabel(f"{SIZES['parameters']} (curve: mean by octave)")
    for axis in (axes[0, 0].yaxis, right.xaxis):
        plotting.plain_log_ticks(axis)
    for axis in (left.xaxis, left.yaxis):
        plain_log(axis)


def name_depths(figure: Figure, shapes: pd.DataFrame, modern: pd.DataFrame) -> None:
    """Draw the legend below."""
    counts = shapes.groupby("depth")["shape"].nunique()
    labels = {depth: f"{plural(depth, 'hidden layer')} ({plural(n, 'shape')})" for depth, n in counts.items()}
    handles = [Line2D([], [], label=label, ms=4, **look(depth)) for depth, label in labels.items()]
    if len(modern):
        handles.append(Line2D([], [], label=f"{MODERN}, Adam", **STAR))
    figure.legend(handles=handles, **BELOW, ncols=4, fontsize=9)


def draw_times(ax: Axes, rows: pd.DataFrame, x: str) -> None:
    """Draw the seconds of an epoch against `x`, by depth: alone, and within the batch."""
    for depth, group in rows.groupby("depth"):
        draw = partial(ax.plot, group[x], **look(depth), ls="", ms=5)
        layers = plural(depth, "hidden layer")
        draw(group["seconds_per_epoch"], label=f"{layers}, one network alone")
        if group["seconds_in_batch"].notna().any():
            draw(group["seconds_in_batch"], label=f"{layers}, per network in the batch", mfc="none")
    ax.set(xscale="log", yscale="log", xlabel=SIZES[x])
    ax.grid(alpha=0.25, which="both", lw=0.5)


def plot_time(shapes: pd.DataFrame) -> Figure:
    """Draw the seconds of an epoch against hidden units and parameters, a row per recipe."""
    groups = dict(list(shapes.groupby("recipe", sort=False)))
    figure, axes = plt.subplots(len(groups), 2, figsize=(11.5, 1 + 3.6 * len(groups)), sharey=True, squeeze=False)
    for row, (recipe, rows) in zip(axes, groups.items(), strict=True):
        for ax, x in zip(row, SIZES, strict=True):
            draw_times(ax, rows, x)
        row[0].xaxis.set_major_locator(LogLocator(2))
        plain_log(row[0].xaxis)
        plotting.plain_log_ticks(row[1].xaxis)
        row[0].set_ylabel("seconds per epoch")
        row[0].set_title(RECIPES[str(recipe)], loc="left")
    plotting.plain_log_ticks(axes[0, 0].yaxis)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), **BELOW, ncols=3, fontsize=8)
    title = "Training time of an epoch (each point one shape;\nin the batch, padding to shared shapes included)"
    figure.suptitle(title)
    return figure
