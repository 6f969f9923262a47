"""Pictures of planes: what is at each point of a square window, and strips of windows, each smaller than the last."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, ScalarFormatter

from jaxstudies.evidence.boundaries import dimensions, majority
from jaxstudies.evidence.boxcounting import count_boxes, dimension
from jaxstudies.evidence.intervals import mean_interval
from jaxstudies.output.plotting import COLORS, Style, interval_ends

Edges = tuple[float, float, float, float]
"""Left, right, lower and upper edge of a window."""
TWO_SIDES = ListedColormap(
    np.vstack([plt.get_cmap("viridis")(np.linspace(0.25, 1, 128)), plt.get_cmap("magma")(np.linspace(0, 0.8, 128))])
)
"""Colors of ranks on two sides, see `ranked`: blue to yellow below a half, black to red above, both even in lightness
and told apart by color-blind readers."""


class Window(NamedTuple):
    """A window of a plane, to be drawn."""

    title: str
    image: Float[np.ndarray, "rows columns"]
    """By rows from the lowest."""
    edges: Edges
    labels: tuple[str, str]
    """Of the axis across, and of that upwards."""


def ranked(measure: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows columns"]:
    """Return ranks: of what is negative from 0 to 1/2, of the rest from 1/2 to 1."""
    order = measure.ravel().argsort().argsort()
    number = int((measure < 0).sum())
    low, high = order / max(2 * number, 1), 0.5 + (order - number) / max(2 * (order.size - number), 1)
    return np.where(order < number, low, high).reshape(measure.shape)


def decades(span: float) -> str:
    """Return the length of a logarithmic axis in words."""
    return f"{span:g} decade{'s' * (span != 1)}"


def show(ax: Axes, window: Window, **how) -> None:
    """Draw a window with its axes, `how` as `imshow` takes it."""
    style: Style = {"origin": "lower", "interpolation": "nearest", "aspect": "auto"}
    ax.imshow(window.image, extent=window.edges, **style, **how)
    ax.set(title=window.title, xlabel=window.labels[0], ylabel=window.labels[1])
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(4))
        axis.set_major_formatter(ScalarFormatter(useOffset=False))


def strips(rows: Sequence[Sequence[Window]], side: float = 4.6, **how) -> Figure:
    """Draw rows of windows; a cross marks where in each the next one is.

    Args:
        rows: As many windows in each.
        side: Height of a panel in inches.
        how: Passed on to `imshow`.
    """
    shape = len(rows), len(rows[0])
    figure, axes = plt.subplots(*shape, figsize=(1.1 * side * shape[1], 0.7 + side * shape[0]), squeeze=False)
    for panels, windows in zip(axes, rows, strict=True):
        for place, (ax, window) in enumerate(zip(panels, windows, strict=True)):
            show(ax, window, **how)
            if place + 1 < len(windows):
                left, right, lower, upper = windows[place + 1].edges
                ax.plot((left + right) / 2, (lower + upper) / 2, "+", color="white", markersize=12)
    return figure


class Boundaries(NamedTuple):
    """What many seeds have at the points of a window, to be drawn in a row."""

    shares: Window
    """The share of seeds that are inside."""
    grids: Mapping[int, Bool[np.ndarray, "rows columns"]]
    """Where each is inside."""
    reported: float | None
    """Dimension of the boundary that others report, if they do."""


def shares_and_dimensions(rows: Sequence[Boundaries]) -> Figure:
    """Draw where most seeds are inside, and the dimensions of all with their mean and its 95 % interval."""
    figure, axes = plt.subplots(len(rows), 2, figsize=(14.5, 0.7 + 4.2 * len(rows)), squeeze=False)
    for (left, right), row in zip(axes, rows, strict=True):
        show(left, row.shares, cmap="cividis", vmin=0, vmax=1)
        left.contour(row.shares.image, [0.5], colors="black", linewidths=1, extent=row.shares.edges)
        figure.colorbar(left.images[0], ax=left, label="share")
        own = dimensions(row.grids).dropna().to_numpy()
        mean, low, high = mean_interval(own)
        right.plot(own, np.linspace(0.9, 1.1, len(own)), "o", color=COLORS[0], alpha=0.4)
        reach: Style = {"xerr": interval_ends([mean], [low], [high]), "capsize": 3}
        right.errorbar([mean], [0.8], fmt="s", color=COLORS[0], label="each, and the mean", **reach)
        right.plot(dimension(majority(row.grids.values())), 0.7, "o", color="black", label="of where most are inside")
        if row.reported is not None:
            right.axvline(row.reported, color="black", linestyle=":", label="reported")
        right.set(xlabel="dimension", xlim=(0.9, 2.05), ylim=(0.6, 1.2), yticks=[])
        right.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def by_scale(
    rows: Mapping[str, tuple[Sequence[tuple[float, Bool[np.ndarray, "rows columns"]]], float | None]],
) -> Figure:
    """Draw dimensions of a boundary at each scale of windows.

    Args:
        rows: By the title of a panel, windows, of each its span in decades and what is inside; and a dimension that
            others report, if they do.
    """
    down, across = -(-len(rows) // 3), min(len(rows), 3)
    size = 1.5 + 3.5 * across, 0.7 + 3.2 * down
    figure, axes = plt.subplots(down, across, figsize=size, squeeze=False, sharex=True, sharey=True)
    for ax in axes.flat[len(rows) :]:
        ax.set_axis_off()
    for ax in axes.flat[max(len(rows) - across, 0) : len(rows)]:
        ax.tick_params(labelbottom=True)
    for ax, (title, (windows, reported)) in zip(axes.flat, rows.items(), strict=False):
        for span, inside in windows:
            counts = count_boxes(inside)
            sides = span / len(inside) * np.sqrt(counts.sizes[1:] * counts.sizes[:-1])
            ax.semilogx(sides, counts.local, "o-", markersize=4, label=decades(span))
        if reported is not None:
            ax.axhline(reported, color="black", linestyle=":", label="reported")
        ax.axhline(1, color="0.5", linestyle="--", label="a smooth curve")
        ax.set(title=title, ylim=(0.85, 2.05))
    figure.supxlabel("side of a box, in decades")
    figure.supylabel("dimension at that scale")
    lines = {label: line for ax in axes.flat for line, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    axes[0, -1].legend(lines.values(), lines.keys(), loc="upper left", bbox_to_anchor=(1, 1))
    return figure
