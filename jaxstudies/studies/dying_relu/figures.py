"""The figures of the dying-ReLU study."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jaxstudies.networks.data import TARGETS, grid_inputs
from jaxstudies.networks.diagnostics import COLLAPSE_RULES
from jaxstudies.output import plotting, table
from jaxstudies.studies.dying_relu.counts import has, in_epochs, summarize
from jaxstudies.studies.dying_relu.simulation import CURVE, GRID_POINTS, KINDS
from jaxstudies.study import Results

COLOR = {"relu": plotting.COLORS[0], "leaky_relu": plotting.COLORS[1]}
SETTING = ["target", "init", "depth", "width", "loss", "epochs"]
STAGES = {"born": "at initialization", "trained": "after training"}
UNITS = {
    "dead": ("dead", 4.0),
    "dormant_0.025": ("0.025-dormant", 2.5),
    "dormant_0.1": ("0.1-dormant", 1.2),
    "linear": ("linear", 1.5),
}
"""Kinds of unit, their names, and line widths that let equal shares be seen behind one another."""


def plot(results: Results) -> dict[str, Figure]:
    """Draw the figures: shares, R^2, units by layer, learned functions.

    Units and functions are left out where there are no profiles.
    """
    runs = results.runs
    study = runs[(runs["part"] == "study") & runs["seed"].notna()]
    same = ["target", "init", "depth", "width", "loss"]
    first = study[(study[same] == study[same].iloc[0]).all(axis=1)]
    drawn = {"shares": plot_shares(summarize(results)), "r2": plot_r2(first)}
    if "units" not in runs:
        return drawn
    drawn["units"] = plot_units(first)
    if TARGETS[first["target"].iloc[0]].dimension == 1:
        drawn["functions"] = plot_functions(first)
    return drawn


def name_setting(row: pd.Series) -> str:
    """Return a setting in words, without its activation."""
    return (
        f"{row['target']}, {row['init']}, {row['depth']} layers x {row['width']}, "
        f"{row['loss']}, {in_epochs(row['epochs'])}"
    )


def plot_shares(summary: pd.DataFrame) -> Figure:
    """Draw the share collapsed by activation, stage and rule, with intervals and theory."""
    panels = list(summary.groupby(SETTING, sort=False))[:6]
    figure, axes = plt.subplots(1, len(panels), figsize=(3.0 + 4.5 * len(panels), 4.4), sharey=True, squeeze=False)
    rules = list(COLLAPSE_RULES)[::-1]
    for ax, (_, panel) in zip(axes[0], panels, strict=True):
        bounds = panel[["theory_low", "theory_high"]].dropna(how="all")
        if len(bounds):
            # With several inputs there is no lower bound but 0.
            low, high = bounds.iloc[0].fillna(0)
            ax.axvspan(low, high, color="0.85", label="born dead, theory's bounds")
        ax.axvline(0.9, color="0.4", ls=":", label="90 % (Lu et al.)")
        groups = panel.groupby(["activation", "stage"], sort=False)
        for i, ((activation, stage), rows) in enumerate(groups):
            rows = rows.set_index("rule").loc[rules].reset_index()
            color = COLOR[activation]
            positions = np.arange(len(rules)) + 0.27 - 0.18 * i
            label = f"{activation}, {STAGES[stage]}"
            plotting.intervals(ax, positions, rows, color=color, label=label, filled=stage == "trained")
        ax.set(xlim=(-0.02, 1.02), xlabel="share of networks", yticks=range(len(rules)), yticklabels=rules)
        least, most = panel["n"].min(), panel["n"].max()
        n = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        ax.set_title(f"{name_setting(panel.iloc[0])}\nn = {n} networks each", fontsize=9)
        ax.grid(axis="x", alpha=0.3)
    axes[0, 0].set_ylabel("rule for a collapsed network")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle("How many networks are constant? (Wilson 95 % intervals)")
    return figure


def plot_functions(runs: pd.DataFrame, most: int = 50) -> Figure:
    """Draw learned functions over the target: dead networks on the left, others on the right.

    Args:
        runs: Rows of one setting's activations.
        most: Number of networks of each activation to draw.
    """
    activations = list(runs["activation"].unique())
    figure, axes = plt.subplots(
        len(activations), 2, figsize=(8.5, 0.6 + 2.9 * len(activations)), sharex=True, sharey=True, squeeze=False
    )
    grid = grid_inputs(GRID_POINTS, 1)
    x, curves = np.asarray(grid)[CURVE, 0], table.stacked(runs, "curve")
    y = np.asarray(TARGETS[runs["target"].iloc[0]].function(grid))
    finite = ~runs["nonfinite"].to_numpy(bool)
    dead_of = has(runs["outcome"], "trained", "zero_slope").to_numpy()
    margin = 0.35 * np.ptp(y)
    for row, activation in zip(axes, activations, strict=True):
        of_kind = np.flatnonzero((runs["activation"] == activation).to_numpy() & finite)
        shown = of_kind[:most]
        for ax, dead in zip(row, (True, False), strict=True):
            some = shown[dead_of[shown] == dead]
            share = np.mean(dead_of[of_kind] == dead) if len(of_kind) else np.nan
            ax.plot(grid, y, color="black", lw=1.5, ls="--", label="target")
            ax.plot(x, curves[some].T, color=COLOR[activation], lw=0.8, alpha=0.6)
            if not len(some):
                ax.text(0.5, 0.03, "none", ha="center", style="italic", transform=ax.transAxes)
            word = "dead" if dead else "not dead"
            ax.set_title(f"{activation}, {word}: {len(some)} of {len(shown)} (all: {share:.1%})")
            ax.set_ylim(y.min() - margin, y.max() + margin)
        row[0].set_ylabel("output")
    axes[0, 0].legend(loc="lower left")
    for ax in axes[-1]:
        ax.set_xlabel("input x")
    shown = min(most, runs.groupby("activation").size().max())
    title = f"Functions of the first {shown} networks of each kind, dead or not by rule zero_slope"
    figure.suptitle(f"{title}\n({name_setting(runs.iloc[0])})")
    return figure


def plot_r2(runs: pd.DataFrame) -> Figure:
    """Draw the distribution of R^2 after training as a histogram and as shares below a value."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6))
    for activation, group in runs[~runs["nonfinite"].astype(bool)].groupby("activation", sort=False):
        color = COLOR[activation]
        values = np.sort(table.stacked(group, "r2")[:, 1])
        label = f"{activation} (n = {len(values):,})"
        axes[0].hist(
            values.clip(-1, 1),
            bins=np.linspace(-1, 1, 41),
            color=color,
            alpha=0.55,
            label=label,
            weights=np.full(len(values), 1 / max(len(values), 1)),
        )
        share = np.arange(1, len(values) + 1) / len(values)
        axes[1].plot([-1, *values.clip(-1, 1)], [0, *share], color=color, label=label)
    axes[0].set(
        xlabel="R² on the grid (below −1 shown at −1)", ylabel="share of networks", yscale="log", ylim=(None, 1.3)
    )
    axes[1].set(xlabel="R² on the grid", ylabel="share of networks at or below", xlim=(-1, 1.02))
    axes[1].grid(alpha=0.3)
    for ax in axes:
        ax.set_xticks([-1, -0.5, 0, 0.5, 1])
    figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(f"What the networks explain ({name_setting(runs.iloc[0])})")
    return figure


def plot_units(runs: pd.DataFrame) -> Figure:
    """Draw dead, dormant and linear units by layer, before and after training."""
    activations = list(runs["activation"].unique())
    figure, axes = plt.subplots(
        1, len(activations), figsize=(1 + 4.2 * len(activations), 4.2), sharey=True, squeeze=False
    )
    for ax, activation in zip(axes[0], activations, strict=True):
        group = runs[(runs["activation"] == activation) & ~runs["nonfinite"].astype(bool)]
        units = table.stacked(group, "units")[..., : runs["depth"].iloc[0]]
        for color, (kind, (word, lw)) in zip(plotting.COLORS, UNITS.items(), strict=False):
            for i, (stage, style) in enumerate(zip(STAGES.values(), (":", "-"), strict=True)):
                shares = units[:, i, KINDS.index(kind)]
                plotting.layer_lines(ax, shares, color, f"{word}, {stage}", style, lw)
        ax.set(title=f"{activation} (n = {len(group):,})", xlabel="hidden layer", ylim=(-0.02, 1.02))
        ax.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("share of units (mean, 95 % band)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(f"Units by layer ({name_setting(runs.iloc[0])})")
    return figure
