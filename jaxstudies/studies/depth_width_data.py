"""The points of the Eggholder function that every network is trained and judged on."""

from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxstudies import data, prng
from jaxstudies.data import Dataset, Standardization

CUSP_EDGES = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, np.inf)
"""Distances to the nearer line of cusps between which errors are pooled."""
NEAR = 4.0
"""Distance to a cusp below which the share of the squared error is told."""
MAP_SIDE = 96


class Splits(NamedTuple):
    """The data of a study, in the function's own units."""

    train: Dataset
    validation: Dataset
    test: Dataset
    clean_test: jax.Array


class Cusps(NamedTuple):
    """Where points lie."""

    bins: jax.Array
    """Shape (bins of `CUSP_EDGES`, points), rows of sum 1, NaN where a bin is empty."""
    near: jax.Array
    """Shape (points,), 1 within `NEAR` units of a cusp, else 0."""


class Problem(NamedTuple):
    """What every network is trained and judged on, standardized; `surface` is the map's inputs."""

    train: Dataset
    validation: Dataset
    test: Dataset
    clean_test: jax.Array
    surface: jax.Array
    cusps: Cusps
    target_scale: Standardization


def make_splits(config: Any) -> Splits:
    """Draw the points and split them 72 : 8 : 20."""
    key = jax.random.fold_in(prng.key(config.seed), 2**32 - 1)
    points, clean = data.eggholder_dataset(key, config.num_examples, config.noise_variance)
    ends = [0, int(0.72 * config.num_examples), int(0.8 * config.num_examples), config.num_examples]
    train, validation, test = (
        Dataset(points.inputs[a:b], points.targets[a:b]) for a, b in pairwise(ends)
    )
    return Splits(train, validation, test, clean[ends[2] :])


def scales(config: Any, train: Dataset) -> tuple[Standardization, Standardization]:
    """Return the maps of inputs and targets; the identity with `raw`."""
    if config.raw:
        return tuple(Standardization(*map(jnp.asarray, ([0.0] * d, [1.0] * d))) for d in (2, 1))  # type: ignore[return-value]
    return data.standardization(train.inputs), data.standardization(train.targets)


def standardized(config: Any, splits: Splits) -> Problem:
    """Return the data as the networks see them."""
    scale, target_scale = scales(config, splits.train)

    def both(points):
        return Dataset(
            data.standardize(scale, points.inputs), data.standardize(target_scale, points.targets)
        )

    return Problem(
        both(splits.train), both(splits.validation), both(splits.test),
        data.standardize(target_scale, splits.clean_test), data.standardize(scale, map_inputs()),
        cusps(splits.test.inputs), target_scale,
    )  # fmt: skip


def map_inputs() -> jax.Array:
    """Return the midpoints of a square grid, x2 slow and upwards, shape (MAP_SIDE^2, 2)."""
    axis = ((jnp.arange(MAP_SIDE) + 0.5) / MAP_SIDE * 2 - 1) * data.EGGHOLDER_BOUND
    x2, x1 = jnp.meshgrid(axis, axis, indexing="ij")
    return jnp.stack([x1.ravel(), x2.ravel()], axis=-1)


def rmse(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """Return the root of the mean squared error."""
    return jnp.sqrt(jnp.mean((predictions - targets) ** 2))


def cusps(inputs: jax.Array) -> Cusps:
    """Sort points by their distance to the cusps."""
    distance = data.eggholder_cusp_distance(inputs)
    edges = jnp.array(CUSP_EDGES)
    inside = (distance[None] >= edges[:-1, None]) & (distance[None] < edges[1:, None])
    return Cusps(inside / jnp.sum(inside, axis=1, keepdims=True), (distance < NEAR) * 1.0)


def cusp_errors(predictions: jax.Array, clean: jax.Array, cusps: Cusps) -> dict[str, Any]:
    """Return the errors on clean targets by distance to the cusps.

    Returns:
        `cusp_rmse`, shape (bins of `CUSP_EDGES`,), NaN where a bin is empty; `cusp_share`, the
        share of the squared error that lies near a cusp.
    """
    squares = ((predictions - clean) ** 2)[:, 0]
    share = jnp.sum(cusps.near * squares) / jnp.sum(squares)
    return {"cusp_rmse": jnp.sqrt(cusps.bins @ squares), "cusp_share": share}
