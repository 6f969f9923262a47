"""The figures of the study of perceptron criterion and hinge loss."""

from functools import partial

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Array, Key
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxstudies.evidence import intervals as stats
from jaxstudies.evidence import theory
from jaxstudies.networks.data import half_square
from jaxstudies.output import plotting
from jaxstudies.output.words import words
from jaxstudies.studies.perceptron.config import RULES
from jaxstudies.studies.perceptron.rules import version_space
from jaxstudies.study import Results

CAPTIONS = {
    "example": "The first training set, the true boundary, and the boundary that each rule learns, named with its "
    "exact accuracy. Every line through the origin within the gray version space separates the training points; a rule "
    "that has converged lies in it, and what is between its line and the true boundary is its error.",
    "accuracy": "Left, the share of training sets on which a rule errs more than a value, by the closed form of its "
    "error: a better rule lies below. Right, accuracy of hinge minus that of the perceptron on the same training sets, "
    "at two pairs of budgets; dashed lines are the means. If hinge is better on average, they lie to the right of 0.",
    "learning_curve": "Mean exact error over training sets against their size, with 95 % t intervals, and three exact "
    "references (gray) that do not train: the middle, a random line and the ends of the version space. A rule whose "
    "error is in proportion to 1/(n + 1) runs parallel to the gray lines; look for rules that fall less steeply.",
    "map": "Mean of hinge minus perceptron over training sets at each learning rate and budget, paired by set: left "
    "accuracy, right the share of the square whose predicted class flips between the pair's two sets. In both panels "
    "purple says that hinge is better, brown that the perceptron is; look where the sign changes with the budget.",
    "novikoff": "Updates of the perceptron on each training set against Novikoff's bound (R/γ)² for that set, where R "
    "is the largest norm of a point and γ the largest margin. On a set that can be separated, the perceptron makes at "
    "most so many updates: all points lie below the dashed line.",
}
COLOR: dict[str, str] = dict(zip(RULES, plotting.COLORS, strict=False))
REFERENCES = {
    "middle of the version space, 1/(2(n+1))": (1 / 2, ":"),
    "random consistent, 2/(3(n+1))": (2 / 3, "--"),
    "end of the version space, 1/(n+1)": (1, "-"),
}


def lines(table: pd.DataFrame, budgets: dict[str, float]) -> list[tuple[str, str, pd.DataFrame]]:
    """Return (rule, label, rows) at the first learning rate and margin, at each rule's budget."""
    listed = []
    for rule, group in table.groupby("rule", sort=False):
        label, longest = words(rule), group["epochs"].max()
        if not np.isnan(longest):
            budget = budgets.get(str(rule), longest)
            budget = budget if (group["epochs"] == budget).any() else longest
            same = (group[["learning_rate", "margin"]] == group.iloc[0][["learning_rate", "margin"]]).all(axis=1)
            group, label = group[same & (group["epochs"] == budget)], f"{label}, {budget:,.0f} epochs"
        listed.append((str(rule), label, group))
    return listed


# Compiled, as it takes twice as long operation by operation.
@partial(jax.jit, static_argnums=1)
def first_set(master_key: Key[Array, ""], size: int):
    """Return the training set of seed 0: inputs, targets, and the ends of its version space."""
    key = jax.random.split(jax.random.fold_in(master_key, 0), 3)[0]
    data = half_square(key, size)
    ends = version_space((data.inputs * data.targets).T, jnp.ones(size, bool))
    return data.inputs, data.targets[:, 0], *ends


def plot(results: Results) -> dict[str, Figure]:
    """Draw the figures; those that need the curve, the map or a rule are left out without it."""
    runs, config = results.runs, results.config
    curve, table = runs[runs["part"].isin(["study", "curve"])], runs[runs["part"] == "map"]
    study = curve[(curve["part"] == "study") & (curve["num_train"] == config.num_train[0])]
    drawn = {"example": plot_example(study, config.seed), "accuracy": plot_accuracy(study)}
    if curve["num_train"].nunique() > 1:
        drawn["learning_curve"] = plot_learning_curve(curve)
    if len(table):
        drawn["map"] = plot_map(table)
    if (study["rule"] == "perceptron").any():
        drawn["novikoff"] = plot_novikoff(study)
    return drawn


def plot_example(study: pd.DataFrame, master: int) -> Figure:
    """Draw the first training set with the rules' boundaries and the version space."""
    first = study[study["seed"] == 0]
    size = int(first["num_train"].iloc[0])
    inputs, targets, low, high = (np.asarray(a) for a in first_set(jax.random.key(master), size))
    figure, ax = plt.subplots(figsize=(8.4, 4.6))

    def end(s):  # where the line of coordinate s leaves the square
        return min(1, 1 / max(1 - 2 * s, 1e-9)) if s > 0 else 1 + 2 * s, (1 - 2 * s if s > 0 else 1)

    corner = [(1, 1)] if low < 0 < high else []
    polygon = [(0, 0), end(high), *corner, end(low)]
    ax.fill(*zip(*polygon, strict=True), color="0.88", label="version space")
    ax.plot([0, 1], [0, 1], "k:", lw=1.2, label="true boundary")
    for rule, label, rows in lines(first, {"perceptron": 50, "hinge": 200}):
        w1, w2 = rows["w1"].iloc[0], rows["w2"].iloc[0]
        # The boundary is W.x = 0; it crosses the square only if the weights differ in sign.
        if w1 * w2 < 0:
            slope, label = -w1 / w2, f"{label} ({rows['accuracy'].iloc[0]:.3f})"
            x = min(1, 1 / slope)
            ax.plot([0, x], [0, slope * x], color=COLOR[rule], label=label)
    for sign, marker, color in ((1, "o", plotting.COLORS[5]), (-1, "s", plotting.COLORS[6])):
        ax.plot(*inputs[targets == sign].T, marker, color=color, mec="k", label=f"class {'+−'[sign < 0]}1")
    ax.set(xlabel="x₁", ylabel="x₂", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    figure.legend(loc="outside right upper", title="exact accuracy in brackets", fontsize=9)
    ax.set_title(f"One training set of {size} points (seed 0 of {study['seed'].nunique():,})")
    return figure


def plot_accuracy(study: pd.DataFrame) -> Figure:
    """Draw the distribution of errors by rule, and the paired differences of hinge."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 5.8))
    draw_errors(left, study)
    draw_gains(right, study)
    below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.14), "fontsize": 8}
    left.legend(title="mean accuracy, 95 % interval", title_fontsize=8, **below)
    if right.get_legend_handles_labels()[0]:
        right.legend(**below)
    size, n = study["num_train"].iloc[0], study["seed"].nunique()
    figure.suptitle(f"Accuracy over n = {n:,} training sets of {size} points")
    return figure


def draw_errors(ax: Axes, study: pd.DataFrame) -> None:
    """Draw the share of training sets with more than an error, by rule."""
    n = study["seed"].nunique()
    most = 0.3
    for rule, label, rows in lines(study, {"perceptron": 50, "hinge": 200}):
        accuracy = np.sort(plotting.finite_of(rows["accuracy"]))
        mean, low, high = stats.mean_interval(accuracy)
        half = f" ± {(high - low) / 2:.4f}" if len(accuracy) > 1 else ""
        label = f"{label}: {mean:.4f}{half}" if len(accuracy) else f"{label}: {plotting.NOTHING_FINITE}"
        above = 1 - np.arange(1, len(accuracy) + 1) / len(accuracy)
        ax.plot(1 - accuracy[::-1], above, "o-" if n == 1 else "-", color=COLOR[rule], label=label)
        most = np.nanmax([most, 1.1 * (1 - mean)])
    ax.set(xlabel="exact error on new points", ylabel="share of training sets with a larger error")
    ax.set(yscale="log" if n > 1 else "linear", xlim=(0, most), ylim=(max(0.5 / n, 1e-4) if n > 1 else -0.1, 1.1))
    ax.set_title("tail of the errors")


def draw_gains(ax: Axes, study: pd.DataFrame) -> None:
    """Draw the distributions of hinge's accuracy minus the perceptron's."""
    longest = study["epochs"].max()
    cells = [(50.0, 200.0)] * {50.0, 200.0}.issubset(study["epochs"])
    cells += [(longest, longest)] if np.isfinite(longest) else []
    ax.set_title("paired differences")
    if not {"perceptron", "hinge"} <= set(study["rule"]):
        ax.set_axis_off()
        return
    # The colors that no rule has.
    for color, (p_epochs, h_epochs) in zip(plotting.COLORS[5:], cells, strict=False):
        chosen = lines(study, {"perceptron": p_epochs, "hinge": h_epochs})
        pair = {rule: rows.set_index("seed") for rule, _, rows in chosen}
        first, second = (pair[rule]["epochs"].max() for rule in ("perceptron", "hinge"))
        budgets = (
            f"{first:,.0f} epochs each" if first == second else f"perceptron {first:,.0f}, hinge {second:,.0f} epochs"
        )
        gain = plotting.finite_of(pair["hinge"]["accuracy"] - pair["perceptron"]["accuracy"])
        if not len(gain):
            ax.plot([], [], color=color, label=f"{budgets}: {plotting.NOTHING_FINITE}")
            ax.set_xlim(-0.11, 0.11)
            continue
        mean, low, high = stats.mean_interval(gain)
        interval = f" [{low:+.4f}, {high:+.4f}]" if len(gain) > 1 else ""
        label = f"{budgets}\nmean {mean:+.4f}{interval}\n"
        label += f"hinge better {np.mean(gain > 0):.1%}, worse {np.mean(gain < 0):.1%}"
        bins, weights = np.linspace(-0.1, 0.1, 81).tolist(), np.full(len(gain), 1 / len(gain))
        ax.hist(gain.clip(-0.1, 0.1), bins, weights=weights, histtype="step", lw=1.5, color=color, label=label)
        ax.axvline(mean, color=color, ls="--", lw=1)
    ax.axvline(0, color="0.5", lw=0.8)
    ax.set(xlabel="accuracy, hinge minus perceptron (clipped at ±0.1)", ylabel="share of training sets")
    ax.set_xticks(np.linspace(-0.1, 0.1, 5))


def plot_learning_curve(runs: pd.DataFrame) -> Figure:
    """Draw the mean error against the number of training points, with the three references."""
    figure, ax = plt.subplots(figsize=(8.4, 4.8))
    sizes = np.sort(runs["num_train"].unique())
    budget = runs.groupby("num_train")["epochs"].max().min()
    cut = ""
    for label, (share, style) in REFERENCES.items():
        ax.plot(sizes, theory.threshold_error(sizes, share), style, color="0.5", label=label)
    for rule, label, rows in lines(runs, dict.fromkeys(COLOR, float(budget))):
        groups = rows.groupby("num_train")["accuracy"]
        points = [stats.mean_interval(1 - group.to_numpy(float)) for _, group in groups]
        mean, low, high = np.array(points).T
        label += "" if np.isfinite(mean).any() else f": {plotting.NOTHING_FINITE}"
        low, note = plotting.cut_below(mean, low)
        ends, cut = plotting.interval_ends(mean, low, high), max(cut, note)
        ax.errorbar(sizes, mean, ends, color=COLOR[rule], marker="o", ms=4, capsize=2, label=label)
    ax.set(xscale="log", yscale="log", xlabel="training points n", ylabel="mean exact error")
    ax.set_xticks(sizes, [f"{n}" for n in sizes])
    ax.minorticks_off()
    figure.legend(loc="outside right upper", fontsize=8)
    least = runs.groupby("num_train")["seed"].nunique().min()
    cut = cut.replace("; ", ";\n")
    ax.set_title(f"Mean error, 95 % intervals, at least {least:,} sets per point{cut}")
    return figure


def plot_map(table: pd.DataFrame) -> Figure:
    """Draw hinge minus perceptron over learning rate and epochs: accuracy, and flips."""
    hinge, perceptron = (table[table["rule"] == rule] for rule in ("hinge", "perceptron"))
    pairs = hinge.merge(perceptron, on=["epochs", "seed"], suffixes=("", "_before"))
    n, limit = table["seed"].nunique(), 3.0
    figure, axes = plt.subplots(1, 2, figsize=(11.5, 5.2), sharey=True)
    panels = (
        ("accuracy", "accuracy: above 0, hinge better", "PuOr"),
        ("flip_fraction", "flipped predictions: below 0, hinge more stable", "PuOr_r"),
    )
    for ax, (measure, title, cmap) in zip(axes, panels, strict=True):
        gains = 100 * (pairs[measure] - pairs[f"{measure}_before"])
        cells = gains.groupby([pairs["learning_rate"], pairs["epochs"]])
        intervals = cells.agg(lambda values: stats.mean_interval(values.to_numpy())).unstack().T
        mean = intervals.map(lambda interval: interval[0])
        image = ax.imshow(mean, origin="lower", cmap=cmap, vmin=-limit, vmax=limit, aspect="auto")
        for i, j in np.ndindex(mean.shape):
            value, low, high = intervals.iloc[i, j]
            mark = "" if low > 0 or high < 0 else "\n(n.s.)"
            color = "white" if abs(value) > 0.7 * limit else "black"
            said = f"{value:+.2f}{mark}" if np.isfinite(value) else "none"
            ax.text(j, i, said, ha="center", va="center", fontsize=7.5, color=color)
        ax.set_xticks(range(mean.shape[1]), [f"{rate:g}" for rate in mean.columns])
        ax.set_yticks(range(mean.shape[0]), [f"{epochs:g}" for epochs in mean.index])
        ax.set(title=title, xlabel="learning rate")
        figure.colorbar(image, ax=ax, label="percentage points", extend="both")
    axes[0].set_ylabel("epochs (both)")
    title = f"Hinge minus perceptron, {table['num_train'].iloc[0]} training points, n = {n:,} sets"
    figure.suptitle(f"{title}; n.s.: the 95 % t interval contains 0")
    return figure


def plot_novikoff(study: pd.DataFrame) -> Figure:
    """Draw the perceptron's updates at the longest budget against Novikoff's bound."""
    [(_, label, rows)] = lines(study[study["rule"] == "perceptron"], {})
    bound = np.asarray(theory.novikoff_bound(rows["radius"].to_numpy(), rows["gamma"].to_numpy()))
    updates, done = rows["updates"].to_numpy(), rows["converged"].to_numpy(bool)
    figure, ax = plt.subplots(figsize=(6.4, 4.9))
    style: plotting.Style = {"ls": "", "marker": ".", "ms": 2.5, "alpha": 0.4, "rasterized": True}
    for color, mask, name in zip(plotting.COLORS, (done, ~done), ("converged", "not converged"), strict=False):
        ax.plot(bound[mask], updates[mask], color=color, label=f"{name}: {mask.sum():,} sets", **style)
    if len(known := bound[np.isfinite(bound) & (bound > 0)]):
        ends = np.array([known.min() / 3, known.max()])
        ax.plot(ends, ends, "k--", lw=1, label="updates = (R/γ)²")
    ax.set(xscale="log", yscale="log", xlabel="Novikoff's bound (R/γ)²", ylabel="updates of W")
    ax.set_ylim(0.8, 3 * max(updates.max(), 1))
    ax.legend(loc="upper left", markerscale=4, fontsize=8)
    above = np.sum(updates > bound * 1.001)
    ax.set_title(f"{label}, n = {len(rows):,} training sets\nabove the bound: {above:,}")
    return figure
