"""The figures of the initialization study."""

from collections.abc import Iterable, Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from jaxstudies.evidence.intervals import mean_intervals
from jaxstudies.output import plotting
from jaxstudies.output.table import stacked
from jaxstudies.studies.initialization.config import Config
from jaxstudies.studies.initialization.summary import at_stage, summarize
from jaxstudies.study import Results

COLORS = (*plotting.COLORS, "0.55")
MARKERS = "osD^vP*X"
BY_LAYER = "hidden layer (settings side by side)"
POINTS = 300
"""Heights at which a violin is drawn: enough for its body where a hair takes most of them."""
NAMES = {"glorot": "Glorot", "he": "He", "lecun": "LeCun", "lsuv": "LSUV"}


def name_init(init: str, sigma: float) -> str:
    """Return an initialization in words."""
    rule, _, kind = init.partition("_")
    words = NAMES.get(rule, rule) + (" uniform" if kind == "uniform" else "")
    return words if np.isnan(sigma) else f"σ = {sigma:.2f}"


def name_network(config: Config) -> str:
    """Return the network in words."""
    linear = "linear layer, " if config.linear_first_layer else ""
    return f"{linear}{config.depth} hidden layers of {config.width}"


def settings(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """List (initialization in words, its rows)."""
    groups = rows.groupby(["init", "sigma"], sort=False, dropna=False)
    return [(name_init(init, sigma), group) for (init, sigma), group in groups]


def samples(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Return what was kept of each layer, (layers, values)."""
    values = at_stage(rows, name).swapaxes(0, 1)
    return values.reshape(len(values), -1)


def robust_bandwidth(kde: Any) -> float:
    """Return a kernel's width relative to the standard deviation, by Silverman's robust rule.

    A hair of a few values far away widens the deviation, and with it kernels of Scott's rule, but
    not the quartiles.
    """
    values = kde.dataset.ravel()
    spread = np.subtract(*np.percentile(values, [75, 25])) / 1.34
    deviation = values.std(ddof=1)
    return kde.scotts_factor() * (spread / deviation if 0 < spread < deviation else 1)


def violins(ax: Axes, layers: np.ndarray, color: str) -> None:
    """Draw a violin for each layer, with its quartiles, of the values that are finite."""
    finite = {i + 1: layer[np.isfinite(layer)] for i, layer in enumerate(layers)}
    drawn = {number: values for number, values in finite.items() if len(values)}
    parts: Any = ax.violinplot(
        list(drawn.values()),
        list(drawn),
        widths=0.85,
        showextrema=False,
        points=POINTS,
        bw_method=robust_bandwidth,
        quantiles=[[0.25, 0.5, 0.75]] * len(drawn),
    )
    parts["cquantiles"].set(color="0.2", linewidth=0.7, linestyle="--")
    for body in parts["bodies"]:
        body.set(facecolor=color, edgecolor="0.3", linewidth=0.7, alpha=1)
    ax.set_xticks(range(1, len(layers) + 1))


def log10(values: np.ndarray) -> np.ndarray:
    """Return the logarithm of what is positive, NaN elsewhere."""
    return np.log10(values, out=np.full(values.shape, np.nan), where=values > 0)


def plot_violins(born: pd.DataFrame, config: Config) -> Figure:
    """Draw activations by layer above and gradients by layer below, for each initialization.

    Activations whose sizes differ tenfold, as those of ReLU do, are drawn on a logarithmic scale.
    """
    listed = settings(born)
    figure, axes = plt.subplots(2, len(listed), figsize=(1.2 + 1.95 * len(listed), 5.6), sharey="row", squeeze=False)
    activations = [samples(rows, "activation_sample") for _, rows in listed]
    gradients = [log10(np.abs(samples(rows, "gradient_sample"))) for _, rows in listed]
    sizes = [np.percentile(np.abs(values), 99) for values in activations]
    logarithmic = min(map(np.min, activations)) >= 0 and max(sizes) > 10 * min(sizes)
    if logarithmic:
        activations = [log10(values) for values in activations]
    violin_row(axes[0], activations, plotting.COLORS[5])
    violin_row(axes[1], gradients, plotting.COLORS[4])
    for column, (name, rows) in zip(axes.T, listed, strict=True):
        means = log10(at_stage(rows, "grad")).mean(axis=0)
        number = range(1, len(means) + 1)
        column[1].plot(number, means, "o-", color="black", ms=4, lw=1.2, label="mean |∂L/∂z|")
        column[0].set_title(name)
    axes[0, 0].set_ylabel("log10 activation" if logarithmic else "activation")
    axes[1, 0].set_ylabel("log10 |∂L/∂z|")
    axes[1, 0].legend(loc="lower right", fontsize=8)
    figure.supxlabel("hidden layer", fontsize=10)
    left_out = "what is not 0" if logarithmic else "of the gradients what is not 0"
    figure.suptitle(
        f"{born['activation'].iloc[0]} at initialization: activations and gradients by layer "
        f"({name_network(config)}; n = {born['seed'].nunique()} networks each)\n"
        f"violins: {activations[0].shape[1]:,} units and images at random, {left_out}; "
        "dashed: quartiles",
        fontsize=11,
    )
    return figure


def violin_row(axes: np.ndarray, values: list[np.ndarray], color: str) -> None:
    """Draw the violins of all settings, and choose the limits of the axis that they share."""
    for ax, layers in zip(axes, values, strict=True):
        violins(ax, layers, color)
    # Below, a violin may end in a hair that is many times as long as its body.
    shown = np.concatenate([layers.ravel() for layers in values])
    low, high = np.nanpercentile(shown, 2), np.nanmax(shown)
    bottom = max(low - 0.2 * (high - low), np.nanmin(shown) - 0.05 * (high - low))
    axes[0].set_ylim(bottom, high + 0.05 * (high - low))


def legend_below(figure: Figure, axes: np.ndarray) -> None:
    """Put one legend under all panels, with every label that one of them has."""
    found = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    columns = min(len(found), int(figure.get_figwidth() / 1.4))
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns)


def styled(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, str, str, float]]:
    """Yield (initialization in words, its rows, color, marker, shift).

    The shift is what its points stand aside, so that equal ones do not hide each other.
    """
    listed = settings(rows)
    for i, (label, group) in enumerate(listed):
        shift = 0.07 * (i - (len(listed) - 1) / 2)
        yield label, group, COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)], shift


def points(ax: Axes, at: ArrayLike, estimates: Iterable[Any], fmt: str, color: str, label: str) -> None:
    """Draw estimates, given with the lower and upper ends of their intervals."""
    middle, low, high = estimates
    ends = [middle - low, high - middle]
    ax.errorbar(at, middle, ends, fmt=fmt, color=color, label=label, ms=5, capsize=2, lw=1.2)


def plot_moments(summary: pd.DataFrame) -> Figure:
    """Draw the second moment by layer against theory, and saturation by layer.

    With few seeds an interval may reach below 0: it is drawn to the edge of the logarithmic axis.
    """
    born = summary[summary["stage"] == "born"]
    names = list(born["activation"].unique())
    figure, axes = plt.subplots(2, len(names), figsize=(1.5 + 3.6 * len(names), 7), sharex=True, squeeze=False)
    cut = ""
    for (top, bottom), name in zip(axes.T, names, strict=True):
        shown = born[born["activation"] == name]
        least = shown[["second_moment", "theory_second_moment"]].min(axis=None) / 3
        for label, rows, color, marker, shift in styled(shown):
            at, low = rows["layer"] + shift, rows["second_moment_low"].clip(lower=least)
            estimates = rows["second_moment"], low, rows["second_moment_high"]
            points(top, at, estimates, marker, color, label)
            top.plot(at, rows["theory_second_moment"], "-", color=color, lw=1.2)
            bottom.plot(at, rows["saturation"], marker + "-", color=color, ms=5, lw=1.2)
        top.set(yscale="log", title=name)
        if (shown["second_moment_low"] < least).any():
            top.set_ylim(bottom=least)
            cut = "; an interval that leaves the axis reaches further down"
        plotting.plain_log_ticks(top.yaxis)
        bottom.set(ylim=(-0.03, 1.03), xlabel=BY_LAYER)
        bottom.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("second moment of the activations\n(points; lines: mean field)")
    axes[1, 0].set_ylabel("saturated share of units and images\n(|derivative| < 5 % of maximum)")
    legend_below(figure, axes)
    figure.suptitle(
        f"Activations at initialization (means with 95 % intervals, n = {born['n'].min()} networks each{cut})"
    )
    return figure


def plot_gradients(summary: pd.DataFrame) -> Figure:
    """Draw E|dL/dz| by layer, relative to the last hidden layer's, with intervals."""
    stages, names = summary["stage"].unique(), summary["activation"].unique()
    size = 1.5 + 3.6 * len(names), 1.2 + 3.4 * len(stages)
    figure, axes = plt.subplots(len(stages), len(names), figsize=size, squeeze=False, sharex=True)
    for line, stage in zip(axes, stages, strict=True):
        for ax, name in zip(line, names, strict=True):
            shown = summary[(summary["activation"] == name) & (summary["stage"] == stage)]
            for label, rows, color, marker, shift in styled(shown):
                last = rows["grad_norm"].iloc[-1]
                estimates = [rows[name] / last for name in ("grad_norm", "low", "high")]
                points(ax, rows["layer"] + shift, estimates, marker + "-", color, label)
            ax.axhspan(0.5, 2, color="0.9", zorder=0)
            ax.set(yscale="log", title=f"{name}, {'at initialization' if stage == 'born' else stage}")
            plotting.plain_log_ticks(ax.yaxis)
            ax.xaxis.get_major_locator().set_params(integer=True)
        line[0].set_ylabel("mean |∂L/∂z|, last hidden layer = 1")
    for ax in axes[-1]:
        ax.set_xlabel(BY_LAYER)
    legend_below(figure, axes)
    figure.suptitle(
        "Gradients by layer (geometric mean with 95 % interval, "
        f"n = {summary['n'].min()} networks each; band: within a factor of 2)"
    )
    return figure


def plot_training(results: Results) -> Figure:
    """Draw the training loss by epoch, and test accuracy against the slope at initialization."""
    groups = list(results.runs.dropna(subset="grad").groupby("activation", sort=False))
    figure, axes = plt.subplots(2, len(groups), figsize=(1.5 + 3.6 * len(groups), 7), squeeze=False, sharey="row")
    for (top, bottom), (name, runs) in zip(axes.T, groups, strict=True):
        for label, rows, color, marker, _ in styled(runs):
            estimates = mean_intervals(stacked(rows, "epoch_loss").astype(float))
            epochs = np.arange(1, results.config.epochs + 1)
            points(top, epochs, estimates, marker + "-", color, label)
            bottom.plot(at_stage(rows, "slope"), rows["accuracy"], marker, color=color, ms=4, alpha=0.6)
        top.set(title=name, xlabel="epoch", yscale="log")
        top.xaxis.get_major_locator().set_params(integer=True)
        bottom.set(xlabel="slope of the log gradient at initialization\n(> 0: vanishing)")
        bottom.axvline(0, color="0.7", lw=1, zorder=0)
    axes[0, 0].set_ylabel("training loss (mean, 95 % interval)")
    axes[1, 0].set_ylabel("test accuracy (a point per network)")
    legend_below(figure, axes)
    figure.suptitle(
        f"What vanishing costs (epochs: {results.config.epochs}, n = {groups[0][1]['seed'].nunique()} networks each)"
    )
    return figure


def plot(results: Results) -> dict[str, Figure]:
    """Draw the violins by activation, moments against theory, gradients, and the training."""
    summary = summarize(results)
    runs = results.runs.dropna(subset="grad")
    drawn = {
        f"violins_{name}": plot_violins(rows, results.config) for name, rows in runs.groupby("activation", sort=False)
    }
    drawn |= {"moments": plot_moments(summary), "gradients": plot_gradients(summary)}
    if results.config.epochs:
        drawn["training"] = plot_training(results)
    return drawn
