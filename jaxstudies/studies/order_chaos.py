"""Where do gradients vanish, and where do they explode, over sigma_w and sigma_b?

The order-chaos diagram: variances and gradients of deep networks against mean field. Where chi, the
factor of squared gradients per layer, is below 1, gradients vanish and inputs are drawn together
(order); above 1 they explode and inputs are driven apart (chaos). Signals survive near the line
between (Poole et al. 2016; Schoenholz et al. 2017, arXiv 1611.01232).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Annotated

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from annotated_types import Interval
from jaxtyping import Array, Float, Key, UInt8
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from jaxstudies.evidence import theory
from jaxstudies.evidence.intervals import geometric_mean
from jaxstudies.networks import mnist
from jaxstudies.networks.activations import ActivationName, activation_named, on_arrays, with_slope
from jaxstudies.networks.data import as_inputs
from jaxstudies.study import Claim, Results, Setting

RANGES = {"sigmoid": (16.0, 4.0), "relu": (2.6, 2.0)}  # largest sigma_w and sigma_b; of others (3, 2)
IMAGES = 8  # sent through each network
RUNS_PER_DEVICE = 1024  # four seeds with all 256 points, whose layers stay in the caches
QUICK = ("--seeds", "4", "--points", "8", "--dataset", "digits")
POINT = ["activation", "sigma_w", "sigma_b"]


@dataclass(frozen=True)
class Config:
    """What is simulated: every activation at every point of its diagram."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 40
    """Independent networks per point."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; network i depends on it and on i alone."""
    dataset: mnist.DatasetName = "mnist"
    """MNIST, or scikit-learn's 1,797 digits, which need neither files nor network."""
    data_dir: str | None = None
    """Directory with MNIST's four .gz files, or of tensorflow-datasets (JAXSTUDIES_DATA_DIR)."""
    activations: tuple[ActivationName, ...] = ("tanh", "sigmoid", "relu")
    """Activations, each with a diagram of its own."""
    points: Annotated[int, Interval(ge=2, le=200)] = 16
    """Values of sigma_w and of sigma_b in the diagrams."""
    depth: Annotated[int, Interval(ge=4, le=1000)] = 20
    """Hidden layers of the networks."""
    width: Annotated[int, Interval(ge=2, le=10_000)] = 100
    """Units per hidden layer."""


def data(config: Config) -> dict[str, np.ndarray]:
    """Return the training images."""
    return {"images": mnist.load(config.dataset, config.data_dir).train.images}


def settings(config: Config) -> Iterator[Setting]:
    """Yield the points of the diagrams."""
    points = config.points
    shape: dict[str, object] = {"depth": config.depth, "width": config.width}
    for activation in config.activations:
        most_w, most_b = RANGES.get(activation, (3.0, 2.0))
        sigmas_w, sigmas_b = np.linspace(most_w / points, most_w, points), np.linspace(0, most_b, points)
        for sigma_w, sigma_b in product(sigmas_w.tolist(), sigmas_b.tolist()):
            point = {"activation": activation, "sigma_w": sigma_w, "sigma_b": sigma_b}
            yield Setting(point, point | shape)


def simulate(
    key: Key[Array, ""],
    sigma_w: Float[Array, ""],
    sigma_b: Float[Array, ""],
    images: UInt8[Array, "n 28 28"],
    *,
    activation: str,
    depth: int,
    width: int,
) -> dict[str, Array]:
    """Send images through a deep network, and a random gradient back.

    All points of the diagram share the key's draws, which are scaled: a weight has standard deviation `sigma_w` over
    the root of the number of inputs, a bias `sigma_b`. Returned are `q`, the variance of the last layer's
    pre-activations, and `log_factor`, the log of the factor per layer by which squared gradients grow through the
    second half.
    """
    pick_key, first_key, layer_key, gradient_key = jax.random.split(key, 4)
    inputs = as_inputs(images[jax.random.randint(pick_key, (IMAGES,), 0, len(images))])

    def affine(key, h):
        weight_key, bias_key = jax.random.split(key)
        weights = jax.random.normal(weight_key, (width, len(h))) * len(h) ** -0.5
        return sigma_w * (weights @ h) + sigma_b * jax.random.normal(bias_key, (width, 1)), weights

    def forward(z, key):
        h, slope = with_slope(activation_named(activation), z)
        z, weights = affine(key, h)
        return z, (weights, slope)

    def backward(gradient, layer):
        weights, slope = layer
        return sigma_w * (weights.T @ gradient) * slope, None

    z, layers = jax.lax.scan(forward, affine(first_key, inputs.T)[0], jax.random.split(layer_key, depth - 1))
    half = depth // 2
    last = jnp.broadcast_to(jax.random.normal(gradient_key, (width, 1)), z.shape)
    first, _ = jax.lax.scan(backward, last, jax.tree.map(lambda a: a[-half:], layers), reverse=True)
    factor = jnp.mean(first**2) / jnp.mean(last**2)
    return {"q": jnp.mean(z**2), "log_factor": jnp.log(factor) / half}


@cache
def expected(activation: str, sigma_w: float, sigma_b: float) -> tuple[float, float]:
    """Return mean field's fixed point q* and chi there."""
    value, derivative = on_arrays(activation)
    q = theory.fixed_point(value, sigma_w**2, sigma_b**2)
    # Where chi does not depend on q, as for ReLU, any q serves that is a number.
    finite = 1.0 if np.isnan(q) else float(np.clip(q, 1e-12, 1e6))
    return q, float(theory.gradient_factor(derivative, finite, sigma_w**2))


def summarize(results: Results) -> pd.DataFrame:
    """Return a row per point: measured variance and gradient factor with interval, and theory."""
    listed = []
    for point, rows in results.runs.groupby(POINT, sort=False):
        factor = geometric_mean(np.exp(rows["log_factor"].to_numpy(float)))
        q, chi = expected(*point)
        listed.append((*point, len(rows), rows["q"].mean(), q, *factor, chi, float(theory.depth_scale(chi))))
    names = ["n", "variance", "theory_variance", "gradient_factor", "low", "high", "chi", "depth_scale"]
    return pd.DataFrame(listed, columns=POINT + names)


def claims(results: Results) -> list[Claim]:
    """Return the claims that mean field tells the gradients' factor, within 10 % on average."""
    runs = results.runs
    gap = runs["log_factor"] - np.log([expected(*point)[1] for point in runs[POINT].itertuples(index=False)])
    effects = gap.where(np.isfinite(gap)).groupby([runs["activation"], runs["seed"]], sort=False).mean()
    source, unit = "Schoenholz et al. (arXiv 1611.01232)", "log(factor / chi)"
    how = "mean over the diagram's points, t interval over seeds"

    def claim(name: str) -> Claim:
        id_, words = f"mean_field.{name}", f"gradients grow by chi per layer ({name})"
        return Claim(id_, words, lambda of: effects[name], (-0.1, 0.1), source, unit=unit, method=how)

    return list(map(claim, results.config.activations))


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
    names = config.activations
    figure, axes = plt.subplots(len(names), 4, figsize=(14, 0.9 + 3.1 * len(names)), squeeze=False)
    for line, name in zip(axes, names, strict=True):
        maps = summary[summary["activation"] == name].pivot(index="sigma_b", columns="sigma_w")
        logs = np.log(maps["chi"])
        grid = logs.columns, logs.index, logs
        for ax, (column, (title, (norm, cmap))) in zip(line, SHOWN.items(), strict=True):
            shown = maps[column].fillna(1.0).clip(norm.vmin, norm.vmax)
            mesh = ax.pcolormesh(*grid[:2], shown, norm=norm, cmap=cmap)
            # The zero of log chi is the critical line.
            ax.contour(*grid, [0.0], colors="black", linewidths=2)
            if column in ("gradient_factor", "chi"):
                lines = ax.contour(*grid, list(SCALES), colors="black", linewidths=0.8, linestyles="dashed")
                ax.clabel(lines, fmt=SCALES, fontsize=7)
            ax.set_title(f"{name}: {title}", fontsize=10)
            ax.set_xlabel(r"$\sigma_w$")
            figure.colorbar(mesh, ax=ax, extend="both")
        line[0].set_ylabel(r"$\sigma_b$", labelpad=8)
    title = f"Order (χ < 1) and chaos (χ > 1): {config.depth} layers of {config.width}, n = {summary['n'].min()} "
    figure.suptitle(title + "networks per point; solid: χ = 1; dashed: depth scale in layers")
    return {"phase": figure}
