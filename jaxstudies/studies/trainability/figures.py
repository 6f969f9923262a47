"""The planes, as pictures."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from jaxstudies.evidence.boxcounting import count_boxes
from jaxstudies.evidence.intervals import mean_interval
from jaxstudies.output import plotting
from jaxstudies.output.words import words
from jaxstudies.studies.trainability.config import CENTERS, CONDITIONS, Config
from jaxstudies.studies.trainability.design import ALL, parts
from jaxstudies.studies.trainability.outcome import REPORTED, counted, dimensions, planes, shares, square
from jaxstudies.studies.trainability.refined import unpacked
from jaxstudies.study import Results

COLORS = ListedColormap(
    np.vstack([plt.get_cmap("viridis")(np.linspace(0.25, 1, 128)), plt.get_cmap("magma")(np.linspace(0, 0.8, 128))])
)
CAPTIONS = {
    "pictures": "A network at each point of a plane of learning rates, from one initialization: in blue to yellow it "
    "trained, the lighter the lower its losses were; in black to red it did not, the darker the sooner its loss grew. "
    "Colors are ranks within a window. Each window is ten times smaller than the one before, around the cross. If the "
    "boundary is a fractal, it is as rough in the smallest window as in the largest.",
    "refined": "Where the first network trains (yellow), of so many points that only those near the boundary were run.",
    "networks": "Left: the share of networks that train, each from an initialization and on examples of its own, and "
    "where it is one half (black). Middle: boxes that the boundary meets, by their side, for each network (blue) and "
    "for where most train (black); a smooth curve falls along the dashed line. Right: the dimension of each network's "
    "boundary, the mean with its 95 % interval, and what the paper reports for one network (second hand).",
}


def ranked(measure: np.ndarray) -> np.ndarray:
    """Return the rank of what trained from 0 to 1/2, and of what did not from 1/2 to 1, so that all colors are used."""
    order = measure.ravel().argsort().argsort()
    number = int((measure < 0).sum())
    low, high = order / max(2 * number, 1), 1 - (order - number) / max(2 * (order.size - number), 1)
    return np.where(order < number, low, np.where(order.size > number, 1.5 - high, 0.5)).reshape(measure.shape)


def extent(config: Config, condition: str, span: float) -> tuple[float, float, float, float]:
    """Return the edges of a window."""
    x, y = config.center or CENTERS[condition]
    return x - span / 2, x + span / 2, y - span / 2, y + span / 2


def show(ax: Axes, image: np.ndarray, edges: tuple[float, float, float, float], condition: str, **how) -> None:
    """Draw a plane with its axes."""
    across = {"rates": "hidden learning rate", "offset": "offset of hidden weights", "drift": "offset of each step"}
    ax.imshow(image, origin="lower", extent=edges, interpolation="nearest", aspect="auto", **how)
    ax.set_xlabel(f"log₁₀ {across[CONDITIONS[condition].across]}")
    ax.set_ylabel("log₁₀ output learning rate" if CONDITIONS[condition].across == "rates" else "log₁₀ learning rate")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4))
        axis.set_major_formatter(ScalarFormatter(useOffset=False))


def draw_pictures(results: Results) -> Figure:
    """Draw the windows of the first network, a row for each condition."""
    config = results.config
    names = [name for name in parts(config) if name != ALL]
    shape = len(config.conditions), len(names)
    figure, axes = plt.subplots(*shape, figsize=(5 * shape[1], 0.7 + 4.6 * shape[0]), squeeze=False)
    here = {(name, part): rows for (name, part, _), rows in planes(results.runs) if part != ALL}
    for (i, condition), (j, part) in ((a, b) for a in enumerate(config.conditions) for b in enumerate(names)):
        ax, span = axes[i, j], parts(config)[part][1]
        measure = square(here[condition, part]["measure"])
        show(ax, ranked(measure), extent(config, condition, span), condition, cmap=COLORS, vmin=0, vmax=1)
        ax.set_title(f"{words(condition)}, {span:g} decade{'s' * (span != 1)}")
        if j + 1 < len(names):
            ax.plot(*(config.center or CENTERS[condition]), "+", color="white", markersize=12)
    title = f"{config.points} x {config.points} points, a network each, {config.steps} steps of gradient descent"
    figure.suptitle(title)
    return figure


def draw_networks(results: Results) -> Figure:
    """Draw where most networks train, and how rough the boundaries are."""
    config, found = results.config, counted(results)
    number = len(config.conditions)
    figure, axes = plt.subplots(number, 3, figsize=(14, 0.7 + 4.2 * number), squeeze=False)
    for (left, middle, right), condition in zip(axes, config.conditions, strict=True):
        share, span = shares(results.runs, condition), parts(config)[ALL][1]
        edges = extent(config, condition, span)
        show(left, share, edges, condition, cmap="cividis", vmin=0, vmax=1)
        left.contour(share, [0.5], colors="black", linewidths=1, extent=edges)
        figure.colorbar(left.images[0], ax=left, label="share that trains")
        for (name, part, _), counts in found.items():
            if (name, part) == (condition, ALL):
                middle.loglog(counts.sizes, counts.boxes, color="C0", alpha=0.4)
        most = count_boxes(share > 0.5)
        middle.loglog(most.sizes, most.boxes, color="black", marker="o", markersize=3)
        middle.loglog(most.sizes, most.boxes[0] / most.sizes, color="black", linestyle="--", linewidth=0.8)
        middle.set_xlabel("side of a box, in points")
        middle.set_ylabel("boxes that the boundary meets")
        plotting.plain_log_ticks(middle.xaxis)
        own = dimensions(results)[condition].dropna().to_numpy()
        right.plot(own, np.linspace(0.9, 1.1, len(own)), "o", color="C0", alpha=0.4)
        mean, low, high = mean_interval(own)
        right.errorbar([mean], [0.8], xerr=[[mean - low], [high - mean]], fmt="s", color="C0", label="networks")
        right.plot(most.dimension, 0.7, "o", color="black", label="where most train")
        if condition in REPORTED:
            right.axvline(REPORTED[condition], color="C1", label="reported")
        right.set(xlabel="dimension", xlim=(0.9, 2.0), ylim=(0.6, 1.2), yticks=[])
        right.legend()
        left.set_title(f"{words(condition)}: {len(own)} networks at each of {share.size:,} points")
    return figure


def draw_refined(results: Results) -> Figure:
    """Draw the refined pictures."""
    config, rows = results.config, results.beside["refined"]
    figure, axes = plt.subplots(1, len(rows), figsize=(7 * len(rows), 7.6), squeeze=False)
    for ax, row in zip(axes[0], rows.itertuples(), strict=True):
        edges = extent(config, row.condition, config.span)
        show(ax, unpacked(row.grid, row.points), edges, row.condition, cmap="cividis", vmin=0, vmax=1)
        ax.set_title(f"{words(row.condition)}: {row.points} x {row.points} points, of which {row.share:.2%} were run")
    return figure


def plot(results: Results) -> dict[str, Figure]:
    """Draw the pictures of the first network, and, if there are several, what all have in common."""
    figures = {"pictures": draw_pictures(results)}
    figures |= {"networks": draw_networks(results)} if results.config.seeds > 1 else {}
    return figures | ({"refined": draw_refined(results)} if results.config.refine else {})
