"""The map: shares of dead networks over depth and width."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from jaxstudies.evidence import theory
from jaxstudies.output import plotting
from jaxstudies.output.words import words
from jaxstudies.studies.born_dead.summary import summarize
from jaxstudies.studies.dying_relu import counts
from jaxstudies.study import Results

CAPTIONS = {
    "map": "Shares of networks that are dead, their output's slope 0 at all points of a grid, by depth and width: "
    "measured at initialization, theory's bounds on that where there are any, and after training if there was one. If "
    "theory holds, the measured share of a shape lies between the bounds, and networks to the right of a white line "
    "are born dead with at most the probability in the legend. Look how much wider networks have to be as they get "
    "deeper."
}


BOUNDS = (0.1, "--"), (0.01, "-")
"""Probabilities of being born dead whose safe widths are drawn, and how."""


def precision(cells: pd.DataFrame) -> str:
    """Return the networks per cell, and half the width of the widest interval."""
    half = 100 * (cells["high"] - cells["low"]).max() / 2
    return f"n = {cells['n'].min():,} per cell" + (f", within ±{half:.1f} points" if np.isfinite(half) else "")


def panels_of(summary: pd.DataFrame) -> list[tuple[str, pd.DataFrame, str]]:
    """Return title, rows and column of each panel."""
    summary = summary[summary["rule"] == "zero_slope"]
    born = summary[summary["epochs"] == 0]
    after = summary[(summary["stage"] == "trained") & (summary["epochs"] > 0)]
    panels = [("born dead, measured", born, "fraction")]
    for column, word in (("theory_low", "lower"), ("theory_high", "upper")):
        if born[column].notna().any():
            panels.append((f"born dead, theory's {word} bound", born, column))
    if len(after):
        budget = counts.in_epochs(after["epochs"].iloc[0])
        panels.append((f"dead after {budget}\n({precision(after)})", after, "fraction"))
    return panels


def plot(results: Results) -> dict[str, Figure]:
    """Draw the shares over depth and width, measured and by theory, with the safe region."""
    panels = panels_of(summarize(results))
    born = panels[0][1]
    figure, axes = plt.subplots(1, len(panels), figsize=(3.1 * len(panels) + 1.2, 5.4), sharey=True, squeeze=False)
    depths, widths = np.sort(born["depth"].unique()), np.sort(born["width"].unique())
    is_bounded = born["theory_high"].notna().any()
    for ax, (title, rows, column) in zip(axes[0], panels, strict=True):
        cells = rows.pivot(index="depth", columns="width", values=column)
        places = plotting.cell_edges(cells.columns.to_numpy()), plotting.cell_edges(cells.index.to_numpy())
        mesh = ax.pcolormesh(*places, cells.to_numpy(float), vmin=0, vmax=1, cmap="viridis")
        ax.set_facecolor(plotting.MISSING)  # where no network is finite
        ax.set_xticks(cells.columns)
        for probability, style in BOUNDS if is_bounded else ():
            line = theory.safe_width(depths, probability)
            ax.plot(line, depths, style, color="white", lw=1.6, label=f"P ≤ {probability:.0%}")
        ax.set(title=title, xlabel="width (units per layer)", xlim=(widths[0] - 0.5, widths[-1] + 0.5))
    axes[0, 0].set_ylabel("depth (hidden layers)")
    axes[0, 0].yaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if is_bounded:
        legend = axes[0, 0].legend(title="theory: safe\nright of", loc="upper right", handlelength=1.2)
        plt.setp([legend.get_title(), *legend.get_texts()], color="white", fontsize=8)
    figure.colorbar(mesh, ax=axes[0, -1], label="share of networks")
    activation, init, target, rule = map(words, born[["activation", "init", "target", "rule"]].iloc[0])
    title = f"Dead {activation} networks by depth and width\n({init}, {target}; {rule}; "
    figure.suptitle(f"{title}born: {precision(born)}, 95 % intervals)")
    return {"map": figure}
