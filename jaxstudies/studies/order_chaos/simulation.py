"""One run: images forward through a deep network, a gradient back."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, UInt8

from jaxstudies.networks.activations import activation_named, with_slope
from jaxstudies.networks.data import as_inputs

IMAGES = 8  # sent through each network


def simulate(
    key: Key[Array, ""],
    sigma_w: Float[Array, ""],
    sigma_b: Float[Array, ""],
    images: UInt8[Array, "n 28 28"],
    *,
    activation: str,
    depth: int,
    width: int,
) -> dict[str, Array]:
    """Send images through a deep network, and a random gradient back.

    All points of the diagram share the key's draws, which are scaled: a weight has standard deviation `sigma_w` over
    the root of the number of inputs, a bias `sigma_b`. Returned are `q`, the variance of the last layer's
    pre-activations, and `log_factor`, the log of the factor per layer by which squared gradients grow through the
    second half.
    """
    pick_key, first_key, layer_key, gradient_key = jax.random.split(key, 4)
    inputs = as_inputs(images[jax.random.randint(pick_key, (IMAGES,), 0, len(images))])

    def affine(key, h):
        weight_key, bias_key = jax.random.split(key)
        weights = jax.random.normal(weight_key, (width, len(h))) * len(h) ** -0.5
        return sigma_w * (weights @ h) + sigma_b * jax.random.normal(bias_key, (width, 1)), weights

    def forward(z, key):
        h, slope = with_slope(activation_named(activation), z)
        z, weights = affine(key, h)
        return z, (weights, slope)

    def backward(gradient, layer):
        weights, slope = layer
        return sigma_w * (weights.T @ gradient) * slope, None

    z, layers = jax.lax.scan(forward, affine(first_key, inputs.T)[0], jax.random.split(layer_key, depth - 1))
    half = depth // 2
    last = jnp.broadcast_to(jax.random.normal(gradient_key, (width, 1)), z.shape)
    first, _ = jax.lax.scan(backward, last, jax.tree.map(lambda a: a[-half:], layers), reverse=True)
    factor = jnp.mean(first**2) / jnp.mean(last**2)
    return {"q": jnp.mean(z**2), "log_factor": jnp.log(factor) / half}
