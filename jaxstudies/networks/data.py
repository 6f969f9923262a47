"""Data sets: what a network is trained on, drawn from a key or evaluated on a grid."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

INTERVAL = 7**0.5
"""Half width of the interval (in two dimensions, of the square) on which the targets live."""
EGGHOLDER_BOUND = 512.0
"""Half the side of the square on which the Eggholder function is defined."""


class Dataset(NamedTuple):
    """Examples in rows."""

    inputs: Float[Array, "examples features"]
    """What a network is given."""
    targets: Float[Array, "examples outputs"]
    """What it is to return."""


class Target(NamedTuple):
    """A function to be learned: `function` maps (examples, dimension) to (examples, outputs)."""

    dimension: int
    function: Callable[[Float[Array, "n d"]], Float[Array, "n k"]]


TARGETS: dict[str, Target] = {
    "abs": Target(1, jnp.abs),
    "x_sin_5x": Target(1, lambda x: x * jnp.sin(5 * x)),
    "abs_x_sin_5x": Target(1, lambda x: jnp.abs(x * jnp.sin(5 * x))),
    "step_sin": Target(1, lambda x: jnp.where(x > 0, 1.0, 0.0) + 0.2 * jnp.sin(5 * x)),
    "abs_sum_diff": Target(2, lambda x: jnp.abs(jnp.stack([x[:, 0] + x[:, 1], x[:, 0] - x[:, 1]], axis=-1))),
}
"""The targets of Lu, Shin, Su and Karniadakis (arXiv 1903.06733), and |x sin 5x|."""


def uniform_inputs(key: Key[Array, ""], num_examples: int, dimension: int) -> Float[Array, "examples dimension"]:
    """Draw points uniformly from [-sqrt 7, sqrt 7] in each coordinate."""
    return jax.random.uniform(key, (num_examples, dimension), minval=-INTERVAL, maxval=INTERVAL)


def grid_inputs(num_points: int, dimension: int) -> Float[Array, "points dimension"]:
    """Return the midpoints of equal cells that tile [-sqrt 7, sqrt 7] in each coordinate: none lies on a kink at 0."""
    side = int(num_points ** (1 / dimension) + 1e-9)  # in two dimensions, the nearest square number below
    axis = ((jnp.arange(side) + 0.5) / side * 2 - 1) * INTERVAL
    return jnp.stack([g.ravel() for g in jnp.meshgrid(*[axis] * dimension)], axis=-1)


def as_inputs(images: UInt8[Array, "examples rows columns"]) -> Float[Array, "examples pixels"]:
    """Return gray images as rows of pixels from 0 to 1."""
    return images.reshape(len(images), -1).astype(jnp.float32) / 255


def half_square(key: Key[Array, ""], num_examples: int) -> Dataset:
    """Draw points uniformly from the unit square; the class is +1 where x1 > x2, else -1."""
    inputs = jax.random.uniform(key, (num_examples, 2))
    return Dataset(inputs, jnp.where(inputs[:, :1] > inputs[:, 1:], 1.0, -1.0))


def eggholder(inputs: Float[Array, "points 2"]) -> Float[Array, "points 1"]:
    """Return the Eggholder function; its minimum on |x1|, |x2| <= 512 is -959.6407 at (512, 404.2319)."""
    x1, x2 = inputs[:, 0], inputs[:, 1] + 47
    first = x2 * jnp.sin(jnp.sqrt(jnp.abs(x2 + x1 / 2)))
    return -(first + x1 * jnp.sin(jnp.sqrt(jnp.abs(x1 - x2))))[:, None]


def eggholder_cusp_distance(inputs: Float[Array, "points 2"]) -> Float[Array, " points"]:
    """Return the distance to the nearer line of cusps, x2 + x1 / 2 + 47 = 0 or x1 - x2 = 47."""
    x1, x2 = inputs[:, 0], inputs[:, 1] + 47  # each line is where the argument of a square root is 0
    return jnp.minimum(jnp.abs(x2 + x1 / 2) / 1.25**0.5, jnp.abs(x1 - x2) / 2**0.5)


def eggholder_dataset(
    key: Key[Array, ""], num_examples: int, noise_variance: float | Float[Array, ""]
) -> tuple[Dataset, Float[Array, "examples 1"]]:
    """Draw points uniformly from the square; return them with noisy targets, and those without Gaussian noise."""
    inputs_key, noise_key = jax.random.split(key)
    inputs = jax.random.uniform(inputs_key, (num_examples, 2), minval=-EGGHOLDER_BOUND, maxval=EGGHOLDER_BOUND)
    clean = eggholder(inputs)
    noise = jnp.sqrt(noise_variance) * jax.random.normal(noise_key, clean.shape)
    return Dataset(inputs, clean + noise), clean


class Standardization(NamedTuple):
    """An affine map to mean 0 and standard deviation 1, one per feature."""

    mean: Float[Array, " features"]
    deviation: Float[Array, " features"]

    def standardize(self, values: Float[Array, "n features"]) -> Float[Array, "n features"]:
        """Apply the map."""
        return (values - self.mean[None]) / self.deviation[None]

    def restore(self, values: Float[Array, "n features"]) -> Float[Array, "n features"]:
        """Undo it."""
        return values * self.deviation[None] + self.mean[None]


def standardization(values: Float[Array, "examples features"]) -> Standardization:
    """Return the map that standardizes these values; a constant feature keeps its scale."""
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    # The mean of equal numbers is off by rounding, and so is their deviation from 0.
    return Standardization(mean, jnp.where(deviation > 1e-5 * jnp.abs(mean), deviation, 1.0))
