"""Initialization: activations and gradients, layer by layer, on MNIST.

Which initializations make gradients vanish in a network of five hidden layers? The study draws
networks by the dozen under each initialization, sends images through them and the gradients of the
cross-entropy back, before and, if asked to, after training, and holds them against mean-field
theory.
"""

from dataclasses import dataclass
from functools import cache, partial
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from annotated_types import Ge, Gt, Interval
from matplotlib.figure import Figure

from jaxstudies import mnist, monte_carlo, stats, theory
from jaxstudies.claims import Verdict
from jaxstudies.studies import initialization_claims as claims
from jaxstudies.studies import initialization_figures as figures
from jaxstudies.studies import initialization_phase as phase
from jaxstudies.studies.initialization_claims import layers_of
from jaxstudies.studies.initialization_draws import (
    DRAWS,
    NUM_CLASSES,
    Design,
    InitName,
    Shape,
    draw_of,
    weight_scale,
)
from jaxstudies.studies.initialization_networks import ActivationName, on_arrays, simulate

SETTING = ["activation", "init", "sigma", "stage"]
LAYERWISE = (
    "mean", "variance", "second_moment", "saturation", "dead", "grad", "grad_l2", "weight_grad",
)  # fmt: skip
SEEDS_AT_ONCE = 4
"""Seeds per device and chunk, if not chosen: each brings all its settings along."""


@dataclass(frozen=True)
class Config:
    """What is simulated: every activation with every initialization."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 40
    """Independent networks per setting."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; network i depends on it and on i alone."""
    dataset: mnist.DatasetName = "mnist"
    """MNIST, or scikit-learn's 1,797 digits, which need neither files nor network."""
    data_dir: str | None = None
    """Directory with MNIST's four .gz files, or of tensorflow-datasets (JAXSTUDIES_DATA_DIR)."""
    activations: tuple[ActivationName, ...] = ("tanh", "sigmoid", "relu")
    """Activations, paired on the same seeds and images."""
    inits: tuple[InitName, ...] = (
        "normal", "glorot_normal", "he_normal", "lecun_normal", "orthogonal", "lsuv",
    )  # fmt: skip
    """Initializations of all layers; lsuv is for ReLU networks, and left out with others."""
    sigmas: tuple[Annotated[float, Gt(0)], ...] = (0.10, 0.14, 0.28)
    """Standard deviations of the weights with normal."""
    depth: Annotated[int, Interval(ge=2, le=1000)] = 5
    """Hidden layers with an activation."""
    width: Annotated[int, Interval(ge=2, le=10_000)] = 100
    """Units per hidden layer."""
    linear_first_layer: bool = True
    """Put a layer without activation before the hidden layers, as the source notebook did."""
    num_images: Annotated[int, Ge(1)] = 10_000
    """Training images sent through each network, drawn afresh for each seed."""
    epochs: Annotated[int, Ge(0)] = 0
    """Passes through the training images; 0 looks at the networks as initialized only."""
    optimizer: Literal["adam", "rmsprop"] = "adam"
    """Optimizer of the training; the source notebook names RMSprop."""
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    """Learning rate."""
    batch_size: Annotated[int, Ge(1)] = 128
    """Images per training step."""
    phase: bool = False
    """Draw the order-chaos diagrams of the activations over sigma_w and sigma_b instead."""
    phase_points: Annotated[int, Interval(ge=2, le=200)] = 16
    """Values of sigma_w and of sigma_b in the diagrams."""
    phase_depth: Annotated[int, Interval(ge=4, le=1000)] = 20
    """Hidden layers of the diagrams' networks."""


def settings_of(config: Config, activation: str) -> list[tuple[str, float]]:
    """List (initialization, sigma) for an activation; sigma is NaN where the layer decides it.

    LSUV is left out with activations other than ReLU, unless nothing else is asked for.
    """
    listed = []
    for name in config.inits:
        if name == "normal":
            listed += [(name, sigma) for sigma in config.sigmas]
        elif name != "lsuv" or activation == "relu" or config.inits == ("lsuv",):
            listed.append((name, np.nan))
    return listed


def shape_of(settings: list[tuple[str, float]], config: Config) -> Shape:
    """Return what the settings' program depends on."""
    needed = {draw_of(init) for init, _ in settings}
    fields = {name: getattr(config, name) for name in Shape._fields if name != "draws"}
    return Shape(**fields, draws=tuple(draw for draw in DRAWS if draw in needed))


def design_of(settings: list[tuple[str, float]], config: Config) -> Design:
    """Return settings as arrays."""
    draws = shape_of(settings, config).draws
    sizes = [(784, config.width), (config.width, config.width), (config.width, NUM_CLASSES)]
    return Design(
        jnp.array([draws.index(draw_of(init)) for init, _ in settings]),
        jnp.array([[weight_scale(init, sigma, *s) for s in sizes] for init, sigma in settings]),
        jnp.array([init == "lsuv" for init, _ in settings]),
    )


@cache
def program(activation: str, shape: Shape):
    """Return `simulate` for an activation and a shape: one object, one compilation."""
    return partial(simulate, activation=activation, shape=shape)


def variant(config: Config) -> str:
    """Return the name of what is run instead of the study, if it is."""
    return "phase" if config.phase else ""


def run(config: Config, **execution) -> pd.DataFrame:
    """Run every setting; `execution` goes to `monte_carlo.run_settings`.

    Returns:
        A row per activation, initialization, stage (`born` or `trained`) and seed; or the rows of
        the phase diagram.

    Raises:
        DataError: The images are missing or damaged.
    """
    monte_carlo.use_all_cores()
    data = mnist.load(config.dataset, config.data_dir)
    if config.phase:
        return phase.run(config, data.train.images, **execution)
    listed = {name: settings_of(config, name) for name in config.activations}
    arrays = jax.device_put((*data.train, *data.test))
    devices = monte_carlo.choose_devices(execution.get("num_devices"))
    execution["chunk_size"] = execution.get("chunk_size") or SEEDS_AT_ONCE * len(devices)
    runs = monte_carlo.run_settings(
        [
            monte_carlo.Setting(
                {"activation": name},
                program(name, shape_of(settings, config)),
                (*arrays, design_of(settings, config)),
            )
            for name, settings in listed.items()
        ],
        num_seeds=config.seeds, seed=config.seed, description="initialization", **execution,
    )  # fmt: skip
    return pd.concat(
        [
            unpack(runs[runs["activation"] == name].dropna(axis=1, how="all"), settings, config)
            for name, settings in listed.items()
        ],
        ignore_index=True,
    )


def unpack(runs: pd.DataFrame, listed: list[tuple[str, float]], config: Config) -> pd.DataFrame:
    """Turn a row per seed, with all settings of an activation in it, into a row per setting."""
    columns: dict[str, dict[int, str]] = {}
    for column in runs:
        name, _, number = str(column).rpartition("_")
        if number.isdigit():
            columns.setdefault(name, {})[int(number)] = str(column)

    def values(name):
        return runs[[columns[name][i] for i in sorted(columns[name])]].to_numpy()

    frames = []
    for stage in ("born", "trained"):
        names = [name for name in columns if name.startswith(f"{stage}_")]
        arrays = {
            name.removeprefix(f"{stage}_"): values(name).reshape(len(runs), len(listed), -1)
            for name in names
        }
        for i, (init, sigma) in enumerate(listed if names else []):
            labels = {
                "activation": runs["activation"].iloc[0], "init": init, "sigma": sigma,
                "stage": stage, "epochs": config.epochs if stage == "trained" else 0,
                "depth": config.depth, "width": config.width,
                "linear_first_layer": config.linear_first_layer,
            }  # fmt: skip
            table = {"seed": runs["seed"].to_numpy()}
            for name, array in (*arrays.items(), ("input_q", values("input_q")[:, None])):
                flat = array[:, i if name != "input_q" else 0]
                if flat.shape[1] == 1 and name != "input_q":
                    table[name] = flat[:, 0]
                else:
                    table |= {f"{name}_{k + 1}": flat[:, k] for k in range(flat.shape[1])}
            frames.append(pd.DataFrame(table).assign(**labels)[[*labels, *table]])
    return pd.concat(frames, ignore_index=True)


def theory_second_moments(rows: pd.DataFrame) -> np.ndarray:
    """Return mean field's second moment of the activations, by layer, for the images seen.

    It is averaged over groups of images by size. LSUV sets every pre-activation's variance to 1.
    """
    first = rows.iloc[0]
    value, _ = on_arrays(first["activation"])
    sizes = rows.filter(regex=r"^input_q_").to_numpy().mean(axis=0)
    width = int(first["width"])

    def gain(inputs, outputs):
        return inputs * weight_scale(first["init"], first["sigma"], inputs, outputs) ** 2

    q = gain(784, width) * sizes / 784
    if first["linear_first_layer"]:
        q = gain(width, width) * q
    moments = []
    for _ in range(first["depth"]):
        if first["init"] == "lsuv":
            q = np.ones_like(q)
        moments.append(theory.gaussian_mean(lambda z: value(z) ** 2, q))
        q = gain(width, width) * moments[-1]
    return np.mean(moments, axis=1)


def geometric_mean(values: np.ndarray) -> stats.Interval:
    """Return the geometric mean of positive numbers, with Student's t interval of the logs."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(values)
    mean, low, high = np.exp(stats.mean_interval(logs[np.isfinite(logs)]))
    return float(mean), float(low), float(high)


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per setting, stage and layer, or per point of the phase diagram.

    Columns are means over seeds, but `grad_norm`, E|dL/dz| of the layer, `grad_l2`, the norm of
    dL/dz of an image, and `weight_grad`, that of dL/dW, are geometric ones; `low` and `high` are
    the interval of `grad_norm`, the other two that of `second_moment`.
    """
    if "sigma_w" in runs:
        return phase.summarize(runs)
    rows = []
    for labels, group in runs.groupby(SETTING, sort=False, dropna=False):
        expected = theory_second_moments(group) if labels[-1] == "born" else None
        quantities = {name: layers_of(group, name) for name in LAYERWISE}
        for i in range(group["depth"].iloc[0]):
            means = {name: values[:, i].mean() for name, values in quantities.items()}
            grad, low, high = geometric_mean(quantities["grad"][:, i])
            _, moment_low, moment_high = stats.mean_interval(quantities["second_moment"][:, i])
            rows.append(
                {
                    **dict(zip(SETTING, labels, strict=True)),
                    "layer": i + 1,
                    "n": len(group),
                    "second_moment": means["second_moment"],
                    "theory_second_moment": np.nan if expected is None else expected[i],
                    "saturation": means["saturation"],
                    "grad_norm": grad,
                    "low": low,
                    "high": high,
                    "second_moment_low": moment_low,
                    "second_moment_high": moment_high,
                    "mean": means["mean"],
                    "variance": means["variance"],
                    "dead": means["dead"],
                    "grad_l2": geometric_mean(quantities["grad_l2"][:, i])[0],
                    "weight_grad": geometric_mean(quantities["weight_grad"][:, i])[0],
                }
            )
    return pd.DataFrame(rows)


def tables(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the table of gradients: first over last hidden layer, and the slope, by setting."""
    if "sigma_w" in runs:
        return {}
    rows = []
    for labels, group in runs.groupby(SETTING, sort=False, dropna=False):
        gradients = layers_of(group, "grad")
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio, low, high = geometric_mean(gradients[:, 0] / gradients[:, -1])
        slope = group["slope"].to_numpy()
        row = {
            **dict(zip(SETTING, labels, strict=True)),
            "n": len(group), "ratio_first_last": ratio, "low": low, "high": high,
            "slope": stats.mean_interval(slope[np.isfinite(slope)])[0],
            "ratio_first_last_l2": geometric_mean(
                layers_of(group, "grad_l2")[:, 0] / layers_of(group, "grad_l2")[:, -1]
            )[0],
        }  # fmt: skip
        if "accuracy" in runs:
            row["accuracy"], row["accuracy_low"], row["accuracy_high"] = stats.mean_interval(
                group["accuracy"].dropna().to_numpy()
            )
        rows.append(row)
    return {"gradients": pd.DataFrame(rows)}


def judge(runs: pd.DataFrame) -> list[Verdict]:
    """Judge the claims; without the settings that one needs it is inconclusive, with n = 0."""
    return phase.judge(runs) if "sigma_w" in runs else claims.judge(runs)


def plot(runs: pd.DataFrame) -> dict[str, Figure]:
    """Draw the violins by activation, moments against theory, saturation; or the phase diagram."""
    if "sigma_w" in runs:
        return phase.plot(runs)
    summary = summarize(runs)
    drawn = {
        f"violins_{name}": figures.plot_violins(runs[runs["activation"] == name])
        for name in runs["activation"].unique()
    }
    drawn["moments"] = figures.plot_moments(summary)
    drawn["gradients"] = figures.plot_gradients(summary)
    if (runs["stage"] == "trained").any():
        drawn["training"] = figures.plot_training(runs)
    return drawn
