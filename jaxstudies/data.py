"""Data sets: what a network is trained on, drawn from a key or evaluated on a grid."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

INTERVAL = 7**0.5
"""Half width of the interval (in two dimensions, of the square) on which the targets live."""


class Dataset(NamedTuple):
    """Examples in rows: `inputs` (examples, features) and `targets` (examples, outputs)."""

    inputs: Float[Array, "examples features"]
    targets: Float[Array, "examples outputs"]


class Target(NamedTuple):
    """A function to be learned: `function` maps (examples, dimension) to (examples, outputs)."""

    dimension: int
    function: Callable[[Float[Array, "n d"]], Float[Array, "n k"]]


TARGETS: dict[str, Target] = {
    "abs": Target(1, jnp.abs),
    "x_sin_5x": Target(1, lambda x: x * jnp.sin(5 * x)),
    "abs_x_sin_5x": Target(1, lambda x: jnp.abs(x * jnp.sin(5 * x))),
    "step_sin": Target(1, lambda x: jnp.where(x > 0, 1.0, 0.0) + 0.2 * jnp.sin(5 * x)),
    "abs_sum_diff": Target(
        2, lambda x: jnp.abs(jnp.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], axis=-1))
    ),
}
"""The targets of Lu, Su and Karniadakis (arXiv 1808.04947), and |x sin 5x|."""


def uniform_inputs(
    key: Key[Array, ""], num_examples: int, dimension: int
) -> Float[Array, "examples dimension"]:
    """Draw points uniformly from [-sqrt 7, sqrt 7] in each coordinate."""
    return jax.random.uniform(key, (num_examples, dimension), minval=-INTERVAL, maxval=INTERVAL)


def grid_inputs(num_points: int, dimension: int) -> Float[Array, "points dimension"]:
    """Return the midpoints of equal cells that tile [-sqrt 7, sqrt 7] in each coordinate.

    Means over them are integrals by the midpoint rule, and no point lies on a kink at 0.

    Args:
        num_points: Number of points; in two dimensions the nearest square number below is taken.
        dimension: Number of coordinates.
    """
    side = int(num_points ** (1 / dimension) + 1e-9)
    axis = ((jnp.arange(side) + 0.5) / side * 2 - 1) * INTERVAL
    return jnp.stack([g.ravel() for g in jnp.meshgrid(*[axis] * dimension)], axis=-1)


def half_square(key: Key[Array, ""], num_examples: int) -> Dataset:
    """Draw points uniformly from the unit square; the class is +1 where x1 > x2, else -1."""
    inputs = jax.random.uniform(key, (num_examples, 2))
    return Dataset(inputs, jnp.where(inputs[:, :1] > inputs[:, 1:], 1.0, -1.0))
