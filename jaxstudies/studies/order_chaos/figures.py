"""The diagrams."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from jaxstudies.output import plotting
from jaxstudies.output.words import words
from jaxstudies.studies.order_chaos.summary import summarize
from jaxstudies.study import Results

CAPTIONS = {
    "phase": "A row for each activation: over the standard deviations of weights and biases, the variance of the last "
    "layer's pre-activations and the factor by which squared gradients grow per layer, each measured, as a mean over "
    "networks, and by mean field. If mean field describes deep networks, the measured maps look like its own, and the "
    "measured factor is 1 (white) along the solid line; dashed lines mark over how many layers a signal is lost. "
    "Values beyond a color scale have the color of its end."
}
VARIANCES, FACTORS = (LogNorm(1e-3, 1e3), "viridis"), (LogNorm(0.1, 10), "RdBu_r")
SHOWN = {
    "variance": ("variance q, measured", VARIANCES),
    "theory_variance": ("fixed point q*, mean field", VARIANCES),
    "gradient_factor": ("gradient factor, measured", FACTORS),
    "chi": ("χ, mean field", FACTORS),
}
SCALES = {-1 / 3: "3", -0.1: "10", 0.1: "10", 1 / 3: "3"}  # of log chi: layers


def plot(results: Results) -> dict[str, Figure]:
    """Draw measured variance and gradient factor beside theory's, with depth scales."""
    summary, config = summarize(results), results.config
    names, missing = config.activations, False
    figure, axes = plt.subplots(len(names), 4, figsize=(14, 0.9 + 3.1 * len(names)), squeeze=False)
    for line, name in zip(axes, names, strict=True):
        maps = summary[summary["activation"] == name].pivot(index="sigma_b", columns="sigma_w")
        logs = np.log(maps["chi"])
        grid = logs.columns, logs.index, logs
        for ax, (column, (title, (norm, cmap))) in zip(line, SHOWN.items(), strict=True):
            # Where any q* is one, as for ReLU on the critical line, 1 is drawn.
            shown = maps[column].fillna(1.0 if column == "theory_variance" else np.nan).clip(norm.vmin, norm.vmax)
            mesh = ax.pcolormesh(*grid[:2], shown, norm=norm, cmap=cmap)
            ax.set_facecolor(plotting.MISSING)
            missing |= bool(shown.isna().any(axis=None))
            # The zero of log chi is the critical line.
            if logs.min(axis=None) <= 0 <= logs.max(axis=None):
                ax.contour(*grid, [0.0], colors="black", linewidths=2)
            if column in ("gradient_factor", "chi"):
                lines = ax.contour(*grid, list(SCALES), colors="black", linewidths=0.8, linestyles="dashed")
                ax.clabel(lines, fmt=SCALES, fontsize=7)
            ax.set_title(f"{words(name)}: {title}", fontsize=10)
            ax.set_xlabel(r"$\sigma_w$")
            figure.colorbar(mesh, ax=ax, extend="both")
        line[0].set_ylabel(r"$\sigma_b$", labelpad=8)
    title = f"Order (χ < 1) and chaos (χ > 1): {config.depth} layers of {config.width}, n = {summary['n'].min()} "
    title += "networks per point; solid: χ = 1; dashed: depth scale in layers"
    figure.suptitle(title + ("; gray: no finite network" if missing else ""))
    return {"phase": figure}
