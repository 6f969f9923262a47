"""Figures of how networks learn: error by epoch, learning rates, and what a layer more gains by the budget."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jaxstudies.evidence import intervals
from jaxstudies.evidence.estimands import LEAST_NORMAL
from jaxstudies.output import plotting, table
from jaxstudies.output.words import words
from jaxstudies.studies.depth_width.claims import NUMBER, slopes
from jaxstudies.studies.depth_width.looks import MODERN, MODERN_COLOR, RECIPES, STYLES, draw_band, look
from jaxstudies.study import Results


def best_networks(runs: pd.DataFrame, by: list[str]) -> Iterator[tuple[pd.DataFrame, str, str, str]]:
    """Yield rows, name, color and style of the shape best on validation data in each group, and of the modern one."""
    # A sum of what stays finite may be more than 32 bits hold.
    finite = runs[~runs["nonfinite"].astype(bool)].astype({"validation_rmse": float})
    for _, group in finite[finite["part"] == "shapes"].groupby(by, sort=False):
        shape, recipe = group.groupby(["shape", "recipe"])["validation_rmse"].mean().idxmin()
        rows = group[(group["shape"] == shape) & (group["recipe"] == recipe) & group["curve"].notna()]
        label, color = f"{shape}, {words(recipe)} (n = {len(rows)})", look(int(rows["depth"].iloc[0]))["color"]
        yield rows, label, color, STYLES[recipe]
    rows = finite[(finite["part"] == "modern") & finite["curve"].notna()]
    if len(rows):
        yield rows, f"{rows['shape'].iloc[0]}, {MODERN} (n = {len(rows)})", MODERN_COLOR, "-"


def plot_curves(runs: pd.DataFrame) -> Figure:
    """Draw the validation error over epochs: the best shape of each depth, and the modern one."""
    figure, ax = plt.subplots(figsize=(7.5, 4.8))
    for rows, label, color, style in best_networks(runs, ["recipe", "depth"]):
        curves = pd.DataFrame(table.stacked(rows, "curve")).dropna(axis=1, how="all")
        band, marker = curves.agg(["mean", "min", "max"]).to_numpy(), "o" if curves.shape[1] < 4 else None
        draw_band(ax, curves.columns + 1, band, color, style, label=label, marker=marker)
    ax.set(xscale="log", yscale="log", xlabel="epoch", ylabel="validation RMSE (units of f)")
    for axis in (ax.xaxis, ax.yaxis):
        plotting.plain_log_ticks(axis)
    ax.legend(fontsize=8, loc="lower left")
    ax.set_title("The best shape of each depth and recipe (mean over seeds, band: their range)")
    return figure


def plot_rates(results: Results) -> Figure:
    """Draw each network's learning rate against its parameters; SGD's are times the width of the last hidden layer."""
    rows = results.runs[results.runs["part"] == "shapes"]
    groups = dict(list(rows.groupby("recipe", sort=False)))
    figure, axes = plt.subplots(1, len(groups), figsize=(1 + 5.2 * len(groups), 4.4), squeeze=False)
    for ax, (recipe, group) in zip(axes[0], groups.items(), strict=True):
        grid = {"sgd": results.config.sgd_rates, "adam": results.config.adam_rates}[str(recipe)]
        last = group["shape"].str.rsplit("-", n=1).str[-1].astype(float)
        rates = group["learning_rate"] * (last if recipe == "sgd" and not results.config.raw else 1)
        for rate in grid if not (recipe == "sgd" and results.config.raw) else ():
            ax.axhline(rate, color="0.85", lw=0.8, zorder=0)
        for depth, own in group.groupby("depth"):
            # Seeds that have the same rate stand beside one another.
            apart = 1.02 ** (own["seed"] - own["seed"].mean())
            ax.plot([], [], ls="", ms=5, label=f"{depth} hidden layer{'s' * (depth != 1)}", **look(int(depth)))
            ax.plot(own["parameters"] * apart, rates[own.index], ls="", ms=3.5, alpha=0.6, **look(int(depth)))
        ax.set(xscale="log", yscale="log", xlabel="trained parameters", title=RECIPES[str(recipe)])
        ax.set_ylabel("learning rate" + (" × width of the last layer" if recipe == "sgd" else ""))
        ax.legend(fontsize=8, frameon=True)
    figure.suptitle(f"Learning rates by validation, after {results.config.search_budget} epochs (each point a network)")
    return figure


def plot_gains(results: Results) -> dict[str, Figure]:
    """Draw how much more steeply the error falls with a layer more, by epoch; nothing without slopes of two depths."""
    rows = results.runs
    rows = rows[(rows["part"] == "shapes") & (rows["recipe"] == "sgd") & ~rows["nonfinite"].astype(bool)]
    many = set(rows.groupby("depth")["parameters"].nunique().loc[lambda shapes: shapes > 1].index)
    pairs = sorted(many & {depth + 1 for depth in many})
    if not pairs:
        return {}
    curves = table.stacked(rows, "curve")[:, : results.config.epochs]
    epochs = np.unique(np.geomspace(1, curves.shape[1], 60).astype(int))
    figure, ax = plt.subplots(figsize=(7.5, 4.6))
    ax.axhline(0, color="0.4", lw=1)
    few = rows["seed"].nunique() < LEAST_NORMAL
    for deep in pairs:
        gains = pd.DataFrame([_gain(rows.assign(error=curves[:, epoch - 1]), deep) for epoch in epochs])
        color, marker = look(deep)["color"], "o" if len(epochs) < 4 else None
        label = f"{NUMBER.get(deep, deep)} layers rather than {NUMBER.get(deep - 1, deep - 1)}"
        if few:
            ax.plot(epochs, gains.mean(axis=1), color=color, marker=marker, label=label)
            ax.plot(epochs, gains, color=color, marker=marker, lw=0.8, alpha=0.6)
        else:
            band = np.array([intervals.mean_interval(each[~np.isnan(each)]) for each in gains.to_numpy()]).T
            draw_band(ax, epochs, band, color, "-", label=label, marker=marker)
    ax.set(xscale="log", xlabel="epoch", ylabel="difference of log-log slopes (below 0: depth helps)")
    plotting.plain_log_ticks(ax.xaxis)
    ax.legend(fontsize=9)
    shown = "each thin" if few else "95 % t band"
    ax.set_title(f"What a layer more gains, by the budget (SGD; n = {rows['seed'].nunique()} seeds, {shown})")
    return {"gains": figure}


def _gain(rows: pd.DataFrame, deep: int) -> pd.Series:
    deeper, shallower = (slopes(rows[rows["depth"] == depth], "error") for depth in (deep, deep - 1))
    return deeper - shallower
