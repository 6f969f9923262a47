"""The figures of the study of depth against width."""

from functools import partial
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from jaxstudies.evidence import intervals
from jaxstudies.networks import data
from jaxstudies.output import plotting, table
from jaxstudies.output.words import words
from jaxstudies.studies.depth_width import learning
from jaxstudies.studies.depth_width.beside import FITTED
from jaxstudies.studies.depth_width.learning import (
    MODERN,
    MODERN_COLOR,
    RECIPES,
    STYLES,
    best_networks,
    draw_band,
    look,
)
from jaxstudies.studies.depth_width.problem import CUSP_EDGES, map_inputs
from jaxstudies.studies.depth_width.summary import known_shapes, summarize, with_times
from jaxstudies.study import Results

CAPTIONS = {
    "rmse": "Test error of each shape against its hidden units (left) and its parameters (right), on the same scales "
    "for each recipe and, in the last row, down to the error of the noise alone; gray lines are regressors that are "
    "not networks. If depth helps, curves of more layers lie lower at equal units or parameters, by more than the "
    "intervals; if it helps the more the larger a network is, they also fall more steeply.",
    "time": "Seconds per epoch of each shape against its parameters: of one network alone (filled), and of one "
    "network's share of the time in which all seeds train together, the search for learning rates included (open). If "
    "depth costs time, points of more layers lie higher at equal parameters; open points below filled ones are what "
    "training together saves.",
    "curves": "Validation error by epoch of the shapes that are best on validation data, a color for each depth, "
    "dashed for SGD: means over seeds, with bands over their range. A curve that still falls at its end may gain from "
    "a longer budget.",
    "rates": "The learning rate of each network, one point a seed, against its parameters: the one next to which both "
    "neighbors on the grid (gray lines) had a larger validation error after a short training. A point on the lowest or "
    "the highest line says that the grid is too small, and nothing is claimed of such a network.",
    "gains": "By how much more steeply the error falls with parameters with a layer more, were training ended after "
    "that epoch: slopes of log validation error over shapes, means over seeds with 95 % t bands, or, of fewer than "
    "five, with each seed. Below 0 depth helps. Of SGD alone, since the other recipe's learning rate falls over the "
    "whole budget.",
    "cusps": "Error on test points by their distance to the nearer of two lines on which the function has no "
    "derivative, means over seeds with 95 % t intervals. If only the cusps stand in the way, an error falls to about "
    "the noise (dotted) with distance; one that stays level says that a network has not learned the function's smooth "
    "part either.",
    "two_layers": "Mean test error over seeds of each shape of two hidden layers, a panel for each recipe, on a "
    "logarithmic color scale. If only the number of units counted, fields of an equal sum of widths would have one "
    "color; look whether it is the first or the second layer whose width lowers the error more.",
    "error_map": "The function, what the best of all networks makes of it, and the absolute error on a logarithmic "
    "color scale, with the lines on which the function has cusps (dotted). If the cusps are what is hard, the error is "
    "bright along these lines and dark elsewhere.",
}
STAR: plotting.Style = {"color": MODERN_COLOR, "marker": "*", "ls": "", "ms": 13, "mec": "black", "mew": 0.6}
BASELINES = ("constant", "1-nearest neighbor", "boosted trees", "Delaunay", "RBF", "floor")
BELOW: plotting.Style = {"loc": "outside lower center"}
ERROR = "test RMSE (units of f)"


def plot(results: Results) -> dict[str, Figure]:
    """Draw the figures, without the shapes all of whose networks diverged.

    If none is left, only the baselines are drawn; the heat map is of shapes of two layers.
    """
    runs, summary = with_times(results), summarize(results)
    shapes = known_shapes(summary)
    drawn = {"cusps": plot_cusps(runs)}
    if shapes.empty:
        return drawn
    drawn |= {"rmse": plot_rmse(shapes, summary), "time": plot_time(shapes)}
    drawn |= {"curves": learning.plot_curves(runs), "rates": learning.plot_rates(results)}
    drawn |= learning.plot_gains(results)
    if (shapes["depth"] == 2).any():
        drawn["two_layers"] = plot_two_layers(shapes[shapes["depth"] == 2])
    mapped = runs[[np.ndim(surface) == 2 and bool(np.isfinite(surface).all()) for surface in runs["map"]]]
    mapped = mapped[np.isfinite(mapped["validation_rmse"])]
    if len(mapped):
        drawn["error_map"] = plot_error_map(mapped.loc[mapped["validation_rmse"].idxmin()])
    return drawn


def plural(count: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{count} {noun}" + ("s" if count != 1 else "")


def plain_log(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers, within a decade those between its powers as well."""
    low, high = axis.get_view_interval()
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(StrMethodFormatter("{x:g}") if 0 < low < high < 10 * low else NullFormatter())


def count_seeds(rows: pd.DataFrame) -> str:
    """Return the seeds per row in words."""
    least, most = int(rows["n"].min()), int(rows["n"].max())
    return "n = " + (f"{least} to " if least < most else "") + plural(most, "seed")


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


def plot_rmse(shapes: pd.DataFrame, summary: pd.DataFrame) -> Figure:
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
        for ax, x in zip(row, ("hidden_units", "parameters"), strict=True):
            for style, group in rows.groupby(rows["recipe"].map(STYLES), sort=False):
                draw_depths(ax, group, x, style, points=recipe is not None)
            if recipe is None:
                ax.plot(modern[x], modern["rmse"], **STAR)
    for (i, named), ax in np.ndenumerate(axes):
        draw_baselines(ax, near if i < len(parts) - 1 else lines, named == 1)
    label_rmse(axes, [RECIPES.get(recipe, "the whole range, down to the floor of the noise") for recipe, _ in parts])
    name_depths(figure, shapes, modern)
    _, note = plotting.cut_below(shapes["rmse"], shapes["low"])
    title = "Depth against width on the Eggholder function (points: a shape's mean, 95 % t interval, "
    title += f"{count_seeds(shapes)};\ncurves: mean of shapes, bands: their range; dashed: SGD{note})"
    figure.suptitle(title)
    return figure


def label_rmse(axes: np.ndarray, titles: list[str]) -> None:
    """Write a title over each row, and name and scale the axes."""
    for (left, right), title in zip(axes, titles, strict=True):
        left.set_title(title, loc="left")
        left.set_ylabel(ERROR)
        right.tick_params(labelleft=False)
    left, right = axes[-1]
    left.set_xlabel("hidden units in all")
    left.xaxis.set_major_locator(LogLocator(2))
    right.set_xlabel("trained parameters (curve: mean by octave)")
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


def recipe_panels(rows: pd.DataFrame, margin: float, width: float) -> tuple[Figure, dict[Axes, pd.DataFrame]]:
    """Return a figure of a panel per recipe, side by side, and the panels with their rows."""
    groups = dict(list(rows.groupby("recipe", sort=False)))
    size = (margin + width * len(groups), 4.6)
    figure, axes = plt.subplots(1, len(groups), figsize=size, sharey=True, squeeze=False)
    for ax, recipe in zip(axes[0], groups, strict=True):
        ax.set_title(RECIPES[recipe])
    return figure, dict(zip(axes[0], groups.values(), strict=True))


def plot_time(shapes: pd.DataFrame) -> Figure:
    """Draw the seconds of an epoch against parameters, alone and within the batch."""
    figure, panels = recipe_panels(shapes, 1.0, 5.2)
    first, *_ = panels
    for ax, rows in panels.items():
        for depth, group in rows.groupby("depth"):
            draw = partial(ax.plot, group["parameters"], **look(depth), ls="", ms=5)
            layers = plural(depth, "hidden layer")
            draw(group["seconds_per_epoch"], label=f"{layers}, one network alone")
            if group["seconds_in_batch"].notna().any():
                draw(group["seconds_in_batch"], label=f"{layers}, per network in the batch", mfc="none")
        ax.set(xscale="log", yscale="log", xlabel="trained parameters")
        plotting.plain_log_ticks(ax.xaxis)
        ax.grid(alpha=0.25, which="both", lw=0.5)
    first.set_ylabel("seconds per epoch")
    plotting.plain_log_ticks(first.yaxis)
    figure.legend(*first.get_legend_handles_labels(), **BELOW, ncols=1 + len(panels), fontsize=8)
    title = "Training time of an epoch (each point one shape;\nin the batch, padding to shared shapes included)"
    figure.suptitle(title)
    return figure


def plot_cusps(runs: pd.DataFrame) -> Figure:
    """Draw the error on clean targets by distance to the cusps: mean and 95 % t band over seeds."""
    figure, ax = plt.subplots(figsize=(7.8, 5.0))
    lines, notes = list(best_networks(runs.sort_values("depth", kind="stable"), ["depth"])), []
    lines += [(runs[runs["shape"] == name], name, c, "-") for name, c in (("Delaunay", "0.6"), ("RBF", "black"))]
    for rows, name, color, _ in lines:
        mean, low, high = intervals.mean_intervals(table.stacked(rows, "cusp_rmse"))
        low, note = plotting.cut_below(mean, low)
        notes.append(note.replace("; ", ";\n"))
        share = rows["cusp_share"].mean()
        label = f"{name}: {share:.0%} of squared error within 4" if np.isfinite(share) else name
        draw_band(ax, np.arange(len(mean)), np.stack([mean, low, high]), color, "o-", ms=4, label=label)
    floor = runs.loc[runs["part"] == "floor", "test_rmse"].iloc[0]
    if floor > 0:
        ax.axhline(floor, color="black", ls=":", lw=1, label=f"noise {floor:.3g}")
    ax.set(yscale="log", xlabel="distance to the nearer line of cusps (units of x)")
    ax.set_ylabel("RMSE on clean test targets (units of f)")
    labels = [f"{a:g}–{b:g}" if np.isfinite(b) else f"> {a:g}" for a, b in pairwise(CUSP_EDGES)]
    ax.set_xticks(range(len(labels)), labels)
    plain_log(ax.yaxis)
    figure.legend(**BELOW, ncols=2, fontsize=8)
    title = "What stands in the way: the cusps (best shape of each depth by validation;\n"
    ax.set_title(f"{title}mean and 95 % t interval over n seeds, of Delaunay and RBF at most {FITTED}{max(notes)})")
    return figure


def plot_two_layers(rows: pd.DataFrame) -> Figure:
    """Draw the mean error of the two-layer shapes over their widths."""
    import seaborn as sns

    rows = rows.assign(**rows["shape"].str.extract("(?P<first>.+)-(?P<second>.+)").astype(int))
    least, most = rows["rmse"].min(), rows["rmse"].max()
    style = {"norm": LogNorm(least, max(most, least * 1.01)), "cmap": "viridis", "cbar": False}
    figure, panels = recipe_panels(rows, 1.6, 4.3)
    for ax, group in panels.items():
        errors = group.pivot(index="second", columns="first", values="rmse")
        sns.heatmap(errors, ax=ax, annot=True, fmt=".3g", annot_kws={"fontsize": 9}, **style)
        ax.invert_yaxis()
        ax.tick_params(axis="y", labelrotation=0)
        ax.set(xlabel="units in the first layer", ylabel="units in the second layer")
        ax.label_outer()
    bar = figure.colorbar(ax.collections[0], ax=ax, label=ERROR)
    plain_log(bar.ax.yaxis)
    bar.ax.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    figure.suptitle(f"Two hidden layers (mean of {count_seeds(rows)})")
    return figure


def plot_error_map(best: pd.Series) -> Figure:
    """Draw the surface, what the best network makes of it, and the error, with the cusp lines."""
    bound, learned = data.EGGHOLDER_BOUND, best["map"]
    surface = np.asarray(data.eggholder(map_inputs())).reshape(learned.shape)
    error, limit = np.abs(learned - surface), np.abs(surface).max()
    high = max(error.max(), np.finfo(np.float32).tiny)
    signed = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    panels = {"the function": (surface, signed), "the network": (learned, signed)}
    norm = LogNorm(high / 1000, high)
    panels["absolute error"] = np.maximum(error, high / 1000), {"cmap": "magma", "norm": norm}
    line = np.array([-bound, bound])
    figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.4), sharex=True, sharey=True)
    for ax, (title, (values, style)) in zip(axes, panels.items(), strict=True):
        image = ax.imshow(values, origin="lower", extent=(*line, *line), **style)
        figure.colorbar(image, ax=ax, shrink=0.85, label="units of f")
        ax.set(title=title, xlabel="x₁", xlim=line, ylim=line)
    for slope, label in ((-0.5, "cusp lines"), (1, None)):
        axes[0].plot(line, slope * line - 47, color="black", lw=0.9, ls=":", label=label)
    axes[0].legend(loc="upper left", fontsize=8, frameon=True)
    axes[0].set_ylabel("x₂")
    kind = MODERN if best["part"] == "modern" else words(best["recipe"])
    title = f"The network best on validation data: {best['shape']}, {kind}, seed {best['seed']}"
    figure.suptitle(f"{title}; RMSE {best['test_rmse']:.3g} on noisy test targets")
    return figure
