"""How the study's figures look: colors and markers of depths, names of recipes, plain axes and counts."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.ticker import NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike

from jaxstudies.output import plotting

RECIPES = {"sgd": "SGD, Nesterov; batch norm in 2+ layers", "adam": "Adam, cosine decay; no norm"}
STYLES = {"sgd": "--", "adam": "-"}
MODERN = "ReLU on Fourier features"
MODERN_COLOR = plotting.COLORS[4]
BELOW: plotting.Style = {"loc": "outside lower center"}
ERROR = "test RMSE (units of f)"


def look(depth: int) -> plotting.Style:
    """Return the color and the marker of a depth."""
    return {"color": plotting.COLORS[(depth - 1) % len(plotting.COLORS)], "marker": "os^"[depth - 1 : depth] or "D"}


def draw_band(ax: Axes, x: ArrayLike, band: np.ndarray, color: str, style: str, alpha: float = 0.2, **line) -> None:
    """Draw a curve and a band; `band` holds the curve and the ends."""
    ax.plot(x, band[0], style, color=color, **line)
    ax.fill_between(x, band[1], band[2], color=color, alpha=alpha, lw=0)


def plural(count: int, noun: str) -> str:
    """Return a number and its noun."""
    return f"{count} {noun}" + ("s" if count != 1 else "")


def plain_log(axis: Axis) -> None:
    """Label a logarithmic axis with plain numbers, within a decade those between its powers as well."""
    low, high = axis.get_view_interval()
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(StrMethodFormatter("{x:g}") if 0 < low < high < 10 * low else NullFormatter())


def count_seeds(rows: pd.DataFrame) -> str:
    """Return the seeds per row in words."""
    least, most = int(rows["n"].min()), int(rows["n"].max())
    return "n = " + (f"{least} to " if least < most else "") + plural(most, "seed")
