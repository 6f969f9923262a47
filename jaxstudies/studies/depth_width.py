"""Depth against width: which networks of at most 512 hidden units learn the Eggholder function?

Networks of one, two and three hidden layers are trained on the same 100,000 noisy points by two
recipes with equal budgets: the prescribed one (SGD with Nesterov momentum, batch norm in two and
three layers) and Adam with cosine decay without batch norm. Learning rates are tuned on a
validation split. A network on Fourier features and regressors that are not neural stand beside
them.
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
from tqdm import tqdm

from jaxstudies import data, monte_carlo, stats
from jaxstudies.claims import Verdict
from jaxstudies.parts import remember
from jaxstudies.studies import depth_width_claims as claims
from jaxstudies.studies import depth_width_figures as figures
from jaxstudies.studies.depth_width_baselines import fit_baselines
from jaxstudies.studies.depth_width_data import (
    CUSP_EDGES,
    MAP_SIDE,
    Problem,
    make_splits,
    map_inputs,
    standardized,
)
from jaxstudies.studies.depth_width_networks import (
    Kind,
    count_parameters,
    make_bounds,
    seconds_to_shuffle,
    seconds_to_train,
    simulate,
)
from jaxstudies.studies.depth_width_padding import COMPILE_SECONDS, rooms, run_seconds
from jaxstudies.studies.depth_width_shapes import choose_shapes

MODERN = (128, 256, 128)
"""Shape of the network on Fourier features. It has ReLU: sines end up further from the floor."""
MODERN_RATES = (3e-3,)
KEYS = ["part", "shape", "depth", "hidden_units", "parameters", "recipe"]


@dataclass(frozen=True)
class Config:
    """What is trained. Flags that take lists run every combination."""

    seeds: Annotated[int, Interval(ge=1, le=10**6)] = 4
    """Networks per shape and recipe, each at every learning rate."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; the data and network i depend on it."""
    shapes: tuple[str, ...] = ("paper",)
    """Sets of shapes or shapes: paper (one and two layers, and the notebook's of three), notebook,
    all (143), or hidden widths such as 64-64,128."""
    epochs: Annotated[int, Ge(1)] = 10
    """Passes through the data."""
    recipes: tuple[Literal["sgd", "adam"], ...] = ("sgd", "adam")
    """sgd: Nesterov momentum, batch norm in two and three layers; adam: cosine decay, no norm."""
    sgd_rates: tuple[Annotated[float, Gt(0)], ...] = (0.5, 2.0)
    """Learning rates of SGD times the width of the last hidden layer, on which the curvature of the
    squared error depends; --raw has the notebook's own, 1e-7 for one layer and else 1e-4."""
    adam_rates: tuple[Annotated[float, Gt(0)], ...] = (3e-3, 1e-2)
    """Learning rates of Adam at the start of the decay."""
    batch_size: Annotated[int, Ge(1)] = 1000
    """Points per step."""
    num_examples: Annotated[int, Interval(ge=100, le=10**8)] = 100_000
    """Points: 72 % to train, 8 % to choose the learning rate, 20 % to test."""
    noise_variance: Annotated[float, Interval(ge=0, le=1e12)] = 0.3
    """Variance of the noise on the targets (0.09: a standard deviation of 0.3)."""
    raw: bool = False
    """Do not standardize inputs and targets, as the source notebook."""
    features: Literal["none", "fourier"] = "none"
    """Map of the inputs before the first layer."""
    num_features: Annotated[int, Interval(ge=1, le=10**5)] = 128
    """Frequencies of the Fourier features."""
    fourier_scale: Annotated[float, Gt(0)] = 6.0
    """Standard deviation of the frequencies, in radians per standard deviation of an input."""
    activation: Literal["relu", "sine"] = "relu"
    """Activation of the hidden layers."""
    modern_epochs: Annotated[int, Ge(0)] | None = None
    """Budget of 128-256-128 on Fourier features (6 times --epochs, if those are at least 10: with
    few it would only lose); 0 leaves it out."""

    def __post_init__(self):
        """Fill in what depends on other fields and check the shapes."""
        if self.modern_epochs is None:
            object.__setattr__(self, "modern_epochs", 6 * self.epochs if self.epochs >= 10 else 0)
        choose_shapes(self.shapes)
        if self.raw and self.sgd_rates != Config.sgd_rates:
            raise ValueError("--sgd-rates: --raw trains at the notebook's own rates; leave one out")


def learning_rates(config: Config, kind: Kind) -> jax.Array:
    """Return the rates to try."""
    if kind.recipe == "adam":
        return jnp.array(config.adam_rates)
    if config.raw:
        return jnp.array([1e-7 if len(kind.widths) == 1 else 1e-4])
    return jnp.array(config.sgd_rates) / kind.widths[-1]


@cache
def program(config: Config, kind: Kind):
    """Return `simulate` for networks padded to one shape: one object, one compilation."""
    return partial(simulate, config=config, kind=kind)


def settings(config: Config, problem: Problem) -> list[tuple[Kind, monte_carlo.Setting]]:
    """List the networks: every shape by every recipe, then the modern one."""
    shapes = choose_shapes(config.shapes)
    kinds = []
    for recipe in config.recipes:
        common = (config.features, config.activation, config.epochs, config.batch_size)
        num_rates = len(learning_rates(config, Kind(shapes[0], recipe, *common)))

        def estimate(room, num_rates=num_rates):
            return run_seconds(config, room, config.epochs, num_rates, config.features)

        room_of = rooms(shapes, estimate, COMPILE_SECONDS)
        # Shapes that share a program come one after another.
        for shape in sorted(shapes, key=lambda s, of=room_of: list(of.values()).index(of[s])):
            kinds.append(("shapes", Kind(shape, recipe, *common), room_of[shape]))
    if config.modern_epochs:
        common = ("fourier", "relu", config.modern_epochs, config.batch_size)
        kinds.append(("modern", Kind(MODERN, "adam", *common), MODERN))
    listed = []
    for part, kind, room in kinds:
        rates = learning_rates(config, kind) if part == "shapes" else jnp.array(MODERN_RATES)
        parameters, units = count_parameters(config, kind), sum(kind.widths)
        labels = (part, "-".join(map(str, kind.widths)), len(kind.widths), units, parameters)
        sharing = sum(other[1].recipe == kind.recipe and other[2] == room for other in kinds)
        seconds = run_seconds(config, room, kind.epochs, len(rates), kind.features)
        seconds += COMPILE_SECONDS / sharing
        setting = monte_carlo.Setting(
            dict(zip(KEYS, (*labels, kind.recipe), strict=True)),
            program(config, kind._replace(widths=room)),
            (problem, make_bounds(config, kind, room), rates),
            cost=seconds / config.seeds,
        )
        listed.append((kind, setting))
    return listed


def run(config: Config, **execution) -> pd.DataFrame:
    """Train every network and fit the baselines; `execution` goes to `run_settings`.

    Returns:
        A row per shape, recipe and seed, and per baseline. `seconds_per_epoch` is that of one
        network alone, `seconds_in_batch` its share of the time of all seeds and rates together,
        padding included (NaN where an earlier, interrupted run trained them). `map` holds the
        outputs of the network that is best on validation data.
    """
    monte_carlo.use_all_cores()
    parts, timings = execution.get("parts"), execution.pop("timings", None)
    timings = [] if timings is None else timings
    # Operation by operation, the data would be sixty programs to compile instead of two.
    splits = jax.jit(make_splits, static_argnums=0)(config)
    listed = settings(config, jax.jit(standardized, static_argnums=0)(config, splits))
    runs = monte_carlo.run_settings(
        [setting for _, setting in listed], num_seeds=config.seeds, seed=config.seed,
        description="depth and width", timings=timings, **execution,
    )  # fmt: skip

    def seconds_alone(name, function, *arguments):
        kept = remember(parts, f"alone-{name}", lambda: {"seconds": np.array(function(*arguments))})
        return float(kept["seconds"])

    bar = tqdm(listed, desc="times of one network alone", unit="network", delay=1)
    shuffling = seconds_alone("shuffle", seconds_to_shuffle, splits.train, config.batch_size)
    seconds = {"seconds_per_epoch": [], "seconds_in_batch": []}
    for i, ((kind, setting), timing) in enumerate(zip(bar, timings, strict=True)):
        alone = shuffling + seconds_alone(i, seconds_to_train, config, kind, splits.train)
        networks = timing["seeds_run"] * len(setting.shared[2]) * kind.epochs
        shared = timing["run_seconds"] / networks if networks else np.nan
        seconds["seconds_per_epoch"] += [alone] * config.seeds
        seconds["seconds_in_batch"] += [shared] * config.seeds
    is_map = runs.columns.str.startswith("map_")
    maps = runs.loc[:, is_map].to_numpy(np.float32)
    runs = runs.loc[:, ~is_map].assign(**seconds, map=None)
    best = runs["validation_rmse"].fillna(np.inf).argmin()
    runs["map"] = [maps[i] if i == best else None for i in range(len(runs))]
    rest = fit_baselines(splits, config.noise_variance, parts)
    return pd.concat([runs, rest], ignore_index=True)


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per shape and recipe, and per baseline, with the mean error on noisy targets.

    The interval is Student's over the seeds; for a baseline, which is fitted once, it is the
    normal one over the test points. Diverged runs are counted in `nonfinite` and left out of `n`.
    `learning_rate` is the mean of the rates that the seeds chose.
    """
    rows = []
    means = ["train_rmse", "validation_rmse", "clean_rmse", "cusp_share", "learning_rate"]
    means += ["seconds_per_epoch", "seconds_in_batch"]
    for labels, group in runs.groupby(KEYS, sort=False):
        finite = group[~group["nonfinite"].astype(bool)]
        mean, low, high = stats.mean_interval(finite["test_rmse"].to_numpy())
        if labels[0] == "baseline":
            half = 1.96 * finite["test_rmse_error"].iloc[0]
            low, high = mean - half, mean + half
        rest = finite[means].mean()
        rows.append((*labels, len(finite), mean, low, high, *rest, len(group) - len(finite)))
    columns = [*KEYS, "n", "rmse", "low", "high", *means, "nonfinite"]
    order = ["shape", *[name for name in columns if name != "shape"]]
    return pd.DataFrame(rows, columns=columns)[order]


def judge(runs: pd.DataFrame) -> list[Verdict]:
    """Judge the claims; without the shapes that one needs it is inconclusive, with n = 0."""
    return claims.judge(runs, summarize(runs))


def plot(runs: pd.DataFrame) -> dict[str, Figure]:
    """Draw the figures, without the shapes all of whose networks diverged.

    If none is left, only the baselines are drawn; the heat map is of shapes of two layers.
    """
    summary = summarize(runs)
    shapes = summary[(summary["part"] == "shapes") & summary["rmse"].notna()]
    drawn = {"cusps": figures.plot_cusps(runs, CUSP_EDGES)}
    if shapes.empty:
        return drawn
    drawn |= {
        "rmse": figures.plot_rmse(summary),
        "time": figures.plot_time(shapes),
        "curves": figures.plot_curves(runs),
    }
    if (shapes["depth"] == 2).any():
        drawn["two_layers"] = figures.plot_two_layers(shapes)
    best = runs[runs["map"].notna()].iloc[0]
    inputs = map_inputs()
    surface = np.asarray(data.eggholder(inputs)).reshape(MAP_SIDE, MAP_SIDE)
    drawn["error_map"] = figures.plot_error_map(
        best, surface, np.asarray(best["map"]).reshape(MAP_SIDE, MAP_SIDE), data.EGGHOLDER_BOUND
    )
    return drawn
