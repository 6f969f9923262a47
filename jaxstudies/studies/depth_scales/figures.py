"""The maps of training accuracy."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxstudies.output import plotting
from jaxstudies.studies.depth_scales.claims import FACTOR, SCALES
from jaxstudies.studies.depth_scales.config import Config
from jaxstudies.studies.depth_scales.summary import depth_scale, summarize
from jaxstudies.study import Results

CAPTIONS = {
    "map": "Training accuracy of tanh networks over the variance of their weights and their depth, means over "
    "networks, without dropout and with it; cells reach halfway to the next. Over it are multiples of mean field's "
    "depth scale. If networks train to a depth of about six scales, colors change from bright to dark near the "
    "solid line, within the dashed ones."
}
LINES = {SCALES / FACTOR: "--", float(SCALES): "-", float(SCALES * FACTOR): "--"}
SMOOTH = 60
"""Points of the lines."""


def plot(results: Results) -> dict[str, Figure]:
    """Draw a map for each rate of dropout, with multiples of the depth scale."""
    summary, config = summarize(results), results.config
    tanh = summary[summary["activation"] == "tanh"]
    rates = list(tanh["dropout_rate"].unique())
    figure, axes = plt.subplots(1, max(len(rates), 1), figsize=(1 + 4.8 * max(len(rates), 1), 4.8), squeeze=False)
    for ax, rate in zip(axes[0], rates, strict=False):
        map_ = tanh[tanh["dropout_rate"] == rate].pivot(index="depth", columns="weight_variance", values="accuracy")
        variances, depths = map_.columns.to_numpy(float), map_.index.to_numpy(float)
        x, y = plotting.cell_edges(variances, 0.1 * variances[0]), np.exp(plotting.cell_edges(np.log(depths), 0.1))
        mesh = ax.pcolormesh(x, y, map_, vmin=0, vmax=1, cmap="inferno")
        ax.set_facecolor(plotting.MISSING)
        draw_scales(ax, x, rate, config)
        ax.set(yscale="log", xlim=x[[0, -1]], ylim=y[[0, -1]], xlabel=r"weight variance $\sigma_w^2$")
        ax.set_yticks(map_.index, [f"{depth}" for depth in map_.index])
        ax.minorticks_off()
        missing = "; gray: no finite network" if map_.isna().any(axis=None) else ""
        ax.set_title(f"{rate:.0%} dropped{missing}" if rate else f"no dropout{missing}")
        figure.colorbar(mesh, ax=ax, label="training accuracy")
    axes[0, 0].set_ylabel("hidden layers")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(LINES))
    budget = f"{config.num_images:,} images, epochs: {config.epochs}"
    figure.suptitle(f"tanh networks of width {config.width} ({budget}), n = {summary['n'].min()} or more each")
    return {"map": figure}


def draw_scales(ax: Axes, ends: np.ndarray, rate: float, config: Config) -> None:
    """Draw multiples of the depth scale over weight variances."""
    variances = np.linspace(max(ends[0], 1e-3), ends[-1], SMOOTH)
    scales = np.array([depth_scale(variance, config.bias_variance, rate) for variance in variances.tolist()])
    for times, style in LINES.items():
        ax.plot(variances, times * scales, style, color="deepskyblue", lw=1.8, label=f"{times:g} depth scales")
