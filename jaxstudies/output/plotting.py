"""The figures' style, and the few shapes of figure that the studies share."""

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from jaxstudies.evidence import intervals as stats
from jaxstudies.output.files import write_atomic

Style = dict[str, Any]
"""Keyword arguments of matplotlib's functions that draw."""

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

CAPTION_SIZE = 9
PDF_ORIGIN = ("Creator", "Producer", "CreationDate")


def use_style() -> None:
    """Draw off screen and in the project's style from here on."""
    mpl.use("Agg")
    plt.rcParams.update(STYLE)  # type: ignore[arg-type]


def save(
    figures: Mapping[str, Figure], directory: Path, captions: Mapping[str, str] | None = None, *, pdf: bool = False
) -> list[Path]:
    """Write each figure, its caption below, as NAME.png and, if asked, NAME.pdf; close it; return the paths."""
    paths = []
    for name, figure in figures.items():
        for suffix in (".png", ".pdf") if pdf else (".png",):
            paths.append(directory / f"{name}{suffix}")
            write_atomic(paths[-1], partial(write_figure, figure, (captions or {}).get(name, "")))
        plt.close(figure)
    return paths


def write_figure(figure: Figure, caption: str, path: Path) -> None:
    """Write a figure with a caption below; equal ones have equal bytes, whenever they are written."""
    # A character is about half as wide as high.
    lines = textwrap.fill(caption, int(figure.get_figwidth() * 72 / (0.53 * CAPTION_SIZE)))
    style: Style = {"fontsize": CAPTION_SIZE, "color": "0.25", "va": "top", "linespacing": 1.35, "parse_math": False}
    left_out, told = (("Software",), "Description") if path.suffix == ".png" else (PDF_ORIGIN, "Subject")
    metadata = dict.fromkeys(left_out) | {told: caption or None}
    with layout_held(figure):
        text = figure.text(0.08 / figure.get_figwidth(), -0.06 / figure.get_figheight(), lines, **style)
        try:
            figure.savefig(path, bbox_inches="tight", pad_inches=0.1, metadata=metadata)
        finally:
            text.remove()


@contextmanager
def layout_held(figure: Figure) -> Iterator[None]:
    """Keep a figure's layout as it is: legends outside the axes would else move to the caption's lower edge."""
    figure.draw_without_rendering()
    engine = figure.get_layout_engine()
    free = [legend for legend in figure.legends if legend.get_bbox_to_anchor() is figure.bbox]
    figure.set_layout_engine("none")
    for legend in free:
        legend.set_bbox_to_anchor((0, 0, 1, 1), figure.transFigure)
    try:
        yield
    finally:
        for legend in free:
            legend.set_bbox_to_anchor(None)  # type: ignore[arg-type]
        figure.set_layout_engine(engine or "none")


def plain_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis, if it has data and few decades, with plain numbers, once its limits are set."""
    low, high = axis.get_view_interval()
    if 0 < low < high and (decades := np.log10(high / low)) < 2.5:
        steps = (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8) if decades < 1 else (1, 2, 5)
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_locator(NullLocator())


def legend_below(figure: Figure, handles: Mapping[str, Any], **style: Any) -> None:
    """Draw one legend for all panels, of as many columns as the figure is wide enough for."""
    columns = int(figure.get_figwidth() / (0.8 + 0.085 * max(map(len, handles))))
    rows = -(-len(handles) // max(columns, 1))
    below: Style = {"loc": "outside lower center", "ncols": -(-len(handles) // rows)}
    figure.legend(list(handles.values()), list(handles), **below, **style)


def cut_below(mean: ArrayLike, low: ArrayLike) -> tuple[np.ndarray, str]:
    """Return where intervals' lower ends are drawn on a logarithmic axis, and a note if any is cut.

    Of few seeds an interval may reach below 0, which such an axis does not have.
    """
    least, low = np.asarray(mean) / 3, np.asarray(low)
    return np.maximum(low, least), "; intervals cut at a third of the mean" if np.any(low < least) else ""


def say_empty(ax: Axes, what: str = "no finite run") -> None:
    """Say in a panel why nothing is drawn in it."""
    ax.text(0.5, 0.5, what, transform=ax.transAxes, ha="center", va="center", color="0.4")
    if len(ax.get_shared_y_axes().get_siblings(ax)) == 1:
        ax.set_yticks([])


def without_runs(title: str) -> Figure:
    """Return a figure that says that there is nothing to draw."""
    figure, ax = plt.subplots(figsize=(6, 2))
    say_empty(ax)
    ax.set_axis_off()
    figure.suptitle(title)
    return figure


def count_drawn(drawn: int, among: int) -> str:
    """Return a note on how many settings are drawn, if not all are."""
    return f"\n{drawn:,} of {among:,} settings drawn" if drawn < among else ""


def intervals(ax: Axes, positions: ArrayLike, rows: pd.DataFrame, *, color: str, label: str, filled: bool) -> None:
    """Draw shares as points with intervals, one per row with `fraction`, `low` and `high`."""
    middle = rows["fraction"].to_numpy()
    ends = np.stack([middle - rows["low"], rows["high"] - middle]).clip(min=0)
    look: Style = {"color": color, "mfc": color if filled else "white", "ms": 6, "capsize": 3, "lw": 1.5}
    ax.errorbar(middle, positions, xerr=ends, fmt="o", label=label, **look)


def layer_lines(
    ax: Axes, runs: np.ndarray, color: str, label: str, style: str = "-", lw: float = 1.5, at: np.ndarray | None = None
) -> None:
    """Draw the mean over runs, of shape (runs, layers), with a 95 % band, over layers from 1 or `at` places."""
    mean, low, high = stats.mean_intervals(runs)
    low = cut_below(mean, low)[0] if ax.get_yscale() == "log" else low
    number = np.arange(1, len(mean) + 1) if at is None else at
    marker = {"marker": "o", "ms": 3} if len(mean) <= 20 else {}
    ax.plot(number, mean, style, color=color, lw=lw, label=label, **marker)
    ax.fill_between(number, low, high, color=color, alpha=0.25, lw=0)
