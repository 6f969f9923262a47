"""The figures of the LeNet-5 study."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from jaxstudies import plotting, stats
from jaxstudies.convnets import HIDDEN_LAYERS

COLOR: dict[str, str] = dict(
    zip(
        ("plain", "standardized", "bn_input", "raw_bn", "dropout", "bn_dropout"),
        [plotting.COLORS[i] for i in (6, 0, 1, 5, 2, 3)],
        strict=True,
    )
)
MARKER: dict[str, str] = dict(zip(COLOR, "osD^vP", strict=True))
STYLE = {"running": "--", "precise": "-"}
TONE = {"running": "0.5", "precise": "0.1"}
"""Grays of the estimators, as the arms have the colors."""
NESTED = {"standardized": 2.1, "bn_input": 1.4, "raw_bn": 0.7}
"""Relative sizes of arms that coincide under precise statistics: each shows around the next."""
ESTIMATOR = {"running": "running averages", "precise": "precise statistics"}
KINDS = {
    "scale": "learned scale",
    "bias": "learned bias",
    "mean": "running mean",
    "var": "running variance (log scale)",
}
CONTRASTS = {
    "bn_input − standardized": {"bn_input": 1, "standardized": -1},
    "bn_input − raw_bn": {"bn_input": 1, "raw_bn": -1},
    "dropout − standardized": {"dropout": 1, "standardized": -1},
    "bn_input − dropout": {"bn_input": 1, "dropout": -1},
    "bn_dropout − bn_input": {"bn_dropout": 1, "bn_input": -1},
    "bn_dropout − dropout": {"bn_dropout": 1, "dropout": -1},
    "interaction: bn_dropout\n− bn_input − dropout + plain": {
        "bn_dropout": 1, "bn_input": -1, "dropout": -1, "plain": 1,
    },
}  # fmt: skip
SHIFT_TICKS = (0.1, 0.2, 0.5, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50)
LOSS_TICKS = tuple(m * 10.0**e for e in range(-4, 3) for m in (1, 2, 5))
ACCURACY_TICKS = (0.1, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999)


def arms_of(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the rows of each arm, in the order of the runs."""
    return {str(name): group for name, group in runs.groupby("arm", sort=False)}


def columns(rows: pd.DataFrame, name: str) -> np.ndarray:
    """Return the columns name_1, name_2, ... as an array (runs, entries)."""
    return rows.filter(regex=rf"^{name}_\d+$").to_numpy(float)


def band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of each column and the ends of its 95 % t interval (the mean without one)."""
    mean, low, high = stats.mean_intervals(values)
    return mean, np.where(np.isnan(low), mean, low), np.where(np.isnan(high), mean, high)


def scale_accuracy(ax: Axes, least: float, most: float) -> None:
    """Give an axis of accuracies a logit scale with ticks in percent."""
    ax.set_yscale("logit")
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_yticks(ACCURACY_TICKS, [f"{100 * tick:g}" for tick in ACCURACY_TICKS])
    # Half a logit of margin; an accuracy of 1 is drawn at the upper edge.
    odds = np.array([least / (1 - least) / 1.3, min(most / (1 - most), 1e4) * 1.3])
    ax.set_ylim(*odds / (1 + odds))


def scale_loss(ax: Axes, least: float, most: float) -> None:
    """Give an axis of losses a log scale with plain ticks."""
    ax.set_yscale("log")
    ticks = [tick for tick in LOSS_TICKS if least / 1.2 <= tick <= most * 1.2]
    ax.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylim(least / 1.2, most * 1.2)


def draw_curves(
    ax: Axes, runs: pd.DataFrame, split: str, measure: str, estimator: str, lw: float = 1.6
) -> None:
    """Draw mean and 95 % band over seeds of one measure for every arm."""
    for arm, rows in arms_of(runs).items():
        values = columns(rows, f"{estimator}_{split}_{measure}")
        mean, low, high = band(values)
        if measure == "accuracy":
            mean, low, high = (np.clip(a, 1e-3, 1 - 1e-4) for a in (mean, low, high))
        else:
            low = np.maximum(low, values.min(axis=0))
        epochs = np.arange(1, len(mean) + 1)
        size = NESTED.get(arm, 1)
        ax.plot(
            epochs, mean, STYLE[estimator], color=COLOR[arm], marker=MARKER[arm], ms=4 * size,
            lw=lw * size, label=arm,
        )  # fmt: skip
        ax.fill_between(epochs, low, high, color=COLOR[arm], alpha=0.15, lw=0)
    every = np.concatenate([columns(runs, f"{e}_{split}_{measure}") for e in STYLE])
    if measure == "accuracy":
        scale_accuracy(ax, max(every.min(), 0.05), min(every.max(), 1 - 1e-4))
    else:
        scale_loss(ax, every.min(), every.max())
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("epoch")
    ax.grid(alpha=0.3)


def draw_final(ax: Axes, runs: pd.DataFrame) -> None:
    """Draw each seed's final test accuracy: open with running averages, filled with precise."""
    names = list(arms_of(runs))
    for position, (arm, rows) in enumerate(arms_of(runs).items()):
        for shift, estimator in ((-0.16, "running"), (0.16, "precise")):
            values = columns(rows, f"{estimator}_test_accuracy")[:, -1].clip(0.05, 1 - 1e-4)
            spread = 0.1 * np.linspace(-1, 1, len(values)) if len(values) > 1 else np.zeros(1)
            ax.plot(
                position + shift + spread, values, MARKER[arm], color=COLOR[arm], ms=5,
                mfc=COLOR[arm] if estimator == "precise" else "white",
            )  # fmt: skip
    every = np.concatenate([columns(runs, f"{e}_test_accuracy")[:, -1] for e in STYLE])
    scale_accuracy(ax, max(every.min(), 0.05), min(every.max(), 1 - 1e-4))
    ax.set_xticks(range(len(names)), names, rotation=30, ha="right")
    ax.set_xlim(-0.5, len(names) - 0.5)
    ax.set_ylabel("final test accuracy in %")
    ax.grid(axis="y", alpha=0.3)


def draw_differences(ax: Axes, runs: pd.DataFrame, margin: float = 0.1) -> None:
    """Draw paired differences of final test accuracy, in points, with 95 % t intervals."""
    arms = set(arms_of(runs))
    shown = {name: weights for name, weights in CONTRASTS.items() if set(weights) <= arms}
    if not shown:
        ax.set_axis_off()
        return
    ax.axvspan(-margin, margin, color="0.9", zorder=0)
    ax.axvline(0, color="0.4", lw=1)
    for row, weights in enumerate(shown.values()):
        for shift, estimator in ((-0.17, "running"), (0.17, "precise")):
            column = runs.filter(regex=rf"^{estimator}_test_accuracy_\d+$").columns[-1]
            table = runs.pivot(index="seed", columns="arm", values=column)
            values = sum(100 * w * table[arm].to_numpy() for arm, w in weights.items())
            mean, low, high = stats.mean_interval(np.asarray(values))
            color = TONE[estimator]
            fill = "white" if estimator == "running" else color
            ax.plot(values, np.full(len(table), row + shift), ".", color=color, ms=4, alpha=0.6)
            if np.isfinite(low):
                ax.plot([low, high], [row + shift] * 2, color=color, lw=1.6)
            ax.plot(mean, row + shift, "o", color=color, mfc=fill, ms=6)
    ax.set_xscale("symlog", linthresh=0.1, linscale=0.6)
    ticks = [t for t in (-100, -10, -1, -0.1, 0, 0.1, 1, 10, 100)]
    ax.set_xticks(ticks, [f"{t:g}" for t in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(range(len(shown)), list(shown))
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_xlabel(f"difference in points (symlog scale; gray: ±{margin:g})")
    ax.grid(axis="x", alpha=0.3)


def draw_by_layer(ax: Axes, runs: pd.DataFrame, name: str) -> None:
    """Draw a measure of every hidden layer: mean and 95 % interval over seeds, for every arm."""
    arms = arms_of(runs)
    for index, (arm, rows) in enumerate(arms.items()):
        mean, low, high = band(columns(rows, name))
        at = np.arange(len(mean)) + 0.08 * (index - (len(arms) - 1) / 2)
        ax.errorbar(
            at, mean, yerr=[mean - low, high - mean], fmt=MARKER[arm] + "-", color=COLOR[arm],
            ms=5, lw=1, capsize=2, label=arm,
        )  # fmt: skip
    ax.set_xticks(range(len(HIDDEN_LAYERS)), HIDDEN_LAYERS)
    ax.grid(axis="y", alpha=0.3)


def draw_shift(ax: Axes, runs: pd.DataFrame) -> None:
    """Draw the ratio of unit variance in training and evaluation mode."""
    ax.axhline(1, color="0.4", lw=1)
    draw_by_layer(ax, runs, "variance_shift")
    ax.set_yscale("log")
    shown = columns(runs, "variance_shift")
    low, high = shown.min() / 1.1, shown.max() * 1.1
    ticks = [t for t in SHIFT_TICKS if low <= t <= high]
    ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    ax.set_ylim(low, high)
    ax.yaxis.set_minor_locator(NullLocator())
    ax.set_ylabel("unit variance, training / evaluation")


def draw_coadaptation(ax: Axes, runs: pd.DataFrame) -> None:
    """Draw the mean absolute correlation between units of a layer."""
    draw_by_layer(ax, runs, "coadaptation")
    ax.set_ylim(0, 1)
    ax.set_ylabel("mean |correlation| of units")


def draw_parameters(ax: Axes, runs: pd.DataFrame, kind: str) -> None:
    """Draw violins of one kind of batch-norm parameter by layer and arm; the input as points."""
    layers = ("input", *HIDDEN_LAYERS)
    normalized = {
        arm: rows
        for arm, rows in arms_of(runs).items()
        if np.isfinite(columns(rows, f"conv1_{kind}")).all()
    }
    width = 0.8 / max(len(normalized), 1)
    for index, (arm, rows) in enumerate(normalized.items()):
        for position, layer in enumerate(layers):
            values = columns(rows, f"{layer}_{kind}").ravel()
            values = values[np.isfinite(values)]
            if not len(values):
                continue
            at = position + width * (index - (len(normalized) - 1) / 2)
            drawn = np.log10(np.maximum(values, 1e-12)) if kind == "var" else values
            if layer == "input" or np.ptp(drawn) == 0:
                ax.plot(np.full(len(drawn), at), drawn, MARKER[arm], color=COLOR[arm], ms=4)
                continue
            parts = ax.violinplot(drawn, [at], widths=width, showmedians=True, showextrema=False)
            for body in parts["bodies"]:  # type: ignore[attr-defined]
                body.set(facecolor=COLOR[arm], alpha=0.6)
            parts["cmedians"].set(color="black", lw=1)
    ax.set_xticks(range(len(layers)), layers)
    if kind == "var":
        low, high = ax.get_ylim()
        powers = range(int(np.ceil(low)), int(np.floor(high)) + 1)
        ax.set_yticks(powers, [f"$10^{{{power}}}$" for power in powers])
    ax.set_ylabel(KINDS[kind])
    ax.grid(axis="y", alpha=0.3)


def describe_runs(runs: pd.DataFrame) -> str:
    """Return data set, networks and epochs in words."""
    seeds = runs.groupby("arm").size().min()
    epochs = columns(runs, "running_test_loss").shape[1]
    return f"{runs['dataset'].iloc[0]}, n = {seeds} seeds per arm, {epochs} epochs"


def arm_handles(runs: pd.DataFrame) -> list[Line2D]:
    """Return legend entries of the arms."""
    return [
        Line2D([], [], color=COLOR[arm], marker=MARKER[arm], ms=5, label=arm)
        for arm in arms_of(runs)
    ]


def estimator_handles() -> list[Line2D]:
    """Return legend entries of the two estimators: open and filled markers."""
    fill = {"running": "white", "precise": TONE["precise"]}
    return [
        Line2D([], [], ls=STYLE[e], marker="o", color=TONE[e], mfc=fill[e], label=ESTIMATOR[e])
        for e in STYLE
    ]


def plot_curves(runs: pd.DataFrame, measure: str) -> Figure:
    """Draw accuracy or loss by epoch on the three splits, a row for each estimator."""
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.4), sharex=True, sharey=True)
    for row, estimator in zip(axes, STYLE, strict=True):
        for ax, split in zip(row, ("train", "validation", "test"), strict=True):
            draw_curves(ax, runs, split, measure, estimator)
            ax.set_title(f"{split}, {ESTIMATOR[estimator]}")
            ax.label_outer()
        row[0].set_ylabel("accuracy in %" if measure == "accuracy" else "cross-entropy (nats)")
    every = runs.filter(regex=rf"_{measure}_\d+$").to_numpy(float)
    if measure == "accuracy":
        scale_accuracy(axes[0, 0], max(every.min(), 0.05), min(every.max(), 1 - 1e-4))
    else:
        scale_loss(axes[0, 0], every.min(), every.max())
    figure.legend(handles=arm_handles(runs), loc="outside lower center", ncols=6)
    figure.suptitle(
        f"LeNet-5 in evaluation mode ({describe_runs(runs)}; mean, 95 % t interval over seeds)"
    )
    return figure


def plot_final(runs: pd.DataFrame) -> Figure:
    """Draw final accuracies as a point per seed, and paired differences."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.8))
    draw_final(axes[0], runs)
    axes[0].set_title("each point a seed")
    draw_differences(axes[1], runs)
    axes[1].set_title("paired by seed: mean, 95 % t interval")
    figure.legend(handles=estimator_handles(), loc="outside lower center", ncols=2)
    figure.suptitle(f"Test accuracy after training ({describe_runs(runs)})")
    return figure


def plot_parameters(runs: pd.DataFrame) -> Figure:
    """Draw violins of the batch-norm parameters by layer, the input included."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7.2))
    for ax, kind in zip(axes.flat, KINDS, strict=True):
        draw_parameters(ax, runs, kind)
    handles = [h for h in arm_handles(runs) if h.get_label() not in ("plain", "dropout")]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)
    figure.suptitle(
        f"Batch norm after training ({describe_runs(runs)}; all units of all seeds, "
        "bar: median; input: one unit)"
    )
    return figure


def plot_units(runs: pd.DataFrame) -> Figure:
    """Draw variance shift and co-adaptation by layer."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 4.6))
    draw_shift(axes[0], runs)
    axes[0].set_title("variance shift (1: none)")
    draw_coadaptation(axes[1], runs)
    axes[1].set_title("co-adaptation")
    figure.legend(handles=arm_handles(runs), loc="outside lower center", ncols=6)
    figure.suptitle(f"Units by layer ({describe_runs(runs)}; mean, 95 % t interval over seeds)")
    return figure


def plot_page(runs: pd.DataFrame) -> Figure:
    """Draw the study on one page."""
    figure, axes = plt.subplots(4, 2, figsize=(8.3, 11.7))
    for ax, estimator in zip(axes[0], STYLE, strict=True):
        draw_curves(ax, runs, "test", "accuracy", estimator, 1.3)
        ax.set(title=f"test accuracy, {ESTIMATOR[estimator]}", ylabel="accuracy in %")
    for ax, estimator in zip(axes[1], STYLE, strict=True):
        draw_curves(ax, runs, "validation", "loss", estimator, 1.3)
        ax.set(title=f"validation loss, {ESTIMATOR[estimator]}", ylabel="cross-entropy (nats)")
    draw_final(axes[2, 0], runs)
    axes[2, 0].set_title("open: running, filled: precise")
    draw_differences(axes[2, 1], runs)
    axes[2, 1].set_title("paired differences of test accuracy")
    axes[2, 1].tick_params(axis="y", labelsize=8)
    axes[2, 1].xaxis.label.set_size(8)
    draw_shift(axes[3, 0], runs)
    axes[3, 0].set_title("variance shift by layer")
    draw_coadaptation(axes[3, 1], runs)
    axes[3, 1].set_title("co-adaptation by layer")
    handles = [*arm_handles(runs), *estimator_handles()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
    figure.suptitle(f"LeNet-5 ({describe_runs(runs)}; mean and 95 % t interval over seeds)")
    return figure


def draw(runs: pd.DataFrame) -> dict[str, Figure]:
    """Draw all figures; that of batch-norm parameters only if an arm has any."""
    drawn = {
        "accuracy": plot_curves(runs, "accuracy"),
        "loss": plot_curves(runs, "loss"),
        "final": plot_final(runs),
        "units": plot_units(runs),
        "page": plot_page(runs),
    }
    if columns(runs, "conv1_scale").size:
        drawn["batch_norm"] = plot_parameters(runs)
    return drawn
