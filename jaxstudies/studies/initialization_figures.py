"""The figures of the initialization study."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxstudies import plotting

COLORS = (*plotting.COLORS, "0.55")
MARKERS = "osD^vP*X"
NAMES = {
    "normal": "normal", "glorot_normal": "Glorot", "glorot_uniform": "Glorot uniform",
    "he_normal": "He", "he_uniform": "He uniform", "lecun_normal": "LeCun",
    "orthogonal": "orthogonal", "lsuv": "LSUV",
}  # fmt: skip


def name_init(init: str, sigma: float) -> str:
    """Return an initialization in words."""
    return NAMES[init] if np.isnan(sigma) else f"σ = {sigma:.2f}"


def name_network(rows: pd.DataFrame) -> str:
    """Return the network in words."""
    first = rows.iloc[0]
    linear = "linear layer, " if first["linear_first_layer"] else ""
    return f"{linear}{first['depth']} hidden layers of {first['width']}"


def settings(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """List (initialization in words, its rows)."""
    groups = rows.groupby(["init", "sigma"], sort=False, dropna=False)
    return [(name_init(*labels), group) for labels, group in groups]  # type: ignore[misc]


def samples(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Return what was kept of each layer, (layers, values)."""
    values = rows.filter(regex=f"^{name}_").to_numpy()
    depth = rows["depth"].iloc[0]
    return values.reshape(len(rows), depth, -1).swapaxes(0, 1).reshape(depth, -1)


def violins(ax: Axes, layers: np.ndarray, color: str) -> None:
    """Draw a violin for each layer, with its quartiles, of the values that are finite."""
    finite = {i + 1: layer[np.isfinite(layer)] for i, layer in enumerate(layers)}
    drawn = {number: values for number, values in finite.items() if len(values)}
    parts: Any = ax.violinplot(
        list(drawn.values()), list(drawn), widths=0.85, showextrema=False,
        quantiles=[[0.25, 0.5, 0.75]] * len(drawn),
    )  # fmt: skip
    parts["cquantiles"].set(color="0.2", linewidth=0.7, linestyle="--")
    for body in parts["bodies"]:
        body.set(facecolor=color, edgecolor="0.3", linewidth=0.7, alpha=1)
    ax.set_xticks(range(1, len(layers) + 1))


def log10(values: np.ndarray) -> np.ndarray:
    """Return the logarithm of what is positive, NaN elsewhere."""
    return np.log10(values, out=np.full(values.shape, np.nan), where=values > 0)


def plot_violins(runs: pd.DataFrame) -> Figure:
    """Draw activations by layer above and gradients by layer below, for each initialization.

    Activations whose sizes differ tenfold, as those of ReLU do, are drawn on a logarithmic scale.
    """
    born = runs[runs["stage"] == "born"]
    listed = settings(born)
    figure, axes = plt.subplots(
        2, len(listed), figsize=(1.2 + 1.95 * len(listed), 5.6), sharey="row", squeeze=False
    )
    activations = [samples(rows, "activation_sample") for _, rows in listed]
    gradients = [log10(np.abs(samples(rows, "gradient_sample"))) for _, rows in listed]
    sizes = [np.percentile(np.abs(values), 99) for values in activations]
    logarithmic = min(map(np.min, activations)) >= 0 and max(sizes) > 10 * min(sizes)
    if logarithmic:
        activations = [log10(values) for values in activations]
    for line, values, color in zip(
        axes, (activations, gradients), (plotting.COLORS[5], plotting.COLORS[4]), strict=True
    ):
        for ax, layers in zip(line, values, strict=True):
            violins(ax, layers, color)
        # A violin may end in a hair that is many times as long as its body.
        low, high = np.nanpercentile(np.concatenate([v.ravel() for v in values]), [2, 99.9])
        line[0].set_ylim(low - 0.2 * (high - low), high + 0.05 * (high - low))
    for column, (name, rows) in zip(axes.T, listed, strict=True):
        means = log10(rows.filter(regex=r"^grad_\d").to_numpy()).mean(axis=0)
        column[1].plot(range(1, len(means) + 1), means, "o-", color="black", ms=4, lw=1.2,
                       label="mean |∂L/∂z|")  # fmt: skip
        column[0].set_title(name)
    axes[0, 0].set_ylabel("log10 activation" if logarithmic else "activation")
    axes[1, 0].set_ylabel("log10 |∂L/∂z|")
    axes[1, 0].legend(loc="lower right", fontsize=8)
    figure.supxlabel("hidden layer", fontsize=10)
    per_layer = activations[0].shape[1]
    left_out = "what is not 0" if logarithmic else "of the gradients what is not 0"
    figure.suptitle(
        f"{runs['activation'].iloc[0]} at initialization: activations and gradients by layer "
        f"({name_network(runs)}; n = {born['seed'].nunique()} networks each)\n"
        f"violins: {per_layer:,} units and images at random, {left_out}; dashed: quartiles",
        fontsize=11,
    )
    return figure


def legend_below(figure: Figure, axes: np.ndarray) -> None:
    """Put one legend under all panels, with every label that one of them has."""
    found = {}
    for ax in axes.flat:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    columns = min(len(found), int(figure.get_figwidth() / 1.4))
    figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns)


def plot_moments(summary: pd.DataFrame) -> Figure:
    """Draw the second moment by layer against theory, and saturation by layer."""
    born = summary[summary["stage"] == "born"]
    names = list(born["activation"].unique())
    figure, axes = plt.subplots(
        2, len(names), figsize=(1.5 + 3.6 * len(names), 7), sharex=True, squeeze=False
    )
    for (top, bottom), name in zip(axes.T, names, strict=True):
        for i, (label, rows) in enumerate(settings(born[born["activation"] == name])):
            color, marker = COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]
            middle = rows["second_moment"]
            ends = [middle - rows["second_moment_low"], rows["second_moment_high"] - middle]
            top.errorbar(rows["layer"], middle, ends, fmt=marker, color=color, ms=5, capsize=2,
                         label=label)  # fmt: skip
            top.plot(rows["layer"], rows["theory_second_moment"], "-", color=color, lw=1.2)
            bottom.plot(rows["layer"], rows["saturation"], marker + "-", color=color, ms=5, lw=1.2)
        top.set(yscale="log", title=name)
        bottom.set(ylim=(-0.03, 1.03), xlabel="hidden layer")
        bottom.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("second moment of the activations\n(points; lines: mean field)")
    axes[1, 0].set_ylabel("saturated share of units and images\n(|derivative| < 5 % of maximum)")
    legend_below(figure, axes)
    figure.suptitle(
        "Activations at initialization "
        f"(means with 95 % intervals, n = {born['n'].min()} networks each)"
    )
    return figure


def plot_gradients(summary: pd.DataFrame) -> Figure:
    """Draw E|dL/dz| by layer, relative to the last hidden layer's, with intervals."""
    stages = list(summary["stage"].unique())
    names = list(summary["activation"].unique())
    figure, axes = plt.subplots(
        len(stages), len(names), figsize=(1.5 + 3.6 * len(names), 1.2 + 3.4 * len(stages)),
        squeeze=False, sharex=True,
    )  # fmt: skip
    for line, stage in zip(axes, stages, strict=True):
        for ax, name in zip(line, names, strict=True):
            shown = summary[(summary["activation"] == name) & (summary["stage"] == stage)]
            for i, (label, rows) in enumerate(settings(shown)):
                last = rows["grad_norm"].iloc[-1]
                middle, low, high = (
                    rows[c].to_numpy() / last for c in ("grad_norm", "low", "high")
                )
                ax.errorbar(
                    rows["layer"], middle, [middle - low, high - middle], capsize=2, ms=5, lw=1.2,
                    fmt=MARKERS[i % len(MARKERS)] + "-", label=label,
                    color=COLORS[i % len(COLORS)],
                )  # fmt: skip
            ax.axhspan(0.5, 2, color="0.9", zorder=0)
            ax.set(
                yscale="log", title=f"{name}, {'at initialization' if stage == 'born' else stage}"
            )
            ax.xaxis.get_major_locator().set_params(integer=True)
        line[0].set_ylabel("mean |∂L/∂z|, last hidden layer = 1")
    for ax in axes[-1]:
        ax.set_xlabel("hidden layer")
    legend_below(figure, axes)
    figure.suptitle(
        "Gradients by layer (geometric mean with 95 % interval, "
        f"n = {summary['n'].min()} networks each; band: within a factor of 2)"
    )
    return figure


def plot_training(runs: pd.DataFrame) -> Figure:
    """Draw the training loss by epoch, and test accuracy against the slope at initialization."""
    trained, born = (runs[runs["stage"] == stage] for stage in ("trained", "born"))
    names = list(runs["activation"].unique())
    figure, axes = plt.subplots(
        2, len(names), figsize=(1.5 + 3.6 * len(names), 7), squeeze=False, sharey="row"
    )
    for (top, bottom), name in zip(axes.T, names, strict=True):
        ours = zip(
            settings(trained[trained["activation"] == name]),
            settings(born[born["activation"] == name]), strict=True,
        )  # fmt: skip
        for i, ((label, rows), (_, before)) in enumerate(ours):
            color, marker = COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]
            losses = rows.filter(regex=r"^epoch_loss").to_numpy(float)
            losses = losses[:, ~np.isnan(losses).all(axis=0)]
            epochs = np.arange(1, losses.shape[1] + 1)
            half = 1.96 * losses.std(axis=0) / np.sqrt(len(losses))
            top.errorbar(epochs, losses.mean(axis=0), half, fmt=marker + "-", color=color, ms=4,
                         label=label)  # fmt: skip
            bottom.plot(before["slope"], rows["accuracy"], marker, color=color, ms=4, alpha=0.6)
        top.set(title=name, xlabel="epoch", yscale="log")
        top.xaxis.get_major_locator().set_params(integer=True)
        bottom.set(xlabel="slope of the log gradient at initialization\n(> 0: vanishing)")
        bottom.axvline(0, color="0.7", lw=1, zorder=0)
    axes[0, 0].set_ylabel("training loss (mean, 95 % interval)")
    axes[1, 0].set_ylabel("test accuracy (a point per network)")
    legend_below(figure, axes)
    figure.suptitle(
        f"What vanishing costs (epochs: {trained['epochs'].iloc[0]}, "
        f"n = {trained['seed'].nunique()} networks each)"
    )
    return figure
