"""The figures' style, and the few shapes of figure that the studies share."""

import re
import textwrap
import warnings
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
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from numpy.typing import ArrayLike

from jaxstudies.evidence import intervals as stats
from jaxstudies.ours import write_atomic
from jaxstudies.output import owned

Style = dict[str, Any]
"""Keyword arguments of matplotlib's functions that draw."""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart by color-blind readers."""
MISSING = "0.6"
"""Color of what has no number on a map."""

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
NOTHING_FINITE, NOTHING_POSITIVE = "no finite run", "nothing above 0"
"""What a panel says in which no number can be drawn."""
PDF_ORIGIN = ("Creator", "Producer", "CreationDate")


def use_style() -> None:
    """Draw off screen and in the project's style from here on."""
    mpl.use("Agg")
    plt.rcParams.update(STYLE)  # type: ignore[arg-type]


def save(
    figures: Mapping[str, Figure], directory: Path, captions: Mapping[str, str] | None = None, *, pdf: bool = False
) -> list[Path]:
    """Write each figure, its caption below, as NAME.png and, if asked, NAME.pdf; close it; return the paths.

    Panels in which no number can be drawn say so.
    """
    paths = []
    for (name, figure), stem in zip(figures.items(), owned.file_names(figures, "").values(), strict=True):
        for suffix in (".png", ".pdf") if pdf else (".png",):
            paths.append(directory / f"{stem}{suffix}")
            write_atomic(paths[-1], partial(write_figure, figure, (captions or {}).get(name, "")))
        plt.close(figure)
    return paths


def what_is_missing(ax: Axes) -> str:
    """Return why a panel into which something was drawn shows no number; empty where it shows one."""
    if not ax.axison or not ax.has_data() or ax.get_label() == "<colorbar>":
        return ""
    maps = [drawn.get_array() for drawn in (*ax.images, *ax.collections)]
    shown = [
        np.isfinite(np.ma.filled(np.ma.asarray(array, float), np.nan)).any() for array in maps if array is not None
    ]
    box = ax.dataLim
    if (shown and not any(shown)) or not np.isfinite(box.extents).all():
        return NOTHING_FINITE
    scales = ((ax.get_xscale(), box.minposx), (ax.get_yscale(), box.minposy))
    return NOTHING_POSITIVE if any(scale == "log" and not np.isfinite(least) for scale, least in scales) else ""


def say(ax: Axes, why: str) -> Text:
    """Write in the middle of a panel why it shows nothing."""
    paper: Style = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8}
    return ax.text(
        0.5, 0.5, why, ha="center", va="center", style="italic", color="0.4", bbox=paper, transform=ax.transAxes
    )


def plain_where_no_math(text: str) -> str:
    """Return text with its dollars as such in lines that are no math, which could not be drawn."""

    def plain(line: str) -> str:
        try:
            MathTextParser("path").parse(line)
        except ValueError:
            return re.sub(r"(?<!\\)\$", r"\\$", line)
        return line

    return "\n".join(map(plain, text.split("\n"))) if "$" in text else text


def interval_ends(middle: ArrayLike, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Return how far intervals reach down and up, at least 0, as `errorbar` takes it; NaN where there is none."""
    middle = np.asarray(middle, float)
    return np.stack([middle - np.asarray(low, float), np.asarray(high, float) - middle]).clip(min=0)


def draw_shares(
    ax: Axes, shares: pd.DataFrame, names: list[str], kinds: Mapping[str, tuple[str, str, str, str]]
) -> None:
    """Draw rows of shares, the first on top, with their intervals from `NAME_low` to `NAME_high`.

    Args:
        ax: Where to draw.
        shares: A row for each name, with a column for each kind.
        names: What the rows are called.
        kinds: By column, what it is called, its marker, and the colors of the marker's face and of the rest.
    """
    places = np.arange(len(shares))
    for shift, (name, (label, marker, face, color)) in zip(
        np.linspace(-0.16, 0.16, len(kinds)), kinds.items(), strict=True
    ):
        middle, reach = shares[name], interval_ends(*(shares[end] for end in (name, f"{name}_low", f"{name}_high")))
        ax.errorbar(middle.astype(float), places + shift, xerr=reach, fmt=marker, color=color, mfc=face, label=label)
    ax.set_yticks(places, names)
    ax.set(xlabel="share of networks", xlim=(-0.03, 1.03))
    if not ax.yaxis_inverted():  # as one that is shared may be already
        ax.invert_yaxis()


def cell_edges(levels: np.ndarray, half: float = 0.5) -> np.ndarray:
    """Return the ends of cells that reach halfway to the next of ascending levels, or `half` around a level alone."""
    if len(levels) == 1:
        return levels[0] + np.array([-half, half])
    inner = (levels[1:] + levels[:-1]) / 2
    return np.concatenate([[2 * levels[0] - inner[0]], inner, [2 * levels[-1] - inner[-1]]])


def finite_of(values: ArrayLike) -> np.ndarray:
    """Return the numbers that are finite, flat."""
    numbers = np.asarray(values, float)
    return numbers[np.isfinite(numbers)]


def write_figure(figure: Figure, caption: str, path: Path) -> None:
    """Write a figure with a caption below; equal ones have equal bytes, whenever they are written."""
    # A character is about half as wide as high.
    lines = plain_where_no_math(textwrap.fill(caption, int(figure.get_figwidth() * 72 / (0.53 * CAPTION_SIZE))))
    style: Style = {"fontsize": CAPTION_SIZE, "color": "0.25", "va": "top", "linespacing": 1.35}
    left_out, told = (("Software",), "Description") if path.suffix == ".png" else (PDF_ORIGIN, "Subject")
    metadata = dict.fromkeys(left_out) | {told: caption or None}
    with tolerant():
        for ax in figure.axes:
            give_limits(ax)
        for text in figure.findobj(Text):
            text.set_text(plain_where_no_math(text.get_text()))
        texts = [say(ax, why) for ax in figure.axes if (why := what_is_missing(ax))]
        try:
            with layout_held(figure):
                place = 0.08 / figure.get_figwidth(), -0.06 / figure.get_figheight()
                texts.append(figure.text(*place, lines, **style))
                figure.savefig(path, bbox_inches="tight", pad_inches=0.1, metadata=metadata)
        finally:
            for text in texts:
                text.remove()


def give_limits(ax: Axes) -> None:
    """Give a logarithmic axis limits that it can have, where nothing that was drawn gave it any."""
    for scale, limits, limit in ((ax.get_xscale, ax.get_xlim, ax.set_xlim), (ax.get_yscale, ax.get_ylim, ax.set_ylim)):
        if scale() == "log" and not min(limits()) > 0:
            limit(1, 10)


@contextmanager
def tolerant() -> Iterator[None]:
    """Let numbers overflow or be missing, and letters be none of the font's: what is drawn shows it, or says it."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        for message in ("Data has no positive values", "Attempt to set non-positive", "Attempting to set identical"):
            warnings.filterwarnings("ignore", message)
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        warnings.filterwarnings("ignore", category=RuntimeWarning, message=r"Mean of empty|All-NaN|Degrees of freedom")
        yield


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
    """Draw one legend for all panels, if there is something to name, as wide as the figure has room for."""
    if not handles:
        return
    widest = max(len(line) for name in handles for line in name.split("\n"))
    columns = int(figure.get_figwidth() / (0.8 + 0.085 * widest))
    rows = -(-len(handles) // max(columns, 1))
    below: Style = {"loc": "outside lower center", "ncols": -(-len(handles) // rows)}
    figure.legend(list(handles.values()), list(handles), **below, **style)


def cut_below(mean: ArrayLike, low: ArrayLike) -> tuple[np.ndarray, str]:
    """Return where intervals' lower ends are drawn on a logarithmic axis, and a note if any is cut.

    Of few seeds an interval may reach below 0, which such an axis does not have.
    """
    mean, low = np.asarray(mean, float), np.asarray(low, float)
    least = np.where(mean > 0, mean / 3, low)
    return np.maximum(low, least), "; intervals cut at a third of the mean" if np.any(low < least) else ""


FAR = 1e6
"""Times a mean, beyond which an interval on a logarithmic axis is cut: it says no more, and hides the means."""


def cut_far(mean: ArrayLike, low: ArrayLike, high: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """Return positive means with the ends of intervals as a logarithmic axis shows them; a note if one is cut."""
    mean, low, high = (np.asarray(values, float) for values in (mean, low, high))
    far = np.any(low < mean / FAR) or np.any(high > FAR * mean)
    note = ";\nintervals cut at a million times the mean, up and down" if far else ""
    return mean, np.maximum(low, mean / FAR), np.minimum(high, FAR * mean), note


def count_drawn(drawn: int, among: int) -> str:
    """Return a note on how many settings are drawn, if not all are."""
    return f"\n{drawn:,} of {among:,} settings drawn" if drawn < among else ""


def intervals(ax: Axes, positions: ArrayLike, rows: pd.DataFrame, *, color: str, label: str, filled: bool) -> None:
    """Draw shares as points with intervals, one per row with `fraction`, `low` and `high`."""
    middle = rows["fraction"].to_numpy()
    ends = interval_ends(middle, rows["low"], rows["high"])
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
