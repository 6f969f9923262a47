"""Do draws at twice the scale have twice the mean? A study that runs in no time and draws nothing."""

import sys
from dataclasses import dataclass
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from annotated_types import Gt, Interval

from jaxstudies import study


@dataclass(frozen=True)
class Config:
    """What is drawn."""

    seeds: Annotated[int, Interval(ge=1, le=20_000)] = 8
    """Runs per setting."""
    seed: Annotated[int, Interval(ge=0, le=2**32 - 1)] = 0
    """Master seed."""
    scale: tuple[Annotated[float, Gt(0)], ...] = (1.0, 2.0)
    """Standard deviations of the draws."""
    bad: bool = False
    """Let some runs come to NaN."""


def simulate(key, scale, bad):
    draws = scale * jax.random.normal(key, (8,))
    mean = jnp.where(bad & (draws[0] < 0), jnp.nan, draws.mean())
    return {"mean": mean, "draws": draws}


AXES = {"draws": ("draw",)}

CLAIMS = (
    study.Claim(
        "proportional",
        "twice the scale, twice the mean",
        lambda of: of("mean", scale=2.0) - 2 * of("mean", scale=1.0),
        (-1e-5, 1e-5),
    ),
    study.Claim(
        "symmetric",
        "a draw is positive as often as not",
        lambda of: of("draws", scale=1.0, draw=0) > 0,
        (0, 1),
        estimand="share",
    ),
)


def beside(config, remember):
    scale = np.array(config.scale)
    spread = remember("spread", lambda: {"scale": scale, "spread": scale / 8**0.5})
    return {"spread": pd.DataFrame(spread)}


def plot(results):
    return {}


STUDY = study.from_module(sys.modules[__name__])
