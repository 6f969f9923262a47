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
from jaxstudies.studies.perceptron.config import RULES
from jaxstudies.studies.perceptron.rules import version_space
from jaxstudies.study import Results

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
        if group["epochs"].notna().any():
            first = group.iloc[0]
            same = (group["learning_rate"] == first["learning_rate"]) & (group["margin"] == first["margin"])
            budget = budgets.get(str(rule), group["epochs"].max())
            if not (group["epochs"] == budget).any():
                budget = group["epochs"].max()
            group = group[same & (group["epochs"] == budget)]
            label = f"{rule}, {budget:g} epochs"
        else:
            label = str(rule)
        listed.append((str(rule), label, group))
    return listed


@partial(jax.jit, static_argnums=1)
def first_set(master_key: Key[Array, ""], size: int):
    """Return the training set of seed 0: inputs, targets, and the ends of its version space.

    Compiled, as it takes twice as long operation by operation.
    """
    key = jax.random.split(jax.random.fold_in(master_key, 0), 3)[0]
    data = half_square(key, size)
    ends = version_space((data.inputs * data.targets).T, jnp.ones(size, bool))
    return data.inputs, data.targets[:, 0], *ends


def plot(results: Results) -> dict[str, Figure]:
    """Draw the figures; those that need the curve, the map or a rule are left out without it."""
    runs, config = results.runs, results.config
    part = runs["part"]
    study = runs[(part == "study") & (runs["num_train"] == config.num_train[0])]
    drawn = {"example": plot_example(study, config.seed), "accuracy": plot_accuracy(study)}
    if runs.loc[part != "map", "num_train"].nunique() > 1:
        drawn["learning_curve"] = plot_learning_curve(runs[part != "map"])
    if (part == "map").any():
        drawn["map"] = plot_map(runs[part == "map"])
    if (study["rule"] == "perceptron").any():
        drawn["novikoff"] = plot_novikoff(study)
    return drawn


def plot_example(study: pd.DataFrame, master: int) -> Figure:
    """Draw the first training set with the rules' boundaries and the version space."""
    first = study[study["seed"] == 0]
    size = int(first["num_train"].iloc[0])
    inputs, targets, low, high = (np.asarray(a) for a in first_set(jax.random.key(master), size))
    figure, ax = plt.subplots(figsize=(8.4, 4.6))

    def end(s):
        """Return where the line of coordinate s leaves the square."""
        return min(1, 1 / max(1 - 2 * s, 1e-9)) if s > 0 else 1 + 2 * s, (1 - 2 * s if s > 0 else 1)

    corner = [(1, 1)] if low < 0 < high else []
    polygon = [(0, 0), end(high), *corner, end(low)]
    ax.fill(*zip(*polygon, strict=True), color="0.88", label="version space")
    ax.plot([0, 1], [0, 1], "k:", lw=1.2, label="true boundary")
    for rule, label, rows in lines(first, {"perceptron": 50, "hinge": 200}):
        w1, w2 = rows["w1"].iloc[0], rows["w2"].iloc[0]
        # The boundary is W.x = 0; it crosses the square only if the weights differ in sign.
        if w1 * w2 < 0:
            slope = -w1 / w2
            x = min(1, 1 / slope)
            accuracy = rows["accuracy"].iloc[0]
            ax.plot([0, x], [0, slope * x], color=COLOR[rule], label=f"{label} ({accuracy:.3f})")
    for sign, marker, color in ((1, "o", plotting.COLORS[5]), (-1, "s", plotting.COLORS[6])):
        ax.plot(*inputs[targets == sign].T, marker, color=color, mec="k", label=f"class {sign:+d}")
    ax.set(xlabel="x1", ylabel="x2", xlim=(0, 1), ylim=(0, 1), aspect="equal")
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
    for rule, label, rows in lines(study, {"perceptron": 50, "hinge": 200}):
        accuracy = np.sort(rows["accuracy"].to_numpy(float))
        mean, low, high = stats.mean_interval(accuracy)
        label = f"{label}: {mean:.4f} ± {(high - low) / 2:.4f}"
        above = 1 - np.arange(1, len(accuracy) + 1) / len(accuracy)
        ax.plot(1 - accuracy[::-1], above, color=COLOR[rule], label=label)
    ax.set(xlabel="exact error on new points", ylabel="share of training sets with a larger error")
    ax.set(yscale="log" if n > 1 else "linear", xlim=(0, 0.3), ylim=(max(0.5 / n, 1e-4), 1.1))
    ax.set_title("tail of the errors")


def draw_gains(ax: Axes, study: pd.DataFrame) -> None:
    """Draw the distributions of hinge's accuracy minus the perceptron's."""
    longest = study["epochs"].max()
    cells = ((50.0, 200.0, "perceptron 50, hinge 200 epochs"), (longest, longest, f"{longest:g} epochs each"))
    # The colors that no rule has.
    for color, (p_epochs, h_epochs, words) in zip(plotting.COLORS[5:], cells, strict=True):
        chosen = lines(study, {"perceptron": p_epochs, "hinge": h_epochs})
        pair = {rule: rows.set_index("seed")["accuracy"] for rule, _, rows in chosen}
        if "perceptron" not in pair or "hinge" not in pair:
            continue
        gain = (pair["hinge"] - pair["perceptron"]).dropna().to_numpy(float)
        mean, low, high = stats.mean_interval(gain)
        label = f"{words}\nmean {mean:+.4f} [{low:+.4f}, {high:+.4f}]\n"
        label += f"hinge better {np.mean(gain > 0):.1%}, worse {np.mean(gain < 0):.1%}"
        bins, weights = np.linspace(-0.1, 0.1, 81).tolist(), np.full(len(gain), 1 / len(gain))
        ax.hist(gain.clip(-0.1, 0.1), bins, weights=weights, histtype="step", lw=1.5, color=color, label=label)
        ax.axvline(mean, color=color, ls="--", lw=1)
    ax.axvline(0, color="0.5", lw=0.8)
    ax.set(xlabel="accuracy, hinge minus perceptron (clipped at ±0.1)", ylabel="share of training sets")
    ax.set(title="paired differences", xticks=np.linspace(-0.1, 0.1, 5))


def plot_learning_curve(runs: pd.DataFrame) -> Figure:
    """Draw the mean error against the number of training points, with the three references."""
    figure, ax = plt.subplots(figsize=(8.4, 4.8))
    sizes = np.sort(runs["num_train"].unique())
    budget = runs.groupby("num_train")["epochs"].max().min()
    same = {"perceptron": budget, "hinge": budget, "averaged_perceptron": budget}
    for label, (share, style) in REFERENCES.items():
        ax.plot(sizes, theory.threshold_error(sizes, share), style, color="0.5", label=label)
    for rule, label, rows in lines(runs, same):
        groups = rows.groupby("num_train")["accuracy"]
        points = [stats.mean_interval(1 - group.to_numpy(float)) for _, group in groups]
        mean, low, high = np.array(points).T
        ends = [mean - low, high - mean]
        ax.errorbar(sizes, mean, ends, color=COLOR[rule], marker="o", ms=4, capsize=2, label=label)
    ax.set(xscale="log", yscale="log", xlabel="training points n", ylabel="mean exact error")
    ax.set_xticks(sizes, [f"{n}" for n in sizes])
    ax.minorticks_off()
    figure.legend(loc="outside right upper", fontsize=8)
    least = runs.groupby("num_train")["seed"].nunique().min()
    ax.set_title(f"Mean error, 95 % intervals, at least {least:,} sets per point")
    return figure


def plot_map(table: pd.DataFrame) -> Figure:
    """Draw hinge minus perceptron over learning rate and epochs: accuracy, and flips."""
    measures = ["accuracy", "flip_fraction"]
    hinge = table[table["rule"] == "hinge"].set_index(["epochs", "seed"])
    perceptron = table[table["rule"] == "perceptron"].set_index(["epochs", "seed"])[measures]
    gains = 100 * (hinge[measures] - perceptron.loc[hinge.index])
    gains["learning_rate"] = hinge["learning_rate"]
    n = table["seed"].nunique()
    figure, axes = plt.subplots(1, 2, figsize=(11.5, 5.2), sharey=True)
    panels = {
        "accuracy": "accuracy: above 0, hinge better",
        "flip_fraction": "flipped predictions: below 0, hinge more stable",
    }
    for ax, (measure, title) in zip(axes, panels.items(), strict=True):
        cells = gains[measure].dropna().groupby([gains["learning_rate"], "epochs"])
        intervals = cells.agg(lambda values: stats.mean_interval(values.to_numpy())).unstack().T
        mean = intervals.map(lambda interval: interval[0])
        limit = 3.0
        cmap = "PuOr" if measure == "accuracy" else "PuOr_r"
        image = ax.imshow(mean, origin="lower", cmap=cmap, vmin=-limit, vmax=limit, aspect="auto")
        for i, j in np.ndindex(mean.shape):
            value, low, high = intervals.iloc[i, j]
            mark = "" if low > 0 or high < 0 else "\n(n.s.)"
            color = "white" if abs(value) > 0.7 * limit else "black"
            text = f"{value:+.2f}{mark}"
            ax.text(j, i, text, ha="center", va="center", fontsize=7.5, color=color)
        ax.set_xticks(range(mean.shape[1]), [f"{rate:g}" for rate in mean.columns])
        ax.set_yticks(range(mean.shape[0]), [f"{epochs:g}" for epochs in mean.index])
        ax.set(title=title, xlabel="learning rate")
        figure.colorbar(image, ax=ax, label="percentage points", extend="both")
    axes[0].set_ylabel("epochs (both)")
    figure.suptitle(
        f"Hinge minus perceptron, {table['num_train'].iloc[0]} training points, n = {n:,} sets; "
        "n.s.: the 95 % t interval contains 0"
    )
    return figure


def plot_novikoff(study: pd.DataFrame) -> Figure:
    """Draw the perceptron's updates at the longest budget against Novikoff's bound."""
    [(_, label, rows)] = lines(study[study["rule"] == "perceptron"], {})
    bound = np.asarray(theory.novikoff_bound(rows["radius"].to_numpy(), rows["gamma"].to_numpy()))
    updates, done = rows["updates"].to_numpy(), rows["converged"].to_numpy(bool)
    figure, ax = plt.subplots(figsize=(6.4, 4.9))
    kinds = ((done, COLOR["perceptron"], "converged"), (~done, plotting.COLORS[1], "not converged"))
    for mask, color, words in kinds:
        label_of = f"{words}: {mask.sum():,} sets"
        ax.plot(bound[mask], updates[mask], ".", ms=2.5, alpha=0.4, color=color, rasterized=True, label=label_of)
    ends = np.array([bound.min() / 3, bound.max()])
    ax.plot(ends, ends, "k--", lw=1, label="updates = (R/γ)²")
    ax.set(xscale="log", yscale="log", xlabel="Novikoff's bound (R/γ)²", ylabel="updates of W")
    ax.set_ylim(0.8, 3 * max(updates.max(), 1))
    ax.legend(loc="upper left", markerscale=4, fontsize=8)
    above = np.sum(updates > bound * 1.001)
    ax.set_title(f"{label}, n = {len(rows):,} training sets\nabove the bound: {above:,}")
    return figure
