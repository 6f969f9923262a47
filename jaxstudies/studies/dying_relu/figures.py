"""The figures of the dying-ReLU study."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jaxstudies.networks.data import TARGETS, grid_inputs
from jaxstudies.networks.diagnostics import COLLAPSE_RULES
from jaxstudies.output import plotting, table
from jaxstudies.output.words import STAGES, words
from jaxstudies.studies.dying_relu.counts import has, in_epochs, summarize
from jaxstudies.studies.dying_relu.simulation import CURVE, GRID_POINTS, KINDS
from jaxstudies.study import Results

COLOR = {"relu": plotting.COLORS[0], "leaky_relu": plotting.COLORS[1]}
SETTING = ["target", "init", "depth", "width", "loss", "epochs"]
UNITS = {
    "dead": ("dead", 4.0),
    "dormant_0.025": ("0.025-dormant", 2.5),
    "dormant_0.1": ("0.1-dormant", 1.2),
    "linear": ("linear", 1.5),
}
"""Kinds of unit, their names, and line widths that let equal shares be seen behind one another."""
NO_UNITS = np.empty((0, len(STAGES), len(KINDS), 0))
SETTINGS_SHOWN = 6
CAPTIONS = {
    "shares": "Shares of networks that are constant by five rules, with Wilson's 95 % intervals. Slopes and ranges are "
    "those of the output on a grid, ranges in the target's standard deviations. If more than 90 % of the ReLU networks "
    "collapse, blue lies to the right of the dotted line; if Leaky ReLU prevents it, orange lies to the left of blue. "
    "The gray band, if any, is theory's for ReLU at initialization and the first rule.",
    "r2": "R² of each network on a grid after training: 1 is a perfect fit, 0 as good as the target's mean. Left, a "
    "histogram on a logarithmic scale; right, the share of networks at or below a value. Networks that have learned "
    "nothing stand at 0 or below, so look how high each curve has risen there.",
    "functions": "Outputs of the first networks over the target, those of dead ones on the left: their slope is 0 at "
    "all points of a grid. A dead network can do no better than a constant, which for the MSE is the target's mean. "
    "Look on the right for networks that are not dead but flat over part of the interval.",
    "units": "Shares of the units of each layer, means over networks with 95 % bands. A dead unit has derivative 0 at "
    "all inputs, a linear one the same other derivative at all of them; a τ-dormant one has a mean |activation| of at "
    "most τ times its layer's. A layer whose units are all dead passes nothing on: look whether their share grows with "
    "depth.",
}


def plot(results: Results) -> dict[str, Figure]:
    """Draw the figures: shares, R^2, units by layer, learned functions.

    Units and functions are left out where there are no profiles.
    """
    runs = results.runs
    study = runs[(runs["part"] == "study") & runs["seed"].notna()]
    first = study.iloc[0]
    networks = study[(study[SETTING] == first[SETTING]).all(axis=1)]
    finite, name = ~networks["nonfinite"].astype(bool), name_setting(first)
    groups = {activation: rows[finite[rows.index]] for activation, rows in networks.groupby("activation", sort=False)}
    drawn = {"shares": plot_shares(summarize(results)), "r2": plot_r2(groups, name)}
    if "units" not in runs:
        return drawn
    drawn["units"] = plot_units(groups, name)
    if TARGETS[first["target"]].dimension == 1:
        drawn["functions"] = plot_functions(groups, name, first["target"])
    return drawn


def name_setting(row: pd.Series) -> str:
    """Return a setting in words, without its activation."""
    target, init, loss = map(words, row[["target", "init", "loss"]])
    return f"{target}, {init}, {row['depth']} layers of {row['width']}, {loss}, {in_epochs(row['epochs'])}"


def plot_shares(summary: pd.DataFrame) -> Figure:
    """Draw the share collapsed by activation, stage and rule, with intervals and theory."""
    settings = list(summary.groupby(SETTING, sort=False))
    panels = settings[:SETTINGS_SHOWN]
    figure, axes = plt.subplots(1, len(panels), figsize=(3.0 + 4.5 * len(panels), 4.4), sharey=True, squeeze=False)
    rules = list(COLLAPSE_RULES)[::-1]
    for ax, (_, panel) in zip(axes[0], panels, strict=True):
        bounds = panel[["theory_low", "theory_high"]].dropna(how="all")
        if len(bounds):
            # With several inputs there is no lower bound but 0.
            low, high = bounds.iloc[0].fillna(0)
            ax.axvspan(low, high, color="0.85", label="born dead, theory's bounds")
        ax.axvline(0.9, color="0.4", ls=":", label="90 % (Lu et al.)")
        groups = panel.set_index("rule").groupby(["activation", "stage"], sort=False)
        for i, ((activation, stage), rows) in enumerate(groups):
            at, label = np.arange(len(rules)) + 0.27 - 0.18 * i, f"{words(activation)}, {STAGES[stage]}"
            filled = stage == "trained"
            plotting.intervals(ax, at, rows.loc[rules], color=COLOR[activation], label=label, filled=filled)
        ax.set(xlim=(-0.02, 1.02), xlabel="share of networks")
        ax.set_yticks(range(len(rules)), list(map(words, rules)))
        least, most = panel["n"].min(), panel["n"].max()
        n = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        ax.set_title(f"{name_setting(panel.iloc[0])}\nn = {n} networks each", fontsize=9)
        ax.grid(axis="x", alpha=0.3)
    axes[0, 0].set_ylabel("rule for a collapsed network")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    drawn = plotting.count_drawn(len(panels), len(settings))
    figure.suptitle(f"How many networks are constant? (Wilson 95 % intervals){drawn}")
    return figure


def plot_functions(groups: dict[str, pd.DataFrame], name: str, target: str, most: int = 50) -> Figure:
    """Draw `most` learned functions of each activation over the target: dead networks on the left."""
    size = 8.5, 0.6 + 2.9 * len(groups)
    figure, axes = plt.subplots(len(groups), 2, figsize=size, sharex=True, sharey=True, squeeze=False)
    grid = grid_inputs(GRID_POINTS, 1)
    x, y = np.asarray(grid)[CURVE, 0], np.asarray(TARGETS[target].function(grid))
    margin = 0.35 * np.ptp(y)
    for row, (activation, networks) in zip(axes, groups.items(), strict=True):
        curves = table.stacked(networks, "curve")[:most] if len(networks) else np.empty((0, len(x)))
        dead = has(networks["outcome"], "trained", "zero_slope").to_numpy()
        for ax, kind, chosen in zip(row, ("dead", "not dead"), (dead, ~dead), strict=True):
            some = curves[chosen[:most]]
            ax.plot(grid, y, color="black", lw=1.5, ls="--", label="target")
            ax.plot(x, some.T, color=COLOR[activation], lw=0.8, alpha=0.6)
            if not len(some):
                why = "none" if len(networks) else plotting.NOTHING_FINITE
                ax.text(0.5, 0.03, why, ha="center", style="italic", transform=ax.transAxes)
            share = f" (all: {chosen.mean():.1%})" if len(chosen) else ""
            ax.set_title(f"{words(activation)}, {kind}: {len(some)} of {len(curves)}{share}")
            ax.set_ylim(y.min() - margin, y.max() + margin)
        row[0].set_ylabel("output")
    axes[0, 0].legend(loc="lower left")
    plt.setp(axes[-1], xlabel="input x")
    shown = min(most, max(map(len, groups.values())))
    figure.suptitle(f"Functions of the first {shown} networks of each kind, dead or not\n({name})")
    return figure


def plot_r2(groups: dict[str, pd.DataFrame], name: str) -> Figure:
    """Draw the distribution of R^2 after training as a histogram and as shares below a value."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6))
    for activation, networks in groups.items():
        color, label, n = COLOR[activation], f"{words(activation)} (n = {len(networks):,})", len(networks)
        if not n:
            left.plot([], [])
            right.plot([], [], color=color, label=f"{words(activation)}: {plotting.NOTHING_FINITE}")
            continue
        values = np.sort(table.stacked(networks, "r2")[:, 1]).clip(-1, 1)
        bins, weights = np.linspace(-1, 1, 41).tolist(), np.full(n, 1 / n)
        left.hist(values, bins, weights=weights, color=color, alpha=0.55, label=label)
        right.plot([-1, *values], [0, *np.arange(1, n + 1) / n], color=color, label=label)
    left.set(xlabel="R² on the grid (below −1 shown at −1)", ylabel="share of networks")
    left.set(yscale="log", ylim=(None, 1.3))
    right.set(xlabel="R² on the grid", ylabel="share of networks at or below", xlim=(-1, 1.02))
    right.grid(alpha=0.3)
    plt.setp((left, right), xticks=[-1, -0.5, 0, 0.5, 1])
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    figure.suptitle(f"What the networks explain ({name})")
    return figure


def plot_units(groups: dict[str, pd.DataFrame], name: str) -> Figure:
    """Draw dead, dormant and linear units by layer, before and after training."""
    size = 1 + 4.2 * len(groups), 4.2
    figure, axes = plt.subplots(1, len(groups), figsize=size, sharey=True, squeeze=False)
    for ax, (activation, networks) in zip(axes[0], groups.items(), strict=True):
        ax.set(title=f"{words(activation)} (n = {len(networks):,})", xlabel="hidden layer", ylim=(-0.02, 1.02))
        ax.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        units = table.stacked(networks, "units")[..., : networks["depth"].iloc[0]] if len(networks) else NO_UNITS
        for color, (kind, (said, lw)) in zip(plotting.COLORS, UNITS.items(), strict=False):
            for i, (stage, style) in enumerate(zip(STAGES.values(), (":", "-"), strict=True)):
                plotting.layer_lines(ax, units[:, i, KINDS.index(kind)], color, f"{said}, {stage}", style, lw)
    axes[0, 0].set_ylabel("share of units (mean, 95 % band)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(f"Units by layer ({name})")
    return figure
