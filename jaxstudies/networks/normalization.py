"""Batch norm with features first and a gradient in closed form, and precise statistics of any model."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

Rows = Float[Array, "features n"]
PerRow = Float[Array, " features"]


def dots(a: Rows, b: Rows) -> PerRow:
    """Return the dot product of each pair of rows."""
    # XLA vectorizes batched dot products on a CPU; the reductions of JAX's own derivative it sums number after number.
    # By default accelerators round the factors to 8 or 11 bits; a variance would not survive that.
    return jnp.einsum("fn,fn->f", a, b, precision=jax.lax.Precision.HIGHEST)


def moments(z: Rows) -> tuple[PerRow, PerRow]:
    """Return mean and biased variance of each row."""
    # As in Flax, which takes one pass but loses digits where a mean is many deviations: two at ten times.
    mean = z.mean(axis=1)
    return mean, jnp.maximum(dots(z, z) / z.shape[1] - jnp.square(mean), 0.0)


def scaled(z: Rows, mean: PerRow, inverse: PerRow, scale: PerRow, bias: PerRow) -> Rows:
    """Return (z - mean) * inverse * scale + bias."""
    factor = scale * inverse
    return z * factor[:, None] + (bias - factor * mean)[:, None]


@jax.custom_vjp
def normalize(z: Rows, scale: PerRow, bias: PerRow, epsilon: float | Float[Array, ""]) -> Rows:
    """Give each row mean `bias` and, but for `epsilon` added to its variance, deviation `scale`.

    Differentiable in reverse mode only (Ioffe and Szegedy 2015, arXiv 1502.03167, section 3).
    """
    return _forward(z, scale, bias, epsilon)[0]


def _forward(z, scale, bias, epsilon):
    mean, var = moments(z)
    inverse = jax.lax.rsqrt(var + epsilon)
    return scaled(z, mean, inverse, scale, bias), (z, mean, inverse, scale, jnp.asarray(epsilon))


def _backward(saved, cotangent):
    z, mean, inverse, scale, epsilon = saved
    d_bias = cotangent.sum(axis=1)
    d_scale = inverse * (dots(cotangent, z) - mean * d_bias)
    # In terms of u = (z - mean) * inverse: scale * inverse * (cotangent - mean(cotangent)
    # - u * mean(cotangent * u)), with the factors of z and the constants of each row gathered.
    factor, slope = scale * inverse, inverse * d_scale / z.shape[1]
    offset = d_bias / z.shape[1] - mean * slope
    d_z = factor[:, None] * cotangent - (factor * slope)[:, None] * z - (factor * offset)[:, None]
    d_epsilon = -0.5 * jnp.sum(scale * d_scale * jnp.square(inverse))
    return d_z, d_scale, d_bias, d_epsilon.astype(epsilon.dtype)


normalize.defvjp(_forward, _backward)


class BatchNorm(nn.Module):
    """Normalize each feature over examples and positions, then scale and shift it.

    Variances are biased, also in the running averages, of which `momentum` is the share kept at a step.
    """

    momentum: float | Array
    epsilon: float | Array

    @nn.compact
    def __call__(self, z: Float[Array, "features ..."], batch_statistics: bool) -> Float[Array, "features ..."]:
        """Normalize by the batch's statistics, updating the running averages, or by those."""
        features, flat = (z.shape[0],), z.reshape(z.shape[0], -1)
        scale = self.param("scale", nn.initializers.ones, features)
        bias = self.param("bias", nn.initializers.zeros, features)
        mean = self.variable("batch_stats", "mean", jnp.zeros, features)
        var = self.variable("batch_stats", "var", jnp.ones, features)
        if not batch_statistics:
            inverse = jax.lax.rsqrt(var.value + self.epsilon)
            return scaled(flat, mean.value, inverse, scale, bias).reshape(z.shape)
        if not self.is_initializing() and self.is_mutable_collection("batch_stats"):
            for running, batch in zip((mean, var), moments(flat), strict=True):
                running.value = self.momentum * running.value + (1 - self.momentum) * batch
        return normalize(flat, scale, bias, self.epsilon).reshape(z.shape)


def precise_batch_stats(
    update: Callable[[PyTree, Array], PyTree],
    batch_stats: PyTree,
    batch: Callable[[Int[Array, ""]], Array],
    num_batches: int,
) -> PyTree:
    """Recompute batch-norm statistics for given weights ("precise BN").

    Each batch goes through the network normalized by its own statistics; the moments of all batches
    are pooled (Wu and Johnson 2021, arXiv 2105.07576). One batch that holds all examples gives the
    population's statistics exactly.

    Args:
        update: Passes inputs through the network, batch norm using the batch and dropout being off,
            and returns the running averages after it, m * before + (1 - m) * batch with any m < 1.
        batch_stats: Statistics, for their shapes: dictionaries with `mean` and `var` at any depth.
        batch: Maps an index to inputs (examples, ...); all batches are of one size.
        num_batches: Number of batches.

    Returns:
        Statistics of the same structure.
    """
    zeros, ones = (jax.tree.map(f, batch_stats) for f in (jnp.zeros_like, jnp.ones_like))

    def moments(carry, index):
        # From 0 the averages become (1 - m) * batch, and m is their derivative.
        scaled, momentum = jax.jvp(lambda stats: update(stats, batch(index)), (zeros,), (ones,))
        return carry, jax.tree.map(lambda a, m: a / (1 - m), scaled, momentum)

    def pool(seen):
        if "mean" in seen and "var" in seen:
            variance = seen["var"].mean(axis=0) + seen["mean"].var(axis=0)
            return {"mean": seen["mean"].mean(axis=0), "var": variance}
        return {name: pool(layer) for name, layer in seen.items()}

    return pool(jax.lax.scan(moments, None, jnp.arange(num_batches))[1])
