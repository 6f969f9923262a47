"""The figures of the initialization study."""

from collections.abc import Iterable, Sequence
from itertools import cycle, product
from typing import get_args

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.mlab import GaussianKDE
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from jaxstudies.evidence.intervals import mean_intervals
from jaxstudies.networks.names import ActivationName
from jaxstudies.output import plotting
from jaxstudies.output.table import stacked
from jaxstudies.output.words import STAGES, words, words_apart
from jaxstudies.studies.initialization.config import Config
from jaxstudies.studies.initialization.summary import at_stage, summarize
from jaxstudies.study import Results

VIOLINS = (
    "Activations (above) and gradients by pre-activations (below) by hidden layer, a column for each initialization; "
    "those named σ are normal. Violins are of a sample of units and images of all networks, dashed lines quartiles; on "
    "a logarithmic scale zeros are left out. If gradients vanish, the violins below sink from the last layer to the "
    "first."
)
CAPTIONS = {
    **{f"violins_{name}": VIOLINS for name in get_args(ActivationName)},
    "moments": "Above, the second moment of the activations by layer, means over networks with 95 % intervals, and "
    "mean field's (lines): if it describes the networks, the points lie on the lines. Below, the share of units and "
    "images at which the derivative of the activation is less than 5 % of its maximum. Look for initializations under "
    "which the activations die out, grow or saturate with depth.",
    "gradients": "Size of the gradient by the pre-activations of each layer, relative to that of the last hidden "
    "layer: geometric means over networks with 95 % intervals. Where gradients vanish, points fall below the gray band "
    "towards the first layer; where they explode, they rise above it.",
    "training": "Above, the training loss by epoch, means over networks with 95 % intervals. Below, the test accuracy "
    "of each network against the slope of its log gradient over layers at initialization. If vanishing gradients cost "
    "accuracy, points on the right lie lower than those at 0.",
}
COLORS = (*plotting.COLORS, "0.55")
MARKERS = "osD^vP*X"
BY_LAYER = "hidden layer (settings side by side)"
MOST_TICKS = 10
"""Layers that are all named below a panel of violins."""
POINTS = 300
"""Heights at which a violin is drawn: enough for its body where a hair takes most of them."""


def name_inits(inits: Sequence[tuple[str, float]]) -> list[str]:
    """Return initializations in words, a standard deviation with two digits behind the point if these tell it."""
    sigmas = list(dict.fromkeys(sigma for _, sigma in inits if not np.isnan(sigma)))
    two = [f"{sigma:.2f}" for sigma in sigmas]
    exact = len(set(two)) == len(two) and "0.00" not in two
    said = dict(zip(sigmas, two if exact else words_apart(sigmas), strict=True))
    return [words(init) if np.isnan(sigma) else f"σ = {said[sigma]}" for init, sigma in inits]


def styled(rows: pd.DataFrame) -> list[tuple[pd.DataFrame, float, dict[str, str]]]:
    """List each initialization's rows, how far aside its points stand (to be seen), and its style."""
    groups = list(rows.groupby(["init", "sigma"], sort=False, dropna=False))
    asides, names = 0.07 * (np.arange(len(groups)) - (len(groups) - 1) / 2), name_inits([init for init, _ in groups])
    return [
        (group, aside, {"label": name, "color": color, "marker": marker})
        for (_, group), aside, name, color, marker in zip(groups, asides, names, cycle(COLORS), cycle(MARKERS))
    ]


def robust_bandwidth(kde: GaussianKDE) -> float:
    """Return a kernel's width relative to the standard deviation, by Silverman's robust rule.

    A hair of a few values far away widens the deviation, and with it kernels of Scott's rule, but
    not the quartiles.
    """
    values = np.ravel(kde.dataset)
    spread = np.subtract(*np.percentile(values, [75, 25])) / 1.34
    deviation = values.std(ddof=1)
    return kde.scotts_factor() * (spread / deviation if 0 < spread < deviation else 1)


def violins(axes: np.ndarray, values: list[np.ndarray], color: str) -> None:
    """Draw the violins of all settings, of what is finite, and choose the limits of the axis that they share."""
    style = {"widths": 0.85, "showextrema": False, "points": POINTS, "bw_method": robust_bandwidth}
    for ax, layers in zip(axes, values, strict=True):
        finite = {number: layer[np.isfinite(layer)] for number, layer in enumerate(layers, 1)}
        drawn = {number: layer for number, layer in finite.items() if len(layer)}
        if drawn:
            quartiles = [[0.25, 0.5, 0.75]] * len(drawn)
            parts = ax.violinplot(list(drawn.values()), list(drawn), quantiles=quartiles, **style)
            parts["cquantiles"].set(color="0.2", linewidth=0.7, linestyle="--")
        else:
            ax.plot([], [])  # a panel that says why it is empty
        for body in ax.findobj(PolyCollection):
            body.set(facecolor=color, edgecolor="0.3", linewidth=0.7, alpha=1)
        if len(finite) > MOST_TICKS:
            ax.xaxis.set_major_locator(MaxNLocator(MOST_TICKS // 2, integer=True))
        else:
            ax.set_xticks(list(finite))
    # Below, a violin may end in a hair that is many times as long as its body.
    shown = plotting.finite_of(np.concatenate([layers.ravel() for layers in values]))
    if len(shown) and (low := np.percentile(shown, 2)) < (high := shown.max()):
        bottom = max(low - 0.2 * (high - low), shown.min() - 0.05 * (high - low))
        axes[0].set_ylim(bottom, high + 0.05 * (high - low))


def log10(values: np.ndarray) -> np.ndarray:
    """Return the logarithm of what is positive, NaN elsewhere."""
    return np.log10(values, out=np.full(values.shape, np.nan), where=values > 0)


def plot_violins(born: pd.DataFrame, config: Config) -> Figure:
    """Draw activations by layer above and gradients by layer below, for each initialization.

    Activations whose sizes differ tenfold, as those of ReLU do, are drawn on a logarithmic scale.
    """
    listed = styled(born)
    figure, axes = plt.subplots(2, len(listed), figsize=(1.2 + 1.95 * len(listed), 5.6), sharey="row", squeeze=False)
    activations = [np.hstack([*at_stage(rows, "activation_sample")]) for rows, _, _ in listed]
    gradients = [log10(np.abs(np.hstack([*at_stage(rows, "gradient_sample")]))) for rows, _, _ in listed]
    known = [finite for values in activations if len(finite := plotting.finite_of(values))]
    sizes = [np.percentile(np.abs(values), 99) for values in known]
    logarithmic = bool(known) and min(map(np.min, known)) >= 0 and max(sizes) > 10 * min(sizes)
    activations = [log10(values) for values in activations] if logarithmic else activations
    violins(axes[0], activations, plotting.COLORS[5])
    violins(axes[1], gradients, plotting.COLORS[4])
    for (top, bottom), (rows, _, style) in zip(axes.T, listed, strict=True):
        # Runs in which a gradient is 0 or not finite have no logarithm.
        means = np.nanmean(log10(at_stage(rows, "grad")), axis=0)
        bottom.plot(range(1, len(means) + 1), means, "o-", color="black", ms=4, lw=1.2, label="mean |∂L/∂z|")
        top.set_title(style["label"])
    axes[0, 0].set_ylabel("log₁₀ activation" if logarithmic else "activation")
    axes[1, 0].set_ylabel("log₁₀ |∂L/∂z|")
    axes[1, 0].legend(loc="lower right", fontsize=8)
    figure.supxlabel("hidden layer", fontsize=10)
    linear = "linear layer, " if config.linear_first_layer else ""
    title = f"{words(born['activation'].iloc[0])} at initialization: activations and gradients by layer\n({linear}"
    title += f"{config.depth} hidden layers of {config.width}; n = {born['seed'].nunique()} networks each; violins: "
    figure.suptitle(f"{title}{activations[0].shape[1]:,} units and images at random)", fontsize=11)
    return figure


def finish(figure: Figure, axes: np.ndarray, ylabels: Sequence[str], title: str) -> Figure:
    """Label the rows, and put one legend under all panels, with every label that one of them has."""
    found = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    columns = min(len(found), int(figure.get_figwidth() / 1.4))
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns)
    for ax, label in zip(axes[:, 0], ylabels, strict=True):
        ax.set_ylabel(label)
    figure.suptitle(title)
    return figure


def points(ax: Axes, at: ArrayLike, estimates: Iterable[np.ndarray | pd.Series], style: dict, line: str = "-") -> None:
    """Draw estimates, given with the lower and upper ends of their intervals."""
    middle, low, high = estimates
    ends = plotting.interval_ends(middle, low, high)
    ax.errorbar(at, middle, ends, linestyle=line, ms=5, capsize=2, lw=1.2, **style)


def plot_moments(born: pd.DataFrame) -> Figure:
    """Draw the second moment by layer against theory, and saturation by layer.

    With few seeds an interval may reach below 0: it is drawn to the edge of the logarithmic axis.
    """
    groups, cut = list(born.groupby("activation", sort=False)), ""
    figure, axes = plt.subplots(2, len(groups), figsize=(1.5 + 3.6 * len(groups), 7), sharex=True, squeeze=False)
    for (top, bottom), (name, shown) in zip(axes.T, groups, strict=True):
        moments = shown[["second_moment", "theory_second_moment"]]
        least = moments[moments > 0].min(axis=None) / 3
        for rows, aside, style in styled(shown):
            at, low = rows["layer"] + aside, rows["second_moment_low"].clip(lower=least)
            points(top, at, (rows["second_moment"], low, rows["second_moment_high"]), style, "none")
            top.plot(at, rows["theory_second_moment"], "-", color=style["color"], lw=1.2)
            bottom.plot(at, rows["saturation"], "-", ms=5, lw=1.2, **style)
        top.set(yscale="log", title=words(name))
        if not np.isfinite(shown["second_moment"]).any():
            plotting.say(top, plotting.NOTHING_FINITE)
        if (shown["second_moment_low"] < least).any():
            top.set_ylim(bottom=least)
            cut = "; an interval that leaves the axis reaches further down"
        plotting.plain_log_ticks(top.yaxis)
        bottom.set(ylim=(-0.03, 1.03), xlabel=BY_LAYER)
        bottom.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    moments = "second moment of the activations\n(points; lines: mean field)"
    saturation = "saturated share of units and images\n(|derivative| < 5 % of maximum)"
    title = f"Activations at initialization (means with 95 % intervals, n = {born['n'].min()} networks each{cut})"
    return finish(figure, axes, [moments, saturation], title)


def plot_gradients(summary: pd.DataFrame) -> Figure:
    """Draw E|dL/dz| by layer, relative to the last hidden layer's, with intervals."""
    stages, names = summary["stage"].unique(), summary["activation"].unique()
    size = 1.5 + 3.6 * len(names), 1.2 + 3.4 * len(stages)
    figure, axes = plt.subplots(len(stages), len(names), figsize=size, squeeze=False, sharex=True)
    cut = ""
    for ax, (stage, name) in zip(axes.flat, product(stages, names), strict=True):
        for rows, aside, style in styled(summary[(summary["activation"] == name) & (summary["stage"] == stage)]):
            last = rows["grad_norm"].iloc[-1]
            estimates = [rows[column].to_numpy() / last for column in ("grad_norm", "low", "high")]
            *estimates, note = plotting.cut_far(*estimates)
            points(ax, rows["layer"] + aside, estimates, style)
            cut = max(cut, note)
        ax.axhspan(0.5, 2, color="0.9", zorder=0)
        ax.set(yscale="log", title=f"{words(name)}, {STAGES[stage]}")
        plotting.plain_log_ticks(ax.yaxis)
        ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    plt.setp(axes[-1], xlabel=BY_LAYER)
    title = "Gradients by layer (geometric mean with 95 % interval, "
    title += f"n = {summary['n'].min()} networks each; band: within a factor of 2{cut})"
    return finish(figure, axes, ["mean |∂L/∂z|, last hidden layer = 1"] * len(stages), title)


def plot_training(runs: pd.DataFrame, epochs: int) -> Figure:
    """Draw the training loss by epoch, and test accuracy against the slope at initialization."""
    groups = list(runs.groupby("activation", sort=False))
    figure, axes = plt.subplots(2, len(groups), figsize=(1.5 + 3.6 * len(groups), 7), squeeze=False, sharey="row")
    for (top, bottom), (name, shown) in zip(axes.T, groups, strict=True):
        for rows, _, style in styled(shown):
            points(top, np.arange(epochs) + 1, mean_intervals(stacked(rows, "epoch_loss").astype(float)), style)
            bottom.plot(at_stage(rows, "slope"), rows["accuracy"], linestyle="none", ms=4, alpha=0.6, **style)
        top.set(title=words(name), xlabel="epoch", yscale="log")
        top.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        bottom.set(xlabel="slope of the log gradient at initialization\n(> 0: vanishing)")
        bottom.axvline(0, color="0.7", lw=1, zorder=0)
    ylabels = "training loss (mean, 95 % interval)", "test accuracy (a point per network)"
    title = f"What vanishing costs (epochs: {epochs}, n = {groups[0][1]['seed'].nunique()} networks each)"
    return finish(figure, axes, ylabels, title)


def plot(results: Results) -> dict[str, Figure]:
    """Draw the violins by activation, moments against theory, gradients, and the training."""
    summary, runs, config = summarize(results), results.runs.dropna(subset="grad"), results.config
    groups = runs.groupby("activation", sort=False)
    drawn = {f"violins_{name}": plot_violins(rows, config) for name, rows in groups}
    drawn["moments"] = plot_moments(summary[summary["stage"] == "born"])
    drawn["gradients"] = plot_gradients(summary)
    return drawn | ({"training": plot_training(runs, config.epochs)} if config.epochs else {})
