"""Dying ReLU: how often does a deep, narrow network collapse to a constant?

Lu, Su and Karniadakis (arXiv 1808.04947) report that over 90 % of ReLU networks with ten layers of
two units end as constants. The study trains thousands of them, each on data of its own, counts the
collapsed ones before and after training under several rules, and pairs ReLU with Leaky ReLU on the
same seeds.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from annotated_types import Ge, Gt, Interval
from matplotlib.figure import Figure

from jaxstudies import diagnostics, monte_carlo, prng
from jaxstudies.claims import Verdict
from jaxstudies.data import TARGETS, grid_inputs
from jaxstudies.models import InitializerName, initializer
from jaxstudies.studies import dying_relu_claims as claims
from jaxstudies.studies import dying_relu_counts as counts
from jaxstudies.studies import dying_relu_figures as figures
from jaxstudies.studies.dying_relu_counts import LABELS
from jaxstudies.studies.dying_relu_map import birth_settings
from jaxstudies.studies.dying_relu_networks import CURVE, GRID_POINTS, simulate

RULES = diagnostics.COLLAPSE_RULES
TARGETS_OF = {
    dimension: tuple(name for name, target in TARGETS.items() if target.dimension == dimension)
    for dimension in (1, 2)
}
MAP_SEEDS, LONG_SEEDS = 20_000, 1000
PROFILE_SEEDS = 100_000
"""With more seeds than these, layer by layer and along the function nothing is recorded: most of
a row, and no figure needs more."""


@dataclass(frozen=True)
class Config:
    """What is simulated. Flags that take lists run every combination."""

    seeds: Annotated[int, Interval(ge=1, le=10**9)] | None = None
    """Independent networks per setting (1000; with --map and no training 20000)."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed; network i depends on it and on i alone."""
    activations: tuple[Literal["relu", "leaky_relu"], ...] = ("relu", "leaky_relu")
    """Activations, paired on the same seeds."""
    targets: tuple[Literal["abs", "x_sin_5x", "abs_x_sin_5x", "step_sin", "abs_sum_diff"], ...] = (
        "abs",
    )
    """Functions to learn; abs_sum_diff is [|x1+x2|, |x1-x2|], the others have one input."""
    inits: tuple[InitializerName, ...] = ("he_normal",)
    """Initializations of all layers."""
    depths: tuple[Annotated[int, Interval(ge=1, le=1000)], ...] | None = None
    """Hidden layers (10; with --map 1 to 20)."""
    widths: tuple[Annotated[int, Interval(ge=1, le=10_000)], ...] | None = None
    """Units per hidden layer (2; with --map 2 to 10)."""
    losses: tuple[Literal["mse", "mae"], ...] = ("mse",)
    """Losses."""
    negative_slope: Annotated[float, Interval(ge=0, le=1)] = 0.01
    """Slope of Leaky ReLU below zero."""
    init_std: Annotated[float, Gt(0)] = 1.0
    """Standard deviation of the weights with --inits normal."""
    linear_first_layer: bool = False
    """Put a layer without activation before the hidden layers, as the source notebook did."""
    epochs: Annotated[int, Ge(0)] | None = None
    """Passes through the data (20; with --map 0, which draws the map at initialization)."""
    num_examples: Annotated[int, Ge(1)] = 3000
    """Training points of each network, uniform in [-sqrt 7, sqrt 7]."""
    batch_size: Annotated[int, Ge(1)] = 64
    """Points per step."""
    learning_rate: Annotated[float, Gt(0)] = 1e-3
    """Learning rate of Adam."""
    long_epochs: Annotated[int, Ge(0)] = 60
    """A budget long enough to tell which constant a collapsed network outputs, where the study's
    own is not, run for the first 1000 seeds; 0 leaves that out."""
    map: bool = False
    """Draw the depth x width map instead, of the first activation, target, initialization, loss."""

    def __post_init__(self):
        """Fill in what depends on `map`."""
        epochs = (0 if self.map else 20) if self.epochs is None else self.epochs
        defaults = {
            "epochs": epochs,
            "seeds": MAP_SEEDS if self.map and epochs == 0 else 1000,
            "depths": tuple(range(1, 21)) if self.map else (10,),
            "widths": tuple(range(2, 11)) if self.map else (2,),
        }
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)


@cache
def program(config: Config, dimension: int, depth: int, width: int, loss: str):
    """Return `simulate` for one shape and loss: one object, one compilation."""
    fixed = {"targets": TARGETS_OF[dimension], "depth": depth, "width": width, "loss": loss}
    fixed["profiles"] = (config.seeds or 1) <= PROFILE_SEEDS
    return partial(simulate, config=config, **fixed)


def setting(config: Any, part, activation, target, init, depth, width, loss, epochs):
    """Return one setting; only another shape, loss or dimension needs another compilation."""
    labels = (part, activation, target, init, depth, width, loss, epochs)
    dimension = TARGETS[target].dimension
    shared = (
        jax.random.fold_in(prng.key(config.seed), 2**32 - 1),
        jnp.float32(config.negative_slope if activation == "leaky_relu" else 0.0),
        jnp.int32(TARGETS_OF[dimension].index(target)),
        jnp.int32(config.inits.index(init)),
        jnp.int32(epochs),
    )
    return monte_carlo.Setting(
        dict(zip(LABELS, labels, strict=True)),
        program(config, dimension, depth, width, loss),
        shared,
    )


def settings(config: Config) -> list[monte_carlo.Setting]:
    """List the settings: the product that was asked for, then the long budget; or the map's."""
    c: Any = config  # to the type checker, fields that __post_init__ has filled in may be None
    if c.map:
        births = birth_settings(
            LABELS, c.targets[0], c.inits[0], initializer(c.inits[0], c.init_std), c.losses[0],
            c.depths, c.widths, max(c.seeds, MAP_SEEDS if c.epochs else 0),
        )  # fmt: skip
        first = (c.activations[0], c.targets[0], c.inits[0])
        shapes = product(c.depths, c.widths) if c.epochs else ()
        return births + [setting(c, "study", *first, *s, c.losses[0], c.epochs) for s in shapes]
    listed = [
        setting(c, "study", activation, target, init, depth, width, loss, c.epochs)
        for depth, width, loss, target, init, activation in product(
            c.depths, c.widths, c.losses, c.targets, c.inits, c.activations
        )
    ]
    if 0 < c.epochs < c.long_epochs:
        shape = (c.depths[0], c.widths[0], c.losses[0])
        listed += [
            setting(c, "long", "relu", target, c.inits[0], *shape, c.long_epochs)._replace(
                num_seeds=min(c.seeds, LONG_SEEDS)
            )
            for target in ("abs", "x_sin_5x")
        ]
    return listed


def variant(config: Config) -> str:
    """Return the name of what is run instead of the study, if it is."""
    return "map" if config.map else ""


def stream(config: Config, **execution) -> Iterator[pd.DataFrame]:
    """Run every setting, and hand out the table of `run` in blocks that fit the memory.

    `execution` goes to `monte_carlo.stream_settings`.
    """
    monte_carlo.use_all_cores()
    blocks = monte_carlo.stream_settings(
        settings(config), num_seeds=config.seeds or 1, seed=config.seed,
        description="dying ReLU", **execution,
    )  # fmt: skip
    return map(add_comparisons, blocks)


def run(config: Config, **execution) -> pd.DataFrame:
    """Run every setting; `execution` goes to `monte_carlo.stream_settings`.

    Returns:
        A row per setting and seed. `part` says what a row is for: `study` are the settings asked
        for, `long` those with the long budget, `map` the networks initialized for the map.
    """
    return pd.concat(stream(config, **execution), ignore_index=True)


def add_comparisons(runs: pd.DataFrame) -> pd.DataFrame:
    """Add what follows from the recorded columns, which would only be more to compile.

    That is which networks died in training and which were revived, under each rule, and how far
    the constant (the mean output) is from the target's mean and median, in standard deviations of
    the target. A network with NaN or infinity counts as neither dead nor alive.
    """
    if "nonfinite" not in runs:
        return runs
    finite = runs["nonfinite"].eq(False)
    added = {}
    for rule in RULES:
        born, trained = (runs[f"{stage}_{rule}"].eq(True) for stage in ("born", "trained"))
        added[f"trained_{rule}"] = finite & trained
        added[f"died_{rule}"] = finite & ~born & trained
        added[f"revived_{rule}"] = finite & born & ~trained
    gaps = {name: pd.Series(np.nan, runs.index) for name in ("gap_to_mean", "gap_to_median")}
    for name in runs["target"].unique():
        target, rows = TARGETS[name], runs["target"] == name
        values = np.asarray(target.function(grid_inputs(GRID_POINTS, target.dimension)))
        columns = [f"constant_{i + 1}" for i in range(values.shape[1])]
        constant = runs.loc[rows, columns].to_numpy(float)
        for gap, center in zip(gaps, (values.mean(axis=0), np.median(values, axis=0)), strict=True):
            gaps[gap][rows] = np.max(np.abs(constant - center) / values.std(axis=0), axis=1)
    return runs.assign(**added, **gaps)


def condense(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per kind of network and their `count`.

    What is counted, in the summary and the claims, is so found of any number of seeds; what is
    averaged or drawn is of the first hundred thousand rows.
    """
    return counts.condense(runs)


def summarize(runs: pd.DataFrame) -> pd.DataFrame:
    """Return a row per setting, stage and rule: the share collapsed, its Wilson interval, theory.

    Runs with NaN or infinity are counted in `nonfinite` and left out of `n`.
    """
    return counts.summarize(runs)


def judge(runs: pd.DataFrame) -> list[Verdict]:
    """Judge the claims; without the runs that one needs it is inconclusive, with n = 0."""
    return claims.judge(runs)


def plot(runs: pd.DataFrame) -> dict[str, Figure]:
    """Draw the figures: shares, R^2, units by layer, learned functions; or the map.

    Units and functions are left out where there are no profiles.
    """
    summary = summarize(runs)
    if (runs["part"] == "map").any():
        return {"map": figures.plot_map(summary)}
    study = runs[(runs["part"] == "study") & runs["seed"].notna()]
    same = ["target", "init", "depth", "width", "loss"]
    first = study[(study[same] == study[same].iloc[0]).all(axis=1)]
    drawn = {
        "shares": figures.plot_shares(summary),
        "r2": figures.plot_r2(first),
    }
    if "born_dead_1" not in runs:
        return drawn
    drawn["units"] = figures.plot_units(first)
    if TARGETS[first["target"].iloc[0]].dimension == 1:
        curves = first.filter(regex=r"^curve_").to_numpy()
        x = np.asarray(grid_inputs(GRID_POINTS, 1))[CURVE, 0]
        drawn["functions"] = figures.plot_functions(first, x, curves)
    return drawn
