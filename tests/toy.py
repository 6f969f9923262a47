"""A study that runs in no time and draws nothing: the mean of some draws."""

from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import pandas as pd
from annotated_types import Interval

from jaxstudies import monte_carlo, stats


@dataclass(frozen=True)
class Config:
    """What is drawn."""

    seeds: Annotated[int, Interval(ge=1, le=20_000)] = 8
    """Runs per setting."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed."""
    bad: bool = False
    """Let some runs come to NaN."""


def simulate(key, scale, bad):
    draws = scale * jax.random.normal(key, (8,))
    mean = jnp.where(bad & (draws[0] < 0), jnp.nan, draws.mean())
    return {"mean": mean, "draws": draws}


def run(config, **execution):
    settings = [
        monte_carlo.Setting({"scale": scale}, simulate, (jnp.float32(scale), jnp.bool_(config.bad)))
        for scale in (1.0, 2.0)
    ]
    return monte_carlo.run_settings(
        settings, num_seeds=config.seeds, seed=config.seed, description="toy", **execution
    )


def summarize(runs):
    rows = []
    for scale, group in runs.groupby("scale"):
        finite = group["mean"].dropna()
        nonfinite = len(group) - len(finite)
        rows.append((scale, len(finite), *stats.mean_interval(finite.to_numpy()), nonfinite))
    return pd.DataFrame(rows, columns=["scale", "n", "mean", "low", "high", "nonfinite"])


def judge(runs):
    return []


def plot(runs):
    return {}
