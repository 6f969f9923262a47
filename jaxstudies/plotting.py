"""The figures' style, and the few shapes of figure that the studies share."""

from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from jaxstudies import stats
from jaxstudies.results import write_atomic

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart by color-blind readers."""

STYLE = {
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.titlesize": 12,
    "font.size": 10,
    "legend.frameon": False,
    "savefig.dpi": 200,
}


def use_style() -> None:
    """Draw off screen and in the project's style from here on."""
    mpl.use("Agg")
    plt.rcParams.update(STYLE)  # type: ignore[arg-type]


def save(figures: dict[str, Figure], directory: Path) -> list[Path]:
    """Write each figure as NAME.png and close it; return the paths."""
    paths = []
    for name, figure in figures.items():
        path = directory / f"{name}.png"
        write_atomic(path, figure.savefig)
        plt.close(figure)
        paths.append(path)
    return paths


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis of few decades with plain numbers, once its limits are set.

    An axis of many decades keeps its powers of ten, and one without data its defaults.
    """
    low, high = axis.get_view_interval()
    if not 0 < low < high:
        return
    decades = np.log10(high / low)
    if decades < 2.5:
        steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if decades < 1 else (1, 2, 5)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())


def intervals(
    ax: Axes,
    positions: ArrayLike,
    rows: pd.DataFrame,
    *,
    color: str,
    label: str,
    filled: bool,
) -> None:
    """Draw shares as points with intervals, one per row with `fraction`, `low` and `high`.

    A filled marker stands on its interval, an open one too: the two tell two stages apart.
    """
    middle = rows["fraction"].to_numpy()
    ends = np.stack([middle - rows["low"], rows["high"] - middle]).clip(min=0)
    ax.errorbar(
        middle, positions, xerr=ends, fmt="o", color=color, mfc=color if filled else "white",
        ms=6, capsize=3, lw=1.5, label=label,
    )  # fmt: skip


def layer_lines(
    ax: Axes, layers: np.ndarray, color: str, label: str, style: str = "-", lw: float = 1.5
) -> None:
    """Draw the mean over runs by layer with a 95 % band; `layers` has shape (runs, layers)."""
    mean, low, high = stats.mean_intervals(layers)
    number = np.arange(1, len(mean) + 1)
    ax.plot(number, mean, style, color=color, lw=lw, label=label, marker="o", ms=3)
    ax.fill_between(number, low, high, color=color, alpha=0.25, lw=0)


def share_map(ax: Axes, table: pd.DataFrame) -> QuadMesh:
    """Draw shares over the table's columns (across) and index (upwards)."""
    mesh = ax.pcolormesh(
        table.columns, table.index, table.to_numpy(), vmin=0, vmax=1, cmap=sns.color_palette(
            "viridis", as_cmap=True),
    )  # fmt: skip
    ax.set_xticks(table.columns)
    return mesh
