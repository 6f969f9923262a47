"""The points of the Eggholder function that all networks of a seed are trained and judged on."""

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from jaxstudies.networks import data as points
from jaxstudies.networks.data import Dataset, Standardization
from jaxstudies.studies.depth_width.config import Config

CUSP_EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, np.inf)
"""Distances to the nearer line of cusps between which errors are pooled."""
NEAR = 4.0
"""Distance to a cusp below which the share of the squared error is told."""
MAP_SIDE = 96

Splits = tuple[tuple[Dataset, Dataset, Dataset], Float[Array, "test 1"]]
"""The points to train, to validate and to test, and the test points' targets without noise."""


class Cusps(NamedTuple):
    """Where points lie."""

    bins: Float[Array, "bins points"]
    """A row per bin of `CUSP_EDGES`, of sum 1, NaN where a bin is empty."""
    near: Float[Array, " points"]
    """1 within `NEAR` units of a cusp, else 0."""


class Problem(NamedTuple):
    """What the networks of a seed are trained and judged on, standardized; `surface` is the map's inputs."""

    train: Dataset
    validation: Dataset
    test: Dataset
    clean_test: Float[Array, "test 1"]
    surface: Float[Array, "midpoints 2"]
    cusps: Cusps
    target_scale: Standardization


def make_splits(config: Config, key: Key[Array, ""]) -> Splits:
    """Draw the points of a run with this key, in the function's own units, and split them 72 : 8 : 20."""
    key = jax.random.fold_in(key, 3)  # the network is drawn of the key split into three
    noisy, clean = points.eggholder_dataset(key, config.num_examples, config.noise_variance)
    ends = [0, int(0.72 * config.num_examples), int(0.8 * config.num_examples), config.num_examples]
    train, validation, test = (Dataset(*(a[start:end] for a in noisy)) for start, end in pairwise(ends))
    return (train, validation, test), clean[ends[2] :]


def splits_of(config: Config, seed: int) -> Splits:
    """Return the points of the runs of a seed."""
    # Operation by operation, the data would be sixty programs to compile instead of one.
    draw = jax.jit(make_splits, static_argnums=0)
    return draw(config, jax.random.fold_in(jax.random.key(config.seed), seed))


def standardized(config: Config, splits: Splits) -> Problem:
    """Return the data as the networks see them; with `raw`, as they are."""
    parts, clean_test = splits
    scale, target_scale = (points.standardization(a) for a in parts[0])
    if config.raw:
        scale, target_scale = (Standardization(jnp.zeros(d), jnp.ones(d)) for d in (2, 1))
    inputs, targets = scale.standardize, target_scale.standardize
    train, validation, test = (Dataset(inputs(part.inputs), targets(part.targets)) for part in parts)
    clean, surface, where = targets(clean_test), inputs(map_inputs()), find_cusps(parts[2].inputs)
    return Problem(train, validation, test, clean, surface, where, target_scale)


def problem_of(config: Config, seed: int) -> Problem:
    """Return what the networks of a seed are trained and judged on."""
    return jax.jit(standardized, static_argnums=0)(config, splits_of(config, seed))


def map_inputs() -> Float[Array, "midpoints 2"]:
    """Return the midpoints of a square grid, x2 slow and upwards."""
    axis = ((jnp.arange(MAP_SIDE) + 0.5) / MAP_SIDE * 2 - 1) * points.EGGHOLDER_BOUND
    x2, x1 = jnp.meshgrid(axis, axis, indexing="ij")
    return jnp.stack([x1.ravel(), x2.ravel()], axis=-1)


def rmse(predictions: Float[Array, "n 1"], targets: Float[Array, "n 1"]) -> Float[Array, ""]:
    """Return the root of the mean squared error."""
    return jnp.sqrt(jnp.mean((predictions - targets) ** 2))


def find_cusps(inputs: Float[Array, "n 2"]) -> Cusps:
    """Sort points by their distance to the cusps."""
    distance = points.eggholder_cusp_distance(inputs)
    edges = jnp.array(CUSP_EDGES)
    inside = (distance[None] >= edges[:-1, None]) & (distance[None] < edges[1:, None])
    number = jnp.sum(inside, axis=1, keepdims=True)
    # The compiler makes 0 of 0 / 0 here.
    return Cusps(jnp.where(number > 0, inside / number, jnp.nan), (distance < NEAR) * 1.0)


def cusp_errors(
    predictions: Float[Array, "n 1"], clean: Float[Array, "n 1"], cusps: Cusps
) -> tuple[Float[Array, " bins"], Float[Array, ""]]:
    """Return the RMSE on clean targets in each bin of `CUSP_EDGES`, and the share of the squared error near a cusp."""
    squares = ((predictions - clean) ** 2)[:, 0]
    return jnp.sqrt(cusps.bins @ squares), jnp.sum(cusps.near * squares) / jnp.sum(squares)
