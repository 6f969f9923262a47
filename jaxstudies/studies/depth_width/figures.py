"""The figures of the study of depth against width."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

from jaxstudies.evidence import intervals
from jaxstudies.networks import data
from jaxstudies.output import plotting, table
from jaxstudies.studies.depth_width.problem import CUSP_EDGES, map_inputs
from jaxstudies.studies.depth_width.summary import chosen, summarize
from jaxstudies.study import Results

RECIPES = {"sgd": "SGD, Nesterov; batch norm in 2+ layers", "adam": "Adam, cosine decay; no norm"}
MARKERS = {1: "o", 2: "s", 3: "^"}
MODERN_COLOR = plotting.COLORS[4]
STAR = {"color": MODERN_COLOR, "ms": 13, "mec": "black", "mew": 0.6}
STYLES = {"sgd": "--", "adam": "-"}
BASELINES = ("constant", "1-nearest neighbor", "boosted trees", "Delaunay", "RBF", "floor")


def plot(results: Results) -> dict[str, Figure]:
    """Draw the figures, without the shapes all of whose networks diverged.

    If none is left, only the baselines are drawn; the heat map is of shapes of two layers.
    """
    runs, summary = chosen(results), summarize(results)
    shapes = summary[(summary["part"] == "shapes") & summary["rmse"].notna()]
    drawn = {"cusps": plot_cusps(runs)}
    if shapes.empty:
        return drawn
    drawn |= {"rmse": plot_rmse(summary), "time": plot_time(shapes), "curves": plot_curves(runs)}
    if (shapes["depth"] == 2).any():
        drawn["two_layers"] = plot_two_layers(shapes)
    mapped = runs[runs["map"].notna() & np.isfinite(runs["validation_rmse"])]
    if len(mapped):
        drawn["error_map"] = plot_error_map(mapped.loc[mapped["validation_rmse"].idxmin()])
    return drawn


def depth_color(depth: int) -> str:
    """Return the color of a depth."""
    return plotting.COLORS[(depth - 1) % len(plotting.COLORS)]


def plural(count: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{count} {noun}" + ("s" if count != 1 else "")


def depth_label(depth: int) -> str:
    """Return the name of a depth."""
    return plural(depth, "hidden layer")


def plain_log(axis) -> None:
    """Label a logarithmic axis with plain numbers."""
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def spread_labels(values: np.ndarray, factor: float) -> np.ndarray:
    """Move positions on a logarithmic axis apart until each is `factor` above the one below."""
    order = np.argsort(values)
    placed = np.array(values, float)
    for below, above in itertools.pairwise(order):
        placed[above] = max(placed[above], placed[below] * factor)
    return placed


def count_seeds(rows: pd.DataFrame) -> str:
    """Return the seeds per row in words."""
    counts = sorted(set(rows["n"])) or [0]
    least = f"{counts[0]} to " if len(counts) > 1 else ""
    return f"n = {least}{plural(counts[-1], 'seed')}"


def cut_below(mean: np.ndarray | pd.Series, low: np.ndarray | pd.Series) -> tuple[np.ndarray, str]:
    """Return where intervals' lower ends are drawn on a logarithmic axis, and a note if any is cut.

    Of few seeds an interval may reach below 0, which such an axis does not have.
    """
    least = np.asarray(mean) / 3
    note = "; intervals cut at a third of the mean" if np.any(np.asarray(low) < least) else ""
    return np.maximum(np.asarray(low), least), note


def draw_shapes(ax: Axes, shapes: pd.DataFrame, x: str, style: str, points: bool) -> None:
    """Draw the mean error of the shapes of each depth against `x`, with the shapes' range.

    With points each shape is drawn too, with its interval.
    """
    for depth, group in shapes.groupby("depth"):
        color = depth_color(depth)
        if points:
            middle = group["rmse"]
            low, _ = cut_below(middle, group["low"])
            ends = [middle - low, group["high"] - middle]
            dots = {"color": color, "ms": 4, "mec": "none", "alpha": 0.5, "elinewidth": 0.7}
            ax.errorbar(group[x], middle, ends, fmt=MARKERS.get(depth, "D"), **dots)
        if x == "hidden_units":
            curve = group.groupby(x)["rmse"].agg(["mean", "min", "max"])
        else:
            # So many parameters differ that a total of its own has no band: bins of 2.
            octave = np.floor(np.log2(group[x]))
            curve = group.groupby(octave)["rmse"].agg(["mean", "min", "max"])
            curve.index = np.exp(np.log(group[x]).groupby(octave).mean())
        single = MARKERS.get(depth, "D") if len(curve) == 1 and not points else None
        ax.plot(curve.index, curve["mean"], style, color=color, lw=1.8, marker=single)
        ax.fill_between(curve.index, curve["min"], curve["max"], color=color, alpha=0.18, lw=0)


def draw_baselines(ax: Axes, values: pd.Series) -> None:
    """Draw the errors of the baselines, and the floor of the noise, as lines."""
    for name, value in values.items():
        color, lw, ls = ("black", 1.3, "-") if name == "floor" else ("0.55", 0.8, ":")
        ax.axhline(value, color=color, zorder=0, lw=lw, ls=ls)


def name_baselines(ax: Axes, values: pd.Series) -> None:
    """Write the baselines' names and errors to the right of their lines."""
    low, high = ax.get_ylim()
    heights = spread_labels(values.to_numpy(), (high / low) ** 0.055)
    for (name, value), height in zip(values.items(), heights, strict=True):
        style = {"fontsize": 8, "va": "center", "annotation_clip": False}
        place = {"xy": (1.01, height), "xycoords": ("axes fraction", "data")}
        ax.annotate(f"{name} {value:.3g}", **place, **style)


def plot_rmse(summary: pd.DataFrame) -> Figure:
    """Draw the error against hidden units and parameters, a curve per depth, a row per recipe.

    Those rows show the range of the shapes. A last one shows all, down to the floor of the noise.
    """
    shapes = summary[(summary["part"] == "shapes") & summary["rmse"].notna()]
    modern = summary[summary["part"] == "modern"]
    lines = summary[summary["recipe"] == "baseline"].set_index("shape")["rmse"]
    lines = lines[[name for name in BASELINES if lines.get(name, 0) > 0]]
    near = lines[lines.between(shapes["rmse"].min() / 1.2, shapes["rmse"].max() * 1.2)]
    recipes = list(shapes["recipe"].unique())
    rows, size = len(recipes) + 1, (11.5, 4.2 + 3.2 * len(recipes))
    figure, axes = plt.subplots(rows, 2, figsize=size, sharex="col", squeeze=False)
    for row in (axes[:-1].ravel(), axes[-1]):
        for ax in row[1:]:
            ax.sharey(row[0])
    for (i, j), ax in np.ndenumerate(axes):
        x, last = ("hidden_units", "parameters")[j], i == len(recipes)
        draw_baselines(ax, lines if last else near)
        for recipe in recipes if last else recipes[i : i + 1]:
            draw_shapes(ax, shapes[shapes["recipe"] == recipe], x, STYLES[recipe], not last)
        if last:
            ax.plot(modern[x], modern["rmse"], "*", **STAR)
    for ax in axes.flat:
        ax.set(xscale="log", yscale="log")
    for ax in axes[:-1, 1]:
        name_baselines(ax, near)
    name_baselines(axes[-1, 1], lines)
    label_rmse(axes, recipes)
    name_depths(figure, shapes, modern)
    _, note = cut_below(shapes["rmse"], shapes["low"])
    figure.suptitle(
        "Depth against width on the Eggholder function (points: a shape's mean, 95 % t interval, "
        f"{count_seeds(shapes)};\ncurves: mean of shapes, bands: their range; dashed: SGD{note})"
    )
    return figure


def label_rmse(axes: np.ndarray, recipes: list[str]) -> None:
    """Write titles, and name and scale the axes."""
    for (left, right), recipe in zip(axes, [*recipes, None], strict=True):
        whole = "the whole range, down to the floor of the noise"
        left.set_title(RECIPES[recipe] if recipe else whole, loc="left")
        left.set_ylabel("test RMSE (units of f)")
        right.tick_params(labelleft=False)
    plotting.plain_log_ticks(axes[0, 0].yaxis)
    axes[-1, 0].set_xlabel("hidden units in all")
    axes[-1, 0].xaxis.set_major_locator(LogLocator(2))
    plain_log(axes[-1, 0].xaxis)
    axes[-1, 1].set_xlabel("trained parameters (curve: mean by octave)")
    plotting.plain_log_ticks(axes[-1, 1].xaxis)
    plain_log(axes[-1, 0].yaxis)


def name_depths(figure: Figure, shapes: pd.DataFrame, modern: pd.DataFrame) -> None:
    """Draw the legend below."""
    handles = []
    for depth, group in shapes.groupby("depth"):
        label = f"{depth_label(depth)} ({plural(group['shape'].nunique(), 'shape')})"
        style = {"color": depth_color(depth), "marker": MARKERS.get(depth, "D"), "ms": 4}
        handles.append(Line2D([], [], label=label, **style))
    if len(modern):
        label = "ReLU on Fourier features, Adam, a longer budget"
        handles.append(Line2D([], [], ls="", marker="*", label=label, **STAR))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=9)


def plot_time(shapes: pd.DataFrame) -> Figure:
    """Draw the seconds of an epoch against parameters, alone and within the batch."""
    recipes = list(shapes["recipe"].unique())
    figure, axes = plt.subplots(1, len(recipes), figsize=(1.0 + 5.2 * len(recipes), 4.6), sharey=True, squeeze=False)
    for ax, recipe in zip(axes[0], recipes, strict=True):
        for depth, group in shapes[shapes["recipe"] == recipe].groupby("depth"):
            style = {"color": depth_color(depth), "ls": "none", "ms": 5}
            style["marker"] = MARKERS.get(depth, "D")
            label = f"{depth_label(depth)}, one network alone"
            ax.plot(group["parameters"], group["seconds_per_epoch"], label=label, **style)
            if group["seconds_in_batch"].notna().any():
                style |= {"label": f"{depth_label(depth)}, per network in the batch", "mfc": "none"}
                ax.plot(group["parameters"], group["seconds_in_batch"], **style)
        ax.set(xscale="log", yscale="log", xlabel="trained parameters", title=RECIPES[recipe])
        plotting.plain_log_ticks(ax.xaxis)
        ax.grid(alpha=0.25, which="both", lw=0.5)
    axes[0, 0].set_ylabel("seconds per epoch")
    plotting.plain_log_ticks(axes[0, 0].yaxis)
    handles, place = axes[0, 0].get_legend_handles_labels(), "outside lower center"
    figure.legend(*handles, loc=place, ncols=1 + len(recipes), fontsize=8)
    words = "each point one shape;\nin the batch, padding to shared shapes included"
    figure.suptitle(f"Training time of an epoch ({words})")
    return figure


def plot_curves(runs: pd.DataFrame) -> Figure:
    """Draw the validation error over epochs: the best shape of each depth, and the modern one."""
    figure, ax = plt.subplots(figsize=(7.5, 4.8))
    shapes = runs[(runs["part"] == "shapes") & ~runs["nonfinite"].astype(bool)]
    for (recipe, depth), group in shapes.groupby(["recipe", "depth"], sort=False):
        best = group.groupby("shape")["validation_rmse"].mean().idxmin()
        rows, label = group[group["shape"] == best], f"{best}, {recipe}"
        draw_curve(ax, rows, depth_color(depth), label, STYLES[recipe])
    modern = runs[(runs["part"] == "modern") & ~runs["nonfinite"].astype(bool)]
    if len(modern):
        label = f"{modern['shape'].iloc[0]}, ReLU on Fourier features"
        draw_curve(ax, modern, MODERN_COLOR, label, "-")
    ax.set(xscale="log", yscale="log", xlabel="epoch", ylabel="validation RMSE (units of f)")
    plotting.plain_log_ticks(ax.xaxis)
    plotting.plain_log_ticks(ax.yaxis)
    ax.legend(fontsize=8, loc="lower left")
    ax.set_title("The best shape of each depth and recipe (mean over seeds, band: their range)")
    return figure


def draw_curve(ax: Axes, group: pd.DataFrame, color: str, label: str, style: str) -> None:
    """Draw mean and range over seeds of the validation error by epoch."""
    curves = table.stacked(group[group["curve"].notna()], "curve")
    curves = curves[:, ~np.isnan(curves).all(axis=0)]
    epoch = np.arange(1, curves.shape[1] + 1)
    marker = "o" if len(epoch) < 4 else None
    label = f"{label} (n = {len(curves)})"
    ax.plot(epoch, curves.mean(axis=0), style, color=color, label=label, marker=marker)
    ax.fill_between(epoch, curves.min(axis=0), curves.max(axis=0), color=color, alpha=0.2, lw=0)


def draw_cusps(ax: Axes, rows: pd.DataFrame, name: str, color: str) -> str:
    """Draw the error by distance to the cusps: mean and 95 % t band over seeds, if several.

    Returns:
        A note if the band is cut.
    """
    errors = table.stacked(rows[rows["cusp_rmse"].notna()], "cusp_rmse")
    mean, low, high = intervals.mean_intervals(errors)
    share = f"{rows['cusp_share'].mean():.0%} of squared error within 4"
    distance = np.arange(len(mean))
    low, note = cut_below(mean, low)
    ax.plot(distance, mean, "o-", color=color, ms=4, label=f"{name}: {share}")
    ax.fill_between(distance, low, high, color=color, alpha=0.2, lw=0)
    return note


def plot_cusps(runs: pd.DataFrame) -> Figure:
    """Draw the error on clean targets by distance to the nearer line of cusps."""
    figure, ax = plt.subplots(figsize=(7.8, 5.0))
    finite = runs[~runs["nonfinite"].astype(bool)]
    notes = [""]
    for depth, group in finite[finite["part"] == "shapes"].groupby("depth"):
        means = group.groupby(["shape", "recipe"])["validation_rmse"].mean()
        shape, recipe = min(means.index, key=means.__getitem__)
        best = group[(group["shape"] == shape) & (group["recipe"] == recipe)]
        name = f"{shape}, {recipe} (n = {len(best)})"
        notes.append(draw_cusps(ax, best, name, depth_color(depth)))
    modern = finite[finite["part"] == "modern"]
    if len(modern):
        name = f"{modern['shape'].iloc[0]}, ReLU on Fourier features (n = {len(modern)})"
        notes.append(draw_cusps(ax, modern, name, MODERN_COLOR))
    for name, color in (("Delaunay", "0.6"), ("RBF", "black")):
        draw_cusps(ax, runs[runs["shape"] == name], name, color)
    pairs = itertools.pairwise(CUSP_EDGES)
    labels = [f"{a:g}-{b:g}" if np.isfinite(b) else f"> {a:g}" for a, b in pairs]
    floor = runs.loc[runs["part"] == "floor", "test_rmse"].iloc[0]
    if floor > 0:
        ax.axhline(floor, color="black", ls=":", lw=1, label=f"noise {floor:.3g}")
    ax.set_xlabel("distance to the nearer line of cusps (units of x)")
    ax.set_ylabel("RMSE on clean test targets (units of f)")
    ax.set_yscale("log")
    ax.set_xticks(range(len(labels)), labels)
    plain_log(ax.yaxis)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    note = max(notes).replace("; ", ";\n")
    ax.set_title(
        "What stands in the way: the cusps (best shape of each depth by validation;\n"
        f"mean and 95 % t interval over n seeds; Delaunay and RBF are fitted once{note})"
    )
    return figure


def plot_two_layers(shapes: pd.DataFrame) -> Figure:
    """Draw the mean error of the two-layer shapes over their widths."""
    rows = shapes[shapes["depth"] == 2]
    widths = rows["shape"].str.split("-", expand=True).astype(int)
    rows = rows.assign(first=widths[0], second=widths[1])
    recipes = list(rows["recipe"].unique())
    figure, axes = plt.subplots(1, len(recipes), figsize=(1.6 + 4.3 * len(recipes), 4.6), sharey=True, squeeze=False)
    norm = LogNorm(rows["rmse"].min(), max(rows["rmse"].max(), rows["rmse"].min() * 1.01))
    for ax, recipe in zip(axes[0], recipes, strict=True):
        table = rows[rows["recipe"] == recipe].pivot(index="second", columns="first", values="rmse")
        image = ax.imshow(table, origin="lower", cmap="viridis", norm=norm, aspect="auto")
        for (i, j), value in np.ndenumerate(table.to_numpy()):
            if np.isfinite(value):
                tone = "white" if norm(value) < 0.55 else "black"
                ax.text(j, i, f"{value:.3g}", ha="center", va="center", color=tone, fontsize=9)
        ax.set_xticks(range(table.shape[1]), table.columns)
        ax.set_yticks(range(table.shape[0]), table.index)
        ax.set(xlabel="units in the first layer", title=RECIPES[recipe])
    axes[0, 0].set_ylabel("units in the second layer")
    bar = figure.colorbar(image, ax=axes[0, -1], label="test RMSE (units of f)")
    plain_log(bar.ax.yaxis)
    bar.ax.yaxis.set_minor_formatter(StrMethodFormatter("{x:g}"))
    figure.suptitle(f"Two hidden layers (mean of {count_seeds(rows)})")
    return figure


def plot_error_map(best: pd.Series) -> Figure:
    """Draw the surface, what the best network makes of it, and the error, with the cusp lines."""
    bound, learned = data.EGGHOLDER_BOUND, best["map"]
    surface = np.asarray(data.eggholder(map_inputs())).reshape(learned.shape)
    figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.4), sharex=True, sharey=True)
    extent = (-bound, bound, -bound, bound)
    limit = np.abs(surface).max()
    error = np.abs(learned - surface)
    high = np.nanmax(error)
    panels = (
        ("the function", surface, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}),
        ("the network", learned, {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}),
        ("absolute error", error, {"cmap": "magma", "norm": LogNorm(high / 1000, high)}),
    )
    line = np.array([-bound, bound])
    for ax, (title, values, style) in zip(axes, panels, strict=True):
        clipped = np.maximum(values, high / 1000) if "norm" in style else values
        image = ax.imshow(clipped, origin="lower", extent=extent, **style)
        figure.colorbar(image, ax=ax, shrink=0.85, label="units of f")
        ax.set(title=title, xlabel="x1", xlim=line, ylim=line)
    for slope, offset, label in ((-0.5, -47, "cusp lines"), (1, -47, None)):
        axes[0].plot(line, slope * line + offset, color="black", lw=0.9, ls=":", label=label)
    axes[0].legend(loc="upper left", fontsize=8, frameon=True)
    axes[0].set_ylabel("x2")
    kind = "ReLU on Fourier features" if best["part"] == "modern" else best["recipe"]
    figure.suptitle(
        f"The network best on validation data: {best['shape']}, {kind}, seed {best['seed']}; "
        f"RMSE {best['test_rmse']:.3g} on noisy test targets"
    )
    return figure
