"""Panels of the figures of the LeNet-5 study, and how arms and estimators look in them."""

from collections.abc import Iterator
from itertools import product

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, MultipleLocator, NullLocator
from scipy.special import expit, logit

from jaxstudies.evidence import intervals
from jaxstudies.networks.convnets import HIDDEN_LAYERS
from jaxstudies.output import plotting
from jaxstudies.output.table import stacked
from jaxstudies.output.words import words
from jaxstudies.selection import Selector
from jaxstudies.studies.lenet.claims import CONTRASTS, MARGIN, Weights, contrast
from jaxstudies.studies.lenet.design import ARMS
from jaxstudies.studies.lenet.simulation import AXES, ESTIMATORS, KINDS, NORMS, SPLITS
from jaxstudies.studies.lenet.summary import curves
from jaxstudies.study import Results

LOOKS = zip(ARMS, (6, 0, 1, 5, 2, 3, 2, 3, 4), "osD^vP<X*", strict=True)
LOOK: dict[str, plotting.Style] = {arm: {"color": plotting.COLORS[i], "marker": mark} for arm, i, mark in LOOKS}
LOOK |= {
    "running": {"label": "running averages", "color": "0.5", "ls": "--", "marker": "o", "ms": 6, "mfc": "white"},
    "precise": {"label": "precise statistics", "color": "0.1", "ls": "-", "marker": "o", "ms": 6, "mfc": "0.1"},
}
"""How arms are drawn, and estimators where no arm is meant."""
NESTED = {"standardized": 2.1, "bn_input": 1.4, "raw_bn": 0.7}
"""Relative sizes of arms that coincide under precise statistics: each shows around the next."""
SIDE = {"running": -1, "precise": 1}
MEASURE = {"accuracy": "accuracy in %", "loss": "cross-entropy (nats)"}
LAYERS = tuple(map(words, HIDDEN_LAYERS))
KIND_WORDS = ("learned scale", "learned bias", "running mean", "running variance (log scale)")
SHIFT_TICKS = (0.1, 0.2, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50)
LOSS_TICKS = tuple(m * 10.0**e for e in range(-4, 3) for m in (1, 2, 5))
ACCURACY_TICKS = (0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999)
DIFFERENCE_TICKS = (-100, -10, -1, -0.1, 0, 0.1, 1, 10, 100)
MOST = 1 - 1e-4  # where an accuracy of 1 is drawn, at the upper edge


def side_by_side(runs: pd.DataFrame, width: float) -> Iterator[tuple[str, pd.DataFrame, float]]:
    """Yield each arm with its rows and its place, arms standing `width` apart around 0."""
    groups = runs.groupby("arm", sort=False)
    for index, (arm, rows) in enumerate(groups):
        yield str(arm), rows, width * (index - (groups.ngroups - 1) / 2)


def band(values: np.ndarray) -> np.ndarray:
    """Return the mean of each column and the ends of its 95 % t interval (the mean without one)."""
    drawn = intervals.mean_intervals(values)
    return np.where(np.isnan(drawn), drawn[0], drawn)


def set_ticks(ax: Axes, scale: str, ticks: tuple[float, ...], ends: np.ndarray, unit: float = 1) -> None:
    """Give the y axis a scale with plain ticks alone, labeled in a unit; they are left away where there are no ends."""
    ax.set_yscale(scale)
    ax.set_yticks(ticks if len(ends) else (), [f"{tick / unit:g}" for tick in ticks if len(ends)])
    ax.yaxis.set_minor_locator(NullLocator())
    if len(ends):
        ax.set_ylim(*ends)


def ends_of(values: np.ndarray, scale: str) -> np.ndarray:
    """Return the least and the largest of the numbers that a scale has, or nothing."""
    shown = values[np.isfinite(values) & ((values > 0) | (scale != "log"))].astype(float)
    return np.array([shown.min(), shown.max()] if len(shown) else [])


def widened(ends: np.ndarray, factor: float) -> np.ndarray:
    """Return ends of a logarithmic axis with a margin."""
    return ends * np.array([1 / factor, factor])[: len(ends)]


def set_scale(ax: Axes, measure: str, values: np.ndarray) -> None:
    """Give an axis the scale of a measure: accuracies a logit one in percent, losses a log one."""
    if measure == "accuracy":  # with half a logit of margin
        ends, margin = ends_of(values, "logit"), np.log([1 / 1.3, 1.3])
        set_ticks(ax, "logit", ACCURACY_TICKS, expit(logit(ends.clip(0.05, MOST)) + margin[: len(ends)]), unit=0.01)
    else:
        set_ticks(ax, "log", LOSS_TICKS, widened(ends_of(values, "log"), 1.2))


def draw_curves(ax: Axes, runs: pd.DataFrame, measure: str, split: str, estimator: str, lw: float = 1.6) -> None:
    """Draw mean and 95 % band over seeds of one measure for every arm."""
    for arm, rows, _ in side_by_side(runs, 0):
        values = curves(rows, measure, estimator, split)
        ends = (1e-3, MOST) if measure == "accuracy" else (values.min(axis=0), np.inf)
        mean, low, high = band(values).clip(*ends)
        epochs, size = np.arange(1, len(mean) + 1), NESTED.get(arm, 1)
        ax.plot(epochs, mean, ls=LOOK[estimator]["ls"], ms=4 * size, lw=lw * size, **LOOK[arm])
        ax.fill_between(epochs, low, high, color=LOOK[arm]["color"], alpha=0.15, lw=0)
    set_scale(ax, measure, stacked(runs, measure)[..., SPLITS.index(split)])
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.set(xlabel="epoch", ylabel=MEASURE[measure])
    ax.grid(alpha=0.3)


def draw_final(ax: Axes, runs: pd.DataFrame, title: str) -> None:
    """Draw each seed's final test accuracy: open with running averages, filled with precise."""
    arms = runs["arm"].unique()
    for (position, arm), estimator in product(enumerate(arms), ESTIMATORS):
        values = curves(runs[runs["arm"] == arm], "accuracy", estimator, "test")[:, -1].clip(0.05, MOST)
        spread = np.linspace(-0.1, 0.1, len(values)) if len(values) > 1 else 0.0
        at = position + 0.16 * SIDE[estimator] + spread
        fill = "white" if estimator == "running" else LOOK[arm]["color"]
        ax.plot(at, values, ls="", ms=5, mfc=fill, **LOOK[arm])
    set_scale(ax, "accuracy", stacked(runs, "accuracy")[:, -1, :, SPLITS.index("test")])
    ax.set_xticks(range(len(arms)), list(map(words, arms)), rotation=30, ha="right")
    ax.set(title=title, ylabel="final test accuracy in %", xlim=(-0.5, len(arms) - 0.5))
    ax.grid(axis="y", alpha=0.3)


def name_contrast(weights: Weights) -> str:
    """Return a weighted sum of arms in words; that of four is the interaction."""
    first, second, *rest = weights
    return "interaction of batch norm\nand dropout" if rest else f"{words(first)}\n− {words(second)}"


def contrasts_of(runs: pd.DataFrame) -> list[Weights]:
    """Return the differences whose arms were run."""
    return [weights for weights in CONTRASTS if set(weights) <= set(runs["arm"])]


def draw_differences(ax: Axes, results: Results, title: str) -> None:
    """Draw paired differences of final test accuracy, in points, with 95 % t intervals."""
    of, shown = Selector(results, AXES), contrasts_of(results.runs)
    ax.set_title(title)
    if not shown:
        ax.set_axis_off()
        return
    ax.axvspan(-MARGIN, MARGIN, color="0.9", zorder=0)
    ax.axvline(0, color="0.4", lw=1)
    for (row, weights), estimator in product(enumerate(shown), ESTIMATORS):
        values = contrast(of, weights, estimator).to_numpy()
        mean, low, high = intervals.mean_interval(values)
        look, at = LOOK[estimator], row + 0.17 * SIDE[estimator]
        ax.plot(values, np.full(len(values), at), ".", color=look["color"], ms=4, alpha=0.6)
        ax.plot([low, high], [at, at], color=look["color"], lw=1.6)
        ax.plot(mean, at, **look)
    ax.set_xscale("symlog", linthresh=0.1, linscale=0.6)
    ax.set_xticks(DIFFERENCE_TICKS, [f"{tick:g}" for tick in DIFFERENCE_TICKS])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(range(len(shown)), list(map(name_contrast, shown)))
    ax.set(ylim=(len(shown) - 0.5, -0.5), xlabel=f"difference in points (symlog scale; gray: ±{MARGIN:g})")
    ax.grid(axis="x", alpha=0.3)


def draw_units(axes: np.ndarray, runs: pd.DataFrame, titles: tuple[str, str]) -> None:
    """Draw by layer how unit variance differs between modes, and how correlated the units are."""
    shift, coadaptation = axes
    shift.axhline(1, color="0.4", lw=1)
    for ax, name, title in zip(axes, ("variance_shift", "coadaptation"), titles, strict=True):
        for arm, rows, place in side_by_side(runs, 0.08):
            mean, low, high = band(stacked(rows, name).astype(float))
            at, ends = np.arange(len(mean)) + place, plotting.interval_ends(mean, low, high)
            ax.errorbar(at, mean, ends, ms=5, lw=1, capsize=2, **LOOK[arm])
        ax.set(title=title, xticks=range(len(LAYERS)), xticklabels=LAYERS)
        ax.grid(axis="y", alpha=0.3)
    shown = stacked(runs, "variance_shift").astype(float)
    set_ticks(shift, "log", SHIFT_TICKS, widened(ends_of(shown, "log"), 1.1))
    shift.set_ylabel("unit variance, training / evaluation")
    coadaptation.set(ylim=(0, 1), ylabel="mean |correlation| of units")


def draw_parameters(ax: Axes, runs: pd.DataFrame, kind: str) -> None:
    """Draw violins of one kind of batch-norm parameter by layer and arm; the input as points."""
    width = 0.8 / max(runs["arm"].nunique(), 1)
    for (arm, rows, place), (position, layer) in product(side_by_side(runs, width), enumerate(NORMS)):
        values = stacked(rows, layer)[:, KINDS.index(kind)].ravel()
        values = values[np.isfinite(values)]
        if kind == "var":
            values = np.log10(np.maximum(values, 1e-12))
        if position == 0 or len(np.unique(values)) < 2:
            ax.plot(np.full(len(values), position + place), values, ls="", ms=4, **LOOK[arm])
            continue
        parts = ax.violinplot(values, [position + place], widths=width, showmedians=True, showextrema=False)
        plt.setp(parts["bodies"], facecolor=LOOK[arm]["color"], alpha=0.6)
        plt.setp(parts["cmedians"], color="black", lw=1)
    ax.set(xticks=range(len(NORMS)), xticklabels=("input", *LAYERS), ylabel=KIND_WORDS[KINDS.index(kind)])
    if kind == "var":
        ax.yaxis.set_major_locator(MultipleLocator(1))
        ax.yaxis.set_major_formatter("$10^{{{x:g}}}$")
    ax.grid(axis="y", alpha=0.3)
