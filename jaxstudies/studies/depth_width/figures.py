"""The figures of the study of depth against width."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from jaxstudies.evidence import intervals
from jaxstudies.networks import data
from jaxstudies.output import plotting, table
from jaxstudies.output.words import words
from jaxstudies.studies.depth_width import learning, sizes
from jaxstudies.studies.depth_width.beside import FITTED
from jaxstudies.studies.depth_width.learning import best_networks
from jaxstudies.studies.depth_width.looks import (
    BELOW,
    ERROR,
    MODERN,
    RECIPES,
    count_seeds,
    draw_band,
    plain_log,
    plural,
)
from jaxstudies.studies.depth_width.problem import CUSP_EDGES, map_inputs
from jaxstudies.studies.depth_width.summary import known_shapes, summarize, with_times
from jaxstudies.study import Results

CAPTIONS = {
    "rmse": "Test error of each shape against its hidden units (left) and its parameters (right), on the same scales "
    "for each recipe and, in the last row, down to the error of the noise alone; gray lines are regressors that are "
    "not networks. If depth helps, curves of more layers lie lower at equal units or parameters, by more than the "
    "intervals; if it helps the more the larger a network is, they also fall more steeply.",
    "time": "Seconds per epoch of each shape against its hidden units (left) and its parameters (right): of one "
    "network alone (filled), and of one network's share of the time in which all seeds train together, the search for "
    "learning rates included (open). If depth costs time, points of more layers lie higher at equal units or "
    "parameters; open points below filled ones are what training together saves.",
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


SHORT = 60
"""Epochs of the reference; figures of fewer say that their budget is short."""


def plot(results: Results) -> dict[str, Figure]:
    """Draw the figures, without the shapes all of whose networks diverged.

    If none is left, only the baselines are drawn; the heat map is of shapes of two layers.
    """
    runs, summary = with_times(results), summarize(results)
    shapes = known_shapes(summary)
    drawn = {"cusps": plot_cusps(runs)}
    if shapes.empty:
        return drawn
    drawn |= {"rmse": sizes.plot_rmse(shapes, summary, results.config.epochs), "time": sizes.plot_time(shapes)}
    drawn |= {"curves": learning.plot_curves(runs), "rates": learning.plot_rates(results)}
    drawn |= learning.plot_gains(results)
    if (shapes["depth"] == 2).any():
        drawn["two_layers"] = plot_two_layers(shapes[shapes["depth"] == 2])
    mapped = runs[[np.ndim(surface) == 2 and bool(np.isfinite(surface).all()) for surface in runs["map"]]]
    mapped = mapped[np.isfinite(mapped["validation_rmse"])]
    if len(mapped):
        drawn["error_map"] = plot_error_map(mapped.loc[mapped["validation_rmse"].idxmin()])
    if (epochs := results.config.epochs) < SHORT:
        for figure in drawn.values():
            note = f"{plural(epochs, 'epoch')} of training, of the assignment's 2,000: a short budget"
            figure.suptitle("\n".join(filter(None, [figure.get_suptitle(), note])))
    return drawn


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


def recipe_panels(rows: pd.DataFrame, margin: float, width: float) -> tuple[Figure, dict[Axes, pd.DataFrame]]:
    """Return a figure of a panel per recipe, side by side, and the panels with their rows."""
    groups = dict(list(rows.groupby("recipe", sort=False)))
    size = (margin + width * len(groups), 4.6)
    figure, axes = plt.subplots(1, len(groups), figsize=size, sharey=True, squeeze=False)
    for ax, recipe in zip(axes[0], groups, strict=True):
        ax.set_title(RECIPES[recipe])
    return figure, dict(zip(axes[0], groups.values(), strict=True))


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
