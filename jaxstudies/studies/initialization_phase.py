"""The order-chaos diagram: variances and gradients over (sigma_w, sigma_b), against mean field.

Where chi, the factor of squared gradients per layer, is below 1, gradients vanish and inputs are
drawn together (order); above 1 they explode and inputs are driven apart (chaos). Signals survive
near the line between (Poole et al. 2016; Schoenholz et al. 2017, arXiv 1611.01232).
"""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jaxtyping import Array, Float, Key, UInt8
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from jaxstudies import monte_carlo, stats, theory
from jaxstudies.claims import Claim, Verdict, judge_region
from jaxstudies.studies.initialization_networks import activation_named, as_inputs, on_arrays

RANGES = {"sigmoid": (16.0, 4.0), "relu": (2.6, 2.0)}
"""Largest sigma_w and sigma_b of the diagrams; of other activations (3, 2)."""
IMAGES = 8
"""Images sent through each network."""


def grid_of(activation: str, points: int) -> np.ndarray:
    """Return the diagram's points: rows of sigma_w and sigma_b, (points^2, 2)."""
    most_w, most_b = RANGES.get(activation, (3.0, 2.0))
    axes = np.linspace(most_w / points, most_w, points), np.linspace(0, most_b, points)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)


def simulate(
    key: Key[Array, ""],
    images: UInt8[Array, "n 28 28"],
    grid: Float[Array, "points 2"],
    *,
    activation: str,
    depth: int,
    width: int,
) -> dict[str, Array]:
    """Send images through a deep network at each point of the grid, and a random gradient back.

    Args:
        key: Random key of the seed; all points share its draws, which their sigmas scale.
        images: All images.
        grid: sigma_w and sigma_b.
        activation: Name of the activation.
        depth: Hidden layers.
        width: Units per hidden layer.

    Returns:
        By point: `q`, the variance of the last layer's pre-activations, and `log_factor`, the log
        of the factor per layer by which squared gradients grow through the second half.
    """
    pick_key, first_key, layer_key, gradient_key = jax.random.split(key, 4)
    function = activation_named(activation)
    sigma_w, sigma_b = grid[:, 0, None, None], grid[:, 1, None, None]
    inputs = as_inputs(images[jax.random.randint(pick_key, (IMAGES,), 0, len(images))])

    def draw(key, outputs, inputs):
        weight_key, bias_key = jax.random.split(key)
        weights = jax.random.normal(weight_key, (outputs, inputs)) * inputs**-0.5
        return weights, jax.random.normal(bias_key, (1, outputs, 1))

    def forward(z, key):
        weights, bias = draw(key, width, width)
        h, slope = jax.jvp(function, (z,), (jnp.ones_like(z),))
        return sigma_w * jnp.einsum("ij,gjb->gib", weights, h) + sigma_b * bias, (weights, slope)

    weights, bias = draw(first_key, width, inputs.shape[1])
    z = sigma_w * (weights @ inputs.T)[None] + sigma_b * bias
    z, (kernels, slopes) = jax.lax.scan(forward, z, jax.random.split(layer_key, depth - 1))

    def backward(gradient, layer):
        weights, slope = layer
        return sigma_w * jnp.einsum("ij,gib->gjb", weights, gradient) * slope, None

    half = depth // 2
    gradient = jnp.broadcast_to(jax.random.normal(gradient_key, (1, width, 1)), z.shape)
    last = jnp.mean(gradient**2, axis=(1, 2))
    behind = kernels[-half:], slopes[-half:]
    gradient, _ = jax.lax.scan(backward, gradient, behind, reverse=True)
    log_factor = jnp.log(jnp.mean(gradient**2, axis=(1, 2)) / last) / half
    return {"q": jnp.mean(z**2, axis=(1, 2)), "log_factor": log_factor}


@cache
def program(activation: str, depth: int, width: int):
    """Return `simulate` for one shape: one object, one compilation."""
    return partial(simulate, activation=activation, depth=depth, width=width)


def run(config: Any, images: np.ndarray, **execution) -> pd.DataFrame:
    """Run the diagrams; return a row per activation, point and seed."""
    images = jax.device_put(images)
    grids = {name: grid_of(name, config.phase_points) for name in config.activations}
    devices = monte_carlo.choose_devices(execution.get("num_devices"))
    execution["chunk_size"] = execution.get("chunk_size") or 4 * len(devices)
    runs = monte_carlo.run_settings(
        [
            monte_carlo.Setting(
                {"activation": name},
                program(name, config.phase_depth, config.width),
                (images, jnp.asarray(grid, jnp.float32)),
            )
            for name, grid in grids.items()
        ],
        num_seeds=config.seeds, seed=config.seed, description="phase diagram", **execution,
    )  # fmt: skip
    frames = []
    for name, grid in grids.items():
        rows = runs[runs["activation"] == name]
        columns = {
            quantity: rows[[f"{quantity}_{i + 1}" for i in range(len(grid))]].to_numpy().ravel()
            for quantity in ("q", "log_factor")
        }
        labels = {
            "activation": name, "depth": config.phase_depth, "width": config.width,
            "seed": np.repeat(rows["seed"].to_numpy(), len(grid)),
            "sigma_w": np.tile(grid[:, 0], len(rows)), "sigma_b": np.tile(grid[:, 1], len(rows)),
        }  # fmt: skip
        frames.append(pd.DataFrame(labels | columns))
    return pd.concat(frames, ignore_index=True)


def expected(activation: str, sigma_w: float, sigma_b: float) -> tuple[float, float]:
    """Return mean field's fixed point q* and chi there."""
    value, derivative = on_arrays(activation)
    q = theory.fixed_point(value, sigma_w**2, sigma_b**2)
    # Where chi does not depend on q, as for ReLU, any q serves that is a number.
    finite = 1.0 if np.isnan(q) else float(np.clip(q, 1e-12, 1e6))
    return q, float(theory.gradient_factor(derivative, finite, sigma_w**2))


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per point: measured variance and gradient factor with interval, and theory."""
    rows = []
    for labels, group in runs.groupby(["activation", "sigma_w", "sigma_b"], sort=False):
        logs = group["log_factor"].to_numpy(float)
        factor, low, high = np.exp(stats.mean_interval(logs[np.isfinite(logs)]))
        q, chi = expected(*labels)  # type: ignore[misc]
        rows.append((*labels, len(group), group["q"].mean(), q, factor, low, high, chi,
                     float(theory.depth_scale(chi))))  # fmt: skip
    columns = ["activation", "sigma_w", "sigma_b", "n", "variance", "theory_variance",
               "gradient_factor", "low", "high", "chi", "depth_scale"]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def judge(runs: pd.DataFrame) -> list[Verdict]:
    """Judge whether mean field tells the gradients' factor, within 10 % on average."""
    verdicts = []
    summary = summarize(runs).set_index(["activation", "sigma_w", "sigma_b"])
    for name, group in runs.groupby("activation", sort=False):
        chi = summary.loc[
            pd.MultiIndex.from_frame(group[["activation", "sigma_w", "sigma_b"]]), "chi"
        ]
        gap = group["log_factor"] - np.log(chi.to_numpy())
        by_seed = gap[np.isfinite(gap)].groupby(group["seed"]).mean().to_numpy()
        verdicts.append(
            judge_region(
                Claim(f"mean_field.{name}", f"gradients grow by chi per layer ({name})",
                      "Schoenholz et al. (arXiv 1611.01232)"),
                stats.mean_interval(by_seed), holds=(-0.1, 0.1), unit="log(factor / chi)",
                n=len(by_seed), method="mean over the diagram's points, t interval over seeds",
            )
        )  # fmt: skip
    return verdicts


def plot(runs: pd.DataFrame) -> dict[str, Figure]:
    """Draw measured variance and gradient factor beside theory's, with depth scales."""
    summary = summarize(runs)
    names = list(summary["activation"].unique())
    figure, axes = plt.subplots(len(names), 4, figsize=(14, 0.9 + 3.1 * len(names)), squeeze=False)
    columns = [
        ("variance", "variance q, measured"), ("theory_variance", "fixed point q*, mean field"),
        ("gradient_factor", "gradient factor, measured"), ("chi", "χ, mean field"),
    ]  # fmt: skip
    for line, name in zip(axes, names, strict=True):
        rows = summary[summary["activation"] == name]
        tables = {c: rows.pivot(index="sigma_b", columns="sigma_w", values=c) for c, _ in columns}
        chi = tables["chi"]
        for ax, (column, title) in zip(line, columns, strict=True):
            values = tables[column].to_numpy(float)
            if column in ("variance", "theory_variance"):
                norm, cmap = LogNorm(1e-3, 1e3), "viridis"
            else:
                norm, cmap = LogNorm(0.1, 10), "RdBu_r"
            shown = np.clip(np.where(np.isnan(values), 1.0, values), norm.vmin, norm.vmax)
            mesh = ax.pcolormesh(chi.columns, chi.index, shown, norm=norm, cmap=cmap)
            # Contours of log chi: its zero is the critical line, the others are depth scales.
            logs = np.log(chi.to_numpy(float))
            ax.contour(chi.columns, chi.index, logs, [0.0], colors="black", linewidths=2)
            if column in ("gradient_factor", "chi"):
                lines = ax.contour(chi.columns, chi.index, logs, [-1 / 3, -0.1, 0.1, 1 / 3],
                                   colors="black", linewidths=0.8, linestyles="dashed")  # fmt: skip
                ax.clabel(lines, fmt={-1 / 3: "3", -0.1: "10", 0.1: "10", 1 / 3: "3"}, fontsize=7)
            ax.set_title(f"{name}: {title}", fontsize=10)
            ax.set_xlabel(r"$\sigma_w$")
            figure.colorbar(mesh, ax=ax, extend="both")
        line[0].set_ylabel(r"$\sigma_b$", labelpad=8)
    first = runs.iloc[0]
    figure.suptitle(
        f"Order (χ < 1) and chaos (χ > 1): {first['depth']} layers of {first['width']}, "
        f"n = {summary['n'].min()} networks per point; solid: χ = 1; dashed: depth scale in layers"
    )
    return {"phase": figure}
