"""One run among all of its setting."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxstudies.output import table
from jaxstudies.output.plotting import COLORS
from jaxstudies.output.words import words

MOST_PANELS = 6
CAPTION = (
    "Blue: the run. Gray: all runs of its setting, as a histogram of a number, and of an array along its axis as the "
    "median and the range from the 5 % to the 95 % quantile."
)


def draw_run(
    values: dict[str, np.ndarray], others: pd.DataFrame, axes: dict[str, list[str]], title: str
) -> Figure | None:
    """Draw the numbers and arrays of a run, each before those of all runs; None where there are only truth values.

    Args:
        values: What the run returned; arrays of one axis and numbers are drawn, up to `MOST_PANELS`.
        others: Rows of the runs of its setting.
        axes: Names of the axes of arrays.
        title: What stands above.
    """
    drawn = [name for name, value in values.items() if value.ndim < 2 and value.size and value.dtype.kind != "b"]
    drawn = sorted(drawn, key=lambda name: -values[name].ndim)[:MOST_PANELS]
    if not drawn:
        return None
    figure, panels = plt.subplots(1, len(drawn), figsize=(1 + 3.4 * len(drawn), 3.6), squeeze=False)
    for ax, name in zip(panels[0], drawn, strict=True):
        everyone = table.stacked(others, name).astype(float)
        (draw_curve if values[name].ndim else draw_number)(ax, values[name].astype(float), everyone)
        if values[name].ndim:
            axis = axes[name][0]
            ax.set(xlabel="step" if axis == "axis_0" else words(axis), ylabel=words(name))
        else:
            ax.set(xlabel=words(name), ylabel="runs")
        ax.grid(alpha=0.3)
    figure.suptitle(title)
    return figure


def draw_curve(ax: Axes, values: np.ndarray, everyone: np.ndarray) -> None:
    """Draw an array along its axis; the scale is logarithmic where it spans orders of magnitude."""
    steps = np.arange(1, len(values) + 1)
    finite = np.where(np.isfinite(everyone), everyone, np.nan)
    known = np.isfinite(finite).any(axis=0)
    if known.any():
        low, middle, high = np.nanquantile(finite[:, known], (0.05, 0.5, 0.95), axis=0)
        ax.fill_between(steps[known], low, high, color="0.8", lw=0)
        ax.plot(steps[known], middle, color="0.5", lw=1)
    ax.plot(steps, values, color=COLORS[0])
    shown = values[np.isfinite(values)]
    if len(shown) and shown.min() > 0 and shown.max() > 1000 * shown.min():
        ax.set_yscale("log")


def draw_number(ax: Axes, value: np.ndarray, everyone: np.ndarray) -> None:
    """Draw a number in the histogram of all."""
    finite = everyone[np.isfinite(everyone)]
    if len(finite):
        low, high = finite.min(), finite.max()
        # Of equal numbers, however large, a bar has a width.
        margin = 0.0 if high - low > 1e-5 * max(abs(low), abs(high)) else max(1e-3 * abs(high), 1e-3)
        edges = [*(low - margin) + (high / 30 - low / 30 + margin / 15) * np.arange(30), high + margin]
        ax.hist(finite, edges, color="0.8")
    if np.isfinite(value):
        ax.axvline(float(value), color=COLORS[0])
